"""The verbs that do the work: quickstart, compress, simulate, compare, report."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from models.errors import DataError, SettingsError
from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.engines.names import EngineName
from simulation.run_folder import RunFolder, running

if TYPE_CHECKING:
    from simulation.reporting.model import ReportData
    from simulation.settings import Settings

RolloutDevices = Annotated[
    int,
    typer.Option(
        "--rollout-devices",
        min=0,
        help="Devices of the virtual fleet that the new package is rolled out to; 0: none.",
    ),
]
GivenRollout = Annotated[
    Path | None,
    typer.Option("--rollout", help="The folder of a rollout that the report is to show."),
]


def quickstart(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/quickstart"),
    engine: options.Engine = "inline",
    target_epsilon: options.TargetEpsilon = None,
    overrides: options.Overrides = None,
    fresh: options.Fresh = False,
    rollout_devices: RolloutDevices = 20_000,
    machine: options.Machine = False,
) -> None:
    """The whole job on real data: compress, federate, compare, report, roll out.

    Fetches MovieLens-100K and the text teacher (pinned, hash-checked), makes the encoder bundle,
    trains every arm, and writes report/index.html into the run folder. In the end the new package
    is rolled out to a small virtual fleet (report/rollout.html).

    Examples:

      pocketfleet quickstart

      pocketfleet quickstart --out runs/mine --set federation.rounds=40 --set seed=1
    """
    from simulation.experiments.rollout.recorded_rollout import FEWEST_DEVICES

    if 0 < rollout_devices < FEWEST_DEVICES:
        raise SettingsError(
            f"--rollout-devices is {rollout_devices}: give {FEWEST_DEVICES:,} or more, or 0 for no "
            "rollout"
        )
    _compare(
        "quickstart",
        preset,
        out,
        engine,
        [*_private(target_epsilon), *(overrides or ())],
        fresh,
        machine,
        rollout_devices,
    )


def compare_arms(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/compare"),
    engine: options.Engine = "inline",
    target_epsilon: options.TargetEpsilon = None,
    overrides: options.Overrides = None,
    fresh: options.Fresh = False,
    machine: options.Machine = False,
) -> None:
    """Compare all arms on the same held-out items, with intervals, and write the report.

    Examples:

      pocketfleet compare --out runs/one --set seed=1

      pocketfleet compare --out runs/private --target-epsilon 8

      pocketfleet compare --preset my.toml --engine flower --json
    """
    _compare(
        "compare",
        preset,
        out,
        engine,
        [*_private(target_epsilon), *(overrides or ())],
        fresh,
        machine,
    )


def _compare(
    verb: str,
    preset: str,
    out: Path,
    engine: EngineName,
    overrides: list[str],
    fresh: bool,
    machine: bool,
    rollout_devices: int = 0,
) -> None:
    from simulation.experiments.comparison import compare
    from simulation.experiments.rollout.recorded_rollout import roll_out_package
    from simulation.reporting.html import write_report
    from simulation.settings import load_settings

    voice = Voice(machine)
    settings = load_settings(preset, overrides)
    with running(out, verb, settings, command_line()) as run, voice.progress() as progress:
        found = compare(run, settings, cache_folder(), engine, progress, fresh=fresh)
        page = write_report(found, run.report)
    if rollout_devices:  # the comparison is complete by now, whatever becomes of its rollout
        with voice.progress() as progress:
            tried = roll_out_package(run, rollout_devices, command_line(), progress)
        found = found.model_copy(update={"rollout": tried})
        page = write_report(found, run.report)
    _show(voice, found, page)


def _show(voice: Voice, found: "ReportData", page: Path) -> None:
    from simulation.reporting.terminal import render_terminal

    voice.show(render_terminal(found))
    if found.rollout:
        voice.show(f"Rollout: {found.rollout.reading}")
    voice.show(f"Report: {page}")
    full = {arm.key: arm.model_dump(mode="json")["metrics"]["full"] for arm in found.arms}
    tried = {"rollout": found.rollout.last.status} if found.rollout else {}
    voice.result({"report": page, "headline": found.headline, "arms": full, **tried})


def compress(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/compress"),
    overrides: options.Overrides = None,
    fresh: options.Fresh = False,
    machine: options.Machine = False,
) -> None:
    """Compress the text teacher into an encoder bundle of at most 1,910,000 bytes.

    Examples:

      pocketfleet compress --out runs/encoder

      pocketfleet compress --preset standard --out runs/general

      pocketfleet compress --set text.teacher=path/to/a/huggingface/folder

    Killed at any stage, the same command goes on where it was and ends with the same bytes.
    """
    from simulation.data.interactions import Columns
    from simulation.experiments.materials import make_bundle, prepare_data
    from simulation.settings import load_settings

    voice = Voice(machine)
    settings = load_settings(preset, overrides or ())
    cache = cache_folder()
    with running(out, "compress", settings, command_line()) as run, voice.progress() as progress:
        catalogue: list[str] = []
        if settings.text.corpus == "catalogue":
            items = prepare_data(settings, cache, progress).interactions.items
            catalogue = list(items[Columns.TEXT])
        made = make_bundle(run, settings, catalogue, cache, progress, fresh=fresh)
    table = Table(title="Encoder bundle", show_footer=True)
    table.add_column("part", footer="in all")
    table.add_column("bytes", justify="right", footer=f"{made.bundle_bytes:,}")
    for row in made.byte_table:
        table.add_row(row.part, f"{row.num_bytes:,}")
    voice.show(table)
    voice.show("  ".join(f"{name} {value}" for name, value in asdict(made.parity).items()))
    voice.show(f"Bundle: {run.bundle}")
    voice.result({"bundle": run.bundle, **made.as_dict()})


def simulate(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/simulate"),
    engine: options.Engine = "inline",
    overrides: options.Overrides = None,
    private_text: options.PrivateText = True,
    fresh: options.Fresh = False,
    resume: options.Resume = False,
    tensorboard: options.TensorBoard = False,
    target_epsilon: options.TargetEpsilon = None,
    machine: options.Machine = False,
) -> None:
    """Run one federated training over all devices and print its learning curve.

    Starts from the static model (trained on the opted-in users), as the federated arm of the
    comparison does. History (JSON lines, Parquet) and final parameters are in arms/ of the run
    folder. A run that was stopped or killed goes on with --resume and ends with the parameters of
    an unbroken one. The preset fleet has 8.4 million synthetic devices.

    Examples:

      pocketfleet simulate --set federation.rounds=20

      pocketfleet simulate --engine flower --set federation.num_nodes=2 --json

      pocketfleet simulate --engine deployment --set federation.num_nodes=2

      pocketfleet simulate --out runs/simulate --resume

      pocketfleet simulate --preset fleet --out runs/fleet

      pocketfleet simulate --target-epsilon 4 --out runs/private
    """
    from server.privacy.statement import PrivacyStatement
    from simulation.experiments.arms import FEDERATED, FEDERATED_BLIND
    from simulation.experiments.training import simulate_arm
    from simulation.settings import load_settings

    voice = Voice(machine)
    if resume:
        settings = _settings_to_resume(out, [*(overrides or ()), *_private(target_epsilon)], fresh)
    else:
        settings = load_settings(preset, [*_private(target_epsilon), *(overrides or ())])
    arm = FEDERATED if private_text else FEDERATED_BLIND
    with running(out, "simulate", settings, command_line()) as run, voice.progress() as progress:
        played = simulate_arm(
            run,
            settings,
            arm,
            engine,
            cache_folder(),
            progress,
            fresh=fresh,
            resume=resume,
            with_tensorboard=tensorboard,
        )
    rows = [row for row in played.history().rows() if row["metrics"]]
    voice.show(
        _learning_curve(f"{arm}: {engine} engine, {settings.federation.rounds} rounds", rows)
    )
    promised = PrivacyStatement.read(played.folder)
    if promised:
        voice.show("\n".join((f"Privacy: {promised.headline}.", *promised.sentences())))
    voice.show(f"Final parameters: {played.folder / 'final.npy'}")
    privacy = promised.model_dump(mode="json") if promised else None
    voice.result({"folder": played.folder, "rounds": rows, "privacy": privacy})


def _private(target_epsilon: float | None) -> list[str]:
    """What --target-epsilon is short for; a --set that comes later may change any of it."""
    if target_epsilon is None:
        return []
    return [
        "federation.privacy.mechanism=central",
        f"federation.privacy.target_epsilon={target_epsilon}",
        "federation.schedule.sampling=poisson",
        "federation.schedule.over_selection=1",
    ]


def _settings_to_resume(out: Path, overrides: list[str] | None, fresh: bool) -> "Settings":
    """The settings of the run in a folder; nothing may be changed when it goes on."""
    if overrides or fresh:
        raise SettingsError(
            "--resume goes on with the run as it is: leave --set and --fresh out, or leave "
            "--resume out and run it anew"
        )
    return RunFolder(out.resolve()).settings()


def _learning_curve(title: str, rows: list[dict[str, Any]]) -> Table:
    """The evaluated rounds of a history, as a table."""
    table = Table(title=title)
    for name in ("round", "devices", "loss", "HR@10 %", "nDCG@10 %"):
        table.add_column(name, justify="right")
    for row in rows:
        full = row["metrics"]["full"]
        loss = "" if row["loss"] is None else f"{row['loss']:.3f}"
        table.add_row(
            str(row["round_number"]),
            str(row["num_reported"]),
            loss,
            f"{100 * full['hr@10']:.2f}",
            f"{100 * full['ndcg@10']:.2f}",
        )
    return table


def report(
    run: options.Run, rollout: GivenRollout = None, machine: options.Machine = False
) -> None:
    """Draw the report of a finished comparison again, from its report.json.

    Examples:

      pocketfleet report runs/quickstart

      pocketfleet report runs/quickstart --rollout runs/garbage
    """
    from simulation.reporting.html import load_report, write_report
    from simulation.reporting.rollout_html import load_rollout_report

    voice = Voice(machine)
    folder = RunFolder(run.resolve())
    record = folder.record()
    if record.status != "complete":
        why = f" ({record.reason})" if record.reason else ""
        raise DataError(
            f"the run in {run} is {record.status}{why}, a report needs a complete one: wait for "
            "its end, or run it again"
        )
    found = load_report(folder.report / "report.json")
    if rollout is not None:
        found = found.model_copy(update={"rollout": load_rollout_report(rollout)})
    _show(voice, found, write_report(found, folder.report))
