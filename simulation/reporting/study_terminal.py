"""What the terminal shows of a study: a table for each slice, then the reading.

Titles come from files, so they enter as `Text`, never as rich markup.
"""

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulation.reporting import formats
from simulation.reporting.model import Interval
from simulation.reporting.study_html import figure_text, label_of
from simulation.reporting.study_model import StudyReport, StudyRow, StudyTable


def render_terminal(report: StudyReport) -> Group:
    """Return a rich renderable that fits a terminal of 100 columns."""
    parts: list[RenderableType] = [Padding(Text(report.question, style="bold"), (1, 0, 0, 0))]
    parts += [_table(report, table) for table in report.tables]
    costs = _figures(report.tables[-1])
    parts += [costs] if costs else []
    parts.append(Text(" ".join(report.reading)))
    parts += [Text(note, style="dim") for note in report.notes]
    return Group(*parts)


def _table(report: StudyReport, table: StudyTable) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=table.part, title_justify="left")
    made.add_column("", overflow="fold")
    for name in (*map(label_of, report.shown), f"Δ {label_of(report.metric)}"):
        made.add_column(name, justify="right")
    with_worst = any(row.worst for row in table.rows)
    if with_worst:
        made.add_column("worst slice", justify="right")
    for row in table.rows:
        cells = [_metric(row, name) for name in report.shown]
        cells.append(_difference(row, report.metric))
        cells += [_worst(row)] if with_worst else []
        made.add_row(Text(row.title), *cells)
    return made


def _metric(row: StudyRow, name: str) -> Text:
    found = row.metrics.get(name)
    if found is None:
        return Text(formats.MISSING)
    text = Text(formats.percent(found.found.mean), style="bold")
    return text.append(f" {formats.percent_range(found.found)}", style="not bold dim")


def _difference(row: StudyRow, metric: str) -> Text:
    found = row.metrics.get(metric)
    if found is None or found.difference is None:
        return Text(formats.MISSING)
    text = Text(formats.points(found.difference.mean), style=_style(found.difference))
    return text.append(f" {formats.points_range(found.difference)}", style="not bold dim")


def _style(difference: Interval) -> str:
    if difference.low > 0:
        return "bold green"
    return "bold red" if difference.high < 0 else "not bold"


def _worst(row: StudyRow) -> Text:
    if row.worst is None:
        return Text(formats.MISSING)
    return Text(f"{formats.percent(row.worst.mean)} ").append(row.worst_slice, style="dim")


def _figures(table: StudyTable) -> Table | None:
    names = list(dict.fromkeys(name for row in table.rows for name in row.figures))
    if not names:
        return None
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("", overflow="fold")
    for name in names:
        made.add_column(name, justify="right")
    for row in table.rows:
        cells = (Text(figure_text(name, row.figures.get(name))) for name in names)
        made.add_row(Text(row.title), *cells)
    return made
