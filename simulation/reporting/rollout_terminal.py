"""A rollout in the terminal: before the start, day by day, the log, a paragraph."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulation.reporting import formats, rollout_readings, rollout_tables
from simulation.reporting.rollout_model import Before, RolloutReport

BAR = 24
"""Characters of a bar that is the whole fleet."""


def render_before(found: Before) -> RenderableType:
    """What could be found, before anything starts."""
    table = _table("Before the start", ("stage", "devices an arm", "finds", "ends on day"))
    for row in found.stages:
        finds = rollout_tables.smallest(row.smallest)
        table.add_row(row.name, formats.count(row.devices), finds, f"{row.days}")
    return Group(table, Text(rollout_readings.before(found)))


def render_rollout(report: RolloutReport) -> RenderableType:
    """The days, the log, the paragraph."""
    columns = ("day", "stage", "exposed", "control", "have it", "of the fleet", "decision")
    days = _table("Day by day", columns)
    for day in report.days:
        share = day.holding / report.num_devices
        days.add_row(
            f"{day.day}",
            day.stage,
            formats.count(day.exposed_treated),
            formats.count(day.exposed_control),
            formats.count(day.holding),
            "█" * round(BAR * share) or ("▏" if day.holding else ""),
            day.action,
        )
    log = _table("The log", ("day", "decision", "by", "why"))
    log.columns[-1].no_wrap = False
    for line in report.decisions:
        log.add_row(f"{line.day}", line.action, line.by, Text(line.reason))
    return Group(days, log, Text(report.reading))


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    words = ("stage", "decision", "by", "why", "of the fleet")
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    return table
