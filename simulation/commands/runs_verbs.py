"""runs list | diff | export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from simulation.commands import options
from simulation.commands.console import Voice

if TYPE_CHECKING:
    from simulation.experiments.run_records import RunLine

app = typer.Typer(no_args_is_help=True, help="Finished runs: list, compare two, export many.")

Folder = Annotated[Path, typer.Argument(help="A folder of run folders.")]
All = Annotated[bool, typer.Option("--all", help="Show the metrics that are equal too.")]


@app.command("list")
def list_runs(folder: Folder = Path("runs"), machine: options.Machine = False) -> None:
    """Show all runs of a folder: verb, seed, status, commit and the main metric.

    A folder that is damaged is shown with what is wrong with it.

    Examples:

      pocketfleet runs list

      pocketfleet runs list runs/seeds --json
    """
    from simulation.experiments.run_records import runs_in

    voice, found = Voice(machine), runs_in(folder)
    table = Table(title=f"{len(found)} runs in {folder}")
    for name in ("run", "verb", "seed", "status", "commit", "nDCG@10, %", "of"):
        table.add_column(name, overflow="fold")
    for line in found:
        table.add_row(*map(Text, _cells(line, folder)))
    voice.show(table)
    for line in found:
        if line.trouble:
            voice.note(line.trouble)
    voice.result({"runs": [_as_dict(line) for line in found]})


def _cells(line: "RunLine", folder: Path) -> tuple[str, ...]:
    name = str(line.path.relative_to(folder)) if line.path != folder else str(folder)
    if line.record is None:
        return (name, "?", "", "damaged", "", "", "")
    status = "damaged" if line.trouble else line.record.status
    head = line.headline
    shown = (f"{100 * head.value:.2f}", head.name.split("/")[0]) if head else ("–", "")
    return (name, line.record.verb, str(line.record.seed), status, line.record.commit, *shown)


def _as_dict(line: "RunLine") -> dict[str, Any]:
    record = line.record.model_dump(mode="json") if line.record else None
    head = line.headline
    return {
        "path": line.path,
        "record": record,
        "headline": {"name": head.name, "value": head.value} if head else None,
        "trouble": line.trouble,
    }


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    everything: All = False,
    machine: options.Machine = False,
) -> None:
    """Show in which settings two runs differ, and their metrics side by side.

    Differences are of means; they carry no interval, as two runs need not share their users.

    Examples:

      pocketfleet runs diff runs/quickstart runs/mine
    """
    from simulation.experiments.run_records import difference

    voice, found = Voice(machine), difference(first, second)
    settings = Table(title="Settings that differ")
    for name in ("key", str(first), str(second)):
        settings.add_column(name, overflow="fold")
    for row in found.settings:
        settings.add_row(*map(Text, row))
    metrics = Table(title="Metrics")
    for name in ("metric", "A", "B", "B - A"):
        metrics.add_column(name, justify="left" if name == "metric" else "right")
    for name, a, b in found.figures:
        if everything or a != b:
            apart = "–" if a is None or b is None else f"{b - a:+.5f}"
            metrics.add_row(Text(name), _number(a), _number(b), apart)
    voice.show(settings if found.settings else "No setting differs.")
    voice.show(metrics)
    voice.result({"settings": found.settings, "metrics": found.figures})


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5f}"


@app.command()
def export(
    folder: Folder = Path("runs"),
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A file that ends in .parquet or .csv.")
    ] = Path("runs.parquet"),
    machine: options.Machine = False,
) -> None:
    """Write the metrics of all runs into one tidy table, with the settings in which they differ.

    Each line bears the hashes of settings, data and encoder bundle, and the commit. Runs that are
    damaged are left out and named.

    Examples:

      pocketfleet runs export runs --out all.parquet

      pocketfleet runs export runs/seeds --out seeds.csv
    """
    from simulation.experiments.run_records import runs_in, write_table

    voice, found = Voice(machine), runs_in(folder)
    path = write_table(found, out)
    broken = [line.trouble for line in found if line.trouble]
    for trouble in broken:
        voice.note(f"left out: {trouble}")
    voice.show(f"{len(found) - len(broken)} runs: {path}")
    voice.result({"table": path, "runs": len(found) - len(broken), "left_out": broken})
