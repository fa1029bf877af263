"""A study as one self-contained page, and its twin for machines.

StudyReport ── study.html + report.css ── index.html
            └─ the same data ── study.json
"""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from models.files import write_text
from simulation.reporting import formats
from simulation.reporting.axes import linear_axis
from simulation.reporting.model import Interval
from simulation.reporting.pages import style, template
from simulation.reporting.plots import DotRow, dot_plot
from simulation.reporting.study_model import StudyReport, StudyRow, StudyTable
from simulation.reporting.tables import Cell, Row, Table

PAGE_NAME, DATA_NAME = "index.html", "study.json"

LABELS = {
    "hr@5": "HR@5",
    "hr@10": "HR@10",
    "ndcg@5": "nDCG@5",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
    "auc": "AUC",
}


def label_of(metric: str) -> str:
    """A metric's name as papers print it; one that is not known keeps its own."""
    return LABELS.get(metric, metric)


def write_study(report: StudyReport, folder: Path) -> Path:
    """Write page and twin, each whole or not at all; return the page's path.

    Raises:
        DataError: when the folder cannot be written to.
    """
    page = render_study(report)
    write_text(folder / DATA_NAME, report.model_dump_json(indent=2) + "\n")
    write_text(folder / PAGE_NAME, page)
    return folder / PAGE_NAME


def render_study(report: StudyReport) -> str:
    """Return the page as text. The same report gives the same text."""
    return template("study.html").render(
        report=report,
        style=style(),
        formats=formats,
        label_of=label_of,
        plot_of=lambda table: plot_of(report, table),
        legend_of=lambda table: legend_of(report, table),
        table_of=lambda table: table_of(report, table),
        figures_of=lambda table: figures_of(table),
    )


def plot_of(report: StudyReport, table: StudyTable) -> Markup:
    """A dot with a whisker for each row, on one axis; the reference is the band."""
    rows = [(row, row.metrics[report.metric]) for row in table.rows if report.metric in row.metrics]
    ends = [end for _, found in rows for end in (found.found.low, found.found.high)]
    band = next((found.found for _, found in rows if found.difference is None), None)
    dots = [
        DotRow(
            label=row.title,
            note="",
            tone="plain" if found.difference is None else "phone",
            interval=found.found,
            value=formats.percent(found.found.mean),
            span=formats.percent_range(found.found),
            hollow=found.difference is not None and not _is_clear(found.difference),
            focus=found.difference is None,
        )
        for row, found in rows
    ]
    return dot_plot(
        dots, linear_axis(ends, from_zero=False), lambda tick: f"{100 * tick:.3g}", band
    )


def legend_of(report: StudyReport, table: StudyTable) -> str:
    """What the marks of a plot mean."""
    marks = "A dot is a mean, a line its 95 % interval."
    held = "A ring: cannot be told apart from the row that it is held against."
    for row in table.rows:
        found = row.metrics.get(report.metric)
        if found and found.difference is None:
            return f"{marks} The band is the interval of {row.title}. {held}"
    return f"{marks} {held}"


def _is_clear(difference: Interval) -> bool:
    return difference.low > 0 or difference.high < 0


def table_of(report: StudyReport, table: StudyTable) -> Table:
    """Metrics with their intervals, the difference of the main one, and the worst slice."""
    columns = ["", *map(label_of, report.shown), f"Δ {label_of(report.metric)}"]
    with_worst = any(row.worst for row in table.rows)
    columns += ["over seeds ±"] if len(report.seeds) > 1 else []
    columns += ["worst slice"] if with_worst else []
    rows = []
    for row in table.rows:
        cells = [_metric(row, name) for name in report.shown]
        cells.append(_difference(row, report.metric))
        if len(report.seeds) > 1:
            main = row.metrics.get(report.metric)
            cells.append(Cell(formats.percent(main.spread, 2) if main else formats.MISSING))
        if with_worst:
            cells.append(_worst(row))
        rows.append(Row(row.title, tuple(cells)))
    return Table(tuple(columns), tuple(rows))


def _metric(row: StudyRow, name: str) -> Cell:
    found = row.metrics.get(name)
    if found is None:
        return Cell(formats.MISSING)
    return Cell(formats.percent(found.found.mean), formats.percent_range(found.found))


def _difference(row: StudyRow, metric: str) -> Cell:
    found = row.metrics.get(metric)
    if found is None or found.difference is None:
        return Cell(formats.MISSING)
    return Cell(formats.points(found.difference.mean), formats.points_range(found.difference))


def _worst(row: StudyRow) -> Cell:
    if row.worst is None:
        return Cell(formats.MISSING)
    return Cell(formats.percent(row.worst.mean), row.worst_slice)


def figures_of(table: StudyTable) -> Table | None:
    """Numbers without an interval, None if no row has any."""
    names: Sequence[str] = list(dict.fromkeys(name for row in table.rows for name in row.figures))
    if not names:
        return None
    rows = tuple(
        Row(row.title, tuple(Cell(figure_text(name, row.figures.get(name))) for name in names))
        for row in table.rows
    )
    return Table(("", *names), rows)


def figure_text(name: str, value: float | None) -> str:
    """A figure in the unit that its name ends in.

    >>> figure_text("bytes up", 2_500_000.0), figure_text("p50 ms", 0.42), figure_text("x", 3.0)
    ('2.50 MB', '0.42 ms', '3')
    >>> figure_text("ask, %", 9.9682), figure_text("reports", 13265.6)
    ('10.0', '13,266')
    """
    if value is None:
        return formats.MISSING
    if "bytes" in name:
        return formats.size(value)
    if name.endswith(" ms"):
        return formats.milliseconds(value)
    if name.endswith("%"):
        return f"{value:.1f}"
    if abs(value) >= 1000:
        return formats.count(round(value))
    return formats.figure(int(value) if value.is_integer() else value)
