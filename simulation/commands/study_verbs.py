"""The verb of studies: study."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.run_folder import running

StudyName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="One of the list, or a .toml file of your own."),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        "-g",
        metavar="KEY=V1,V2",
        help="Settings to try, in place of the study's own grid; several are crossed.",
    ),
]
Seeds = Annotated[str, typer.Option("--seeds", help="Such as 0-4 or 0,3,7; the study's if not.")]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, max=64, help="Worker processes; they change no result."),
]
StudyOut = Annotated[
    Path | None, typer.Option("--out", "-o", help="The run folder; runs/study-NAME if not.")
]
StudyFresh = Annotated[bool, typer.Option("--fresh", help="Make every cell anew.")]


def study(
    name: StudyName = None,
    grid: Grid = None,
    seeds: Seeds = "",
    overrides: options.Overrides = None,
    jobs: Jobs = 1,
    out: StudyOut = None,
    fresh: StudyFresh = False,
    log: options.Log = None,
    machine: options.Machine = False,
) -> None:
    """Answer a question over seeds and settings: one table, one plot, one paragraph of reading.

    Without a name the studies are listed. Stopped or killed, the same command goes on with the
    cells that are not there yet. Results are in Parquet, and on a page, in the run folder.

    Examples:

      pocketfleet study

      pocketfleet study federation --seeds 0-4 --jobs 2

      pocketfleet study federation --grid federation.rounds=20,80 \
--grid federation.training.local_epochs=1,5

      pocketfleet study text -s data.source=movielens-folder -s data.path=ml-1m --out runs/text-1m
    """
    voice = Voice(machine)
    if name is None:
        _list(voice)
        return
    from simulation.experiments.studies.study_kinds import kind_of
    from simulation.experiments.studies.study_plan import load_study, resolve
    from simulation.experiments.studies.study_report import report_of
    from simulation.experiments.studies.study_runner import run_study
    from simulation.experiments.studies.study_summary import summarise, write_tables
    from simulation.experiments.tracking import check_loggers, log_study
    from simulation.reporting.study_html import write_study
    from simulation.reporting.study_markdown import write_markdown
    from simulation.reporting.study_terminal import render_terminal

    check_loggers(log or ())
    plan = load_study(name, overrides or (), grid or (), seeds)
    kind, short = kind_of(plan.kind), Path(name).stem
    rows = resolve(plan, kind.options)
    for row in rows:
        kind.check(row.settings, row.options)
    folder = out or Path("runs") / f"study-{short}"
    with (
        running(folder, "study", rows[0].settings, command_line()) as run,
        voice.progress() as progress,
    ):
        cells = run_study(run.path, short, plan, cache_folder(), jobs, progress, fresh=fresh)
        summary = summarise(plan, [row.variant for row in rows], cells)
        made_from = cells[0].header
        run.note_made_from(data_sha256=made_from.data_sha256, bundle_sha256=made_from.bundle_sha256)
        tables = write_tables(run.path, summary, cells)
        report = report_of(short, summary, kind, command_line(), datetime.now(UTC))
        page = write_study(report, run.report)
        write_markdown(report, run.report)
        log_study(log or (), run.path, summary)
    voice.show(render_terminal(report))
    voice.show(f"Page: {page}\nTables: {tables[0]}, {tables[1].name}")
    voice.result({"page": page, "tables": tables, **report.model_dump(mode="json")})


def _list(voice: Voice) -> None:
    from simulation.experiments.studies.study_plan import load_study, study_names

    table = Table(title="Studies")
    table.add_column("name", no_wrap=True)
    table.add_column("question")
    plans = {name: load_study(name) for name in study_names()}
    for name, plan in plans.items():
        table.add_row(Text(name), Text(plan.question))
    voice.show(table)
    voice.result({"studies": {name: plan.question for name, plan in plans.items()}})
