"""The verb that tries a rollout on the virtual fleet: rollout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import SettingsError
from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.run_folder import RunFolder, running

if TYPE_CHECKING:
    from simulation.reporting.rollout_model import RolloutReport

ScenarioName = Annotated[
    str | None,
    typer.Option(
        "--scenario", help="What is wrong with the release: a name of --list, or a .toml file."
    ),
]
PlanName = Annotated[
    str, typer.Option("--plan", help="The plan of the rollout: a name, or a .toml file.")
]
Devices = Annotated[int, typer.Option("--devices", min=1000, help="Devices of the virtual fleet.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the fleet and of all draws.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Threads.")]
Listed = Annotated[bool, typer.Option("--list", help="Name the scenarios and plans, and stop.")]


def rollout(
    scenario: ScenarioName = None,
    devices: Devices = 100_000,
    plan: PlanName = "standard",
    seed: Seed = 0,
    out: options.Out = Path("runs/rollout"),
    workers: Workers = 2,
    overrides: options.Overrides = None,
    listed: Listed = False,
    machine: options.Machine = False,
) -> None:
    """Try a release on the virtual fleet first: the ramp, what breaks where, when it is caught.

    Prints what could be found before anything starts, then day by day what the rule decided and
    why. Stopped or killed, the same command goes on where the log ends; a finished rollout is
    lived through again and checked against its log.

    Examples:

      pocketfleet rollout --scenario garbage-vectors --devices 100000 --out runs/garbage

      pocketfleet rollout --scenario healthy --devices 20000 --set ship.metric.margin=0.1

      pocketfleet rollout --scenario quality-2 --out runs/quickstart/quality-2

      pocketfleet rollout --list

    In a folder of a finished comparison, as in the third line, the comparison's report shows it.
    """
    from simulation.experiments.rollout.rollout_plan import own_plans
    from simulation.experiments.rollout.scenarios import load_scenario, own_scenarios

    voice = Voice(machine)
    if listed:
        found = {name: load_scenario(name).title for name in own_scenarios()}
        lines = "".join(f"{name:18} {title}\n" for name, title in found.items())
        voice.show_lines(f"{lines}plans: {', '.join(own_plans())}\n")
        voice.result({"scenarios": found, "plans": own_plans()})
        return
    if scenario is None:
        raise SettingsError(f"--scenario is missing: name one of {', '.join(own_scenarios())}")
    _try(voice, scenario, devices, plan, seed, out, workers, overrides or [])


def _try(
    voice: Voice,
    name: str,
    devices: int,
    plan_name: str,
    seed: int,
    out: Path,
    workers: int,
    overrides: list[str],
) -> None:
    from simulation.experiments.rollout.app_settings import load_app
    from simulation.experiments.rollout.recorded_rollout import LOGS, record_rollout
    from simulation.experiments.rollout.rollout_plan import load_rollout
    from simulation.experiments.rollout.rollout_run import refuse_another, setup_of
    from simulation.experiments.rollout.scenarios import load_scenario
    from simulation.reporting.rollout_html import DATA_NAME, PAGE_NAME
    from simulation.reporting.rollout_terminal import render_before, render_rollout
    from simulation.settings import load_settings

    scenario = load_scenario(name)
    plan, others = load_rollout(plan_name, overrides)
    app, others = load_app(others)
    settings = load_settings("quickstart", [*others, f"seed={seed}"])
    refuse_another(out / LOGS, setup_of(plan, scenario, app, settings.world, devices, seed))
    with running(out, "rollout", settings, command_line()) as run, voice.progress() as progress:
        report = record_rollout(
            run,
            plan,
            scenario,
            app,
            settings.world,
            devices,
            seed,
            command_line(),
            workers=workers,
            progress=progress,
            told=lambda known: voice.show(render_before(known)),
        )
    page, twin = out / "report" / PAGE_NAME, out / "report" / DATA_NAME
    voice.show(render_rollout(report))
    voice.show(f"Page: {page}\nThe same as JSON: {twin}\nThe log: {run.path / LOGS}")
    around = _draw_around(run, report)
    if around:
        voice.show(f"Report of the run around it: {around}")
    found = {"page": page, "data": twin, "last_status": report.last.status}
    voice.result({**found, **report.model_dump(mode="json")})


def _draw_around(run: RunFolder, rollout: "RolloutReport") -> Path | None:
    """Draw the report of the comparison that this folder lies in; None: it lies in none."""
    from simulation.reporting.html import DATA_NAME, load_report, write_report

    around = RunFolder(run.path.parent)
    if not (around.path / "run.json").is_file() or around.record().status != "complete":
        return None
    if not (around.report / DATA_NAME).is_file():
        return None
    report = load_report(around.report).model_copy(update={"rollout": rollout})
    return write_report(report, around.report)
