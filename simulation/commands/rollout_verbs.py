"""The verb that tries a rollout on the virtual fleet: rollout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import SettingsError
from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.run_folder import RunFolder, running

if TYPE_CHECKING:  # NumPy and more: `--help` does without
    from simulation.experiments.rollout.real_users import RealUsers
    from simulation.experiments.rollout.tier_bundles import SizeCost
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
RealRun = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="A finished run: its real users stand behind the devices, and click on what they "
        "chose next. --release is tried in place of --against.",
    ),
]
Release = Annotated[
    str,
    typer.Option(
        "--release",
        help="With --run, the new release: federated, federated-no-private, static, random-text, "
        "or the folder of a run or of a package.",
    ),
]
Against = Annotated[
    str, typer.Option("--against", help="With --run, the release before it, likewise.")
]
Sizes = Annotated[
    Path | None,
    typer.Option(
        "--sizes",
        help="The folder of `pocketfleet elastic`: each tier gets the largest bundle that its "
        "memory holds, measured here.",
    ),
]
Listed = Annotated[bool, typer.Option("--list", help="Name the scenarios and plans, and stop.")]

SIZES = "sizes.json"
"""Beside the log: what the sizes of --sizes took."""


def rollout(
    scenario: ScenarioName = None,
    devices: Devices = 100_000,
    plan: PlanName = "standard",
    seed: Seed = 0,
    out: options.Out = Path("runs/rollout"),
    workers: Workers = 2,
    run: RealRun = None,
    release: Release = "federated",
    against: Against = "static",
    sizes: Sizes = None,
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

      pocketfleet rollout --run runs/quickstart --release federated --against static

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
    if scenario is None and run is None:
        raise SettingsError(
            f"--scenario is missing: name one of {', '.join(own_scenarios())}; or try a real "
            "release with --run"
        )
    people = _people(run, against, release) if run else None
    costs = _costs(sizes, out) if sizes else []
    asked = overrides or []
    if sizes:
        asked = [*_bundles(costs, plan, asked), *asked]  # what is asked for stands above them
    _try(voice, scenario, devices, plan, seed, out, workers, asked, people, costs)


def _costs(sizes: Path, out: Path) -> "list[SizeCost]":
    from simulation.experiments.rollout.recorded_rollout import LOGS
    from simulation.experiments.rollout.tier_bundles import measured_sizes

    return measured_sizes(sizes, out / LOGS / SIZES)


def _bundles(costs: "list[SizeCost]", plan_name: str, overrides: list[str]) -> list[str]:
    from simulation.experiments.rollout.app_settings import load_app
    from simulation.experiments.rollout.rollout_plan import load_rollout
    from simulation.experiments.rollout.tier_bundles import bundle_overrides
    from simulation.settings import load_settings

    plan, others = load_rollout(plan_name, overrides)
    ours = [each for each in others if not each.startswith("delivery.bundles.")]
    app, others = load_app(ours)
    world = load_settings("quickstart", others).world
    tiers = plan.rule.tiers or tuple(tier.name for tier in world.tiers)
    return bundle_overrides(costs, app, world, tiers)


def _people(run: Path, against: str, release: str) -> "RealUsers":
    from simulation.experiments.rollout.real_releases import real_users

    return real_users(RunFolder(run.resolve()), against, release)


def _try(
    voice: Voice,
    name: str | None,
    devices: int,
    plan_name: str,
    seed: int,
    out: Path,
    workers: int,
    overrides: list[str],
    people: "RealUsers | None",
    costs: "list[SizeCost]",
) -> None:
    from simulation.experiments.rollout.app_settings import load_app
    from simulation.experiments.rollout.recorded_rollout import LOGS, record_rollout
    from simulation.experiments.rollout.rollout_plan import load_rollout
    from simulation.experiments.rollout.rollout_run import refuse_another, setup_of
    from simulation.experiments.rollout.scenarios import load_scenario, with_releases
    from simulation.experiments.rollout.tier_bundles import write_sizes
    from simulation.reporting.rollout_html import DATA_NAME, PAGE_NAME
    from simulation.reporting.rollout_terminal import render_before, render_rollout
    from simulation.settings import load_settings

    scenario = load_scenario(name or "healthy")
    plan, others = load_rollout(plan_name, overrides)
    app, others = load_app(others)
    settings = load_settings("quickstart", [*others, f"seed={seed}"])
    if people:
        scenario = with_releases(scenario, people.names, *people.clicks_per_list(app.click_model))
    setup = setup_of(plan, scenario, app, settings.world, devices, seed, people)
    refuse_another(out / LOGS, setup)
    with running(out, "rollout", settings, command_line()) as run, voice.progress() as progress:
        if costs:
            write_sizes(costs, run.path / LOGS / SIZES)
        report = record_rollout(
            run,
            plan,
            scenario,
            app,
            settings.world,
            devices,
            seed,
            command_line(),
            people=people,
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
