"""A rollout in the terminal: before the start, day by day, the log, a paragraph."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulation.reporting import formats, rollout_readings, rollout_tables
from simulation.reporting.rollout_model import Before, RolloutReport

BAR = 18
"""Characters of a bar that is the whole fleet."""

LONGEST_RUN, ENDS = 6, 2
"""Rows of one kind that are shown in full, and how many of a longer run are shown at each end."""

Row = TypeVar("Row")


def render_before(found: Before) -> RenderableType:
    """What could be found, before anything starts."""
    table = _table("Before the start", ("stage", "devices an arm", "finds", "ends on day"))
    for row in found.stages:
        finds = rollout_tables.smallest(row.smallest)
        table.add_row(row.name, formats.count(row.devices), finds, f"{row.days}")
    return Group(table, Text(rollout_readings.before(found)))


def render_rollout(report: RolloutReport) -> RenderableType:
    """The days, the log, the paragraph; the middle of a long run of equal rows is counted only."""
    columns = ("day", "stage", "exposed", "control", "have it", "of the fleet", "decision")
    days = _table("Day by day", columns)
    for day in shortened(report.days, lambda each: (each.stage, each.action, each.status)):
        if isinstance(day, int):
            days.add_row("…", f"{day} days more", *[""] * (len(columns) - 2))
            continue
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
    for line in shortened(report.decisions, lambda each: (each.action, each.by)):
        if isinstance(line, int):
            log.add_row("…", "", "", f"{line} lines more of the same kind")
            continue
        log.add_row(f"{line.day}", line.action, line.by, Text(line.reason))
    return Group(days, log, Text(report.reading))


def shortened(rows: Sequence[Row], kind: Callable[[Row], object]) -> list[Row | int]:
    """Rows, with the middle of every long run of one kind as the number of its rows.

    >>> shortened([1, 2, 2, 2, 2, 2, 2, 2, 2, 3], lambda each: each)
    [1, 2, 2, 4, 2, 2, 3]
    """
    found: list[Row | int] = []
    for _, group in groupby(rows, kind):
        run = list(group)
        if len(run) > LONGEST_RUN:
            found += [*run[:ENDS], len(run) - 2 * ENDS, *run[-ENDS:]]
        else:
            found += run
    return found


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    words = ("stage", "decision", "by", "why", "of the fleet")
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    return table
