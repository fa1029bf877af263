"""The numbers behind the plots of a rollout, as plain tables that its page lays out."""

from simulation.reporting import formats
from simulation.reporting.rollout_model import Before, RolloutReport
from simulation.reporting.tables import Cell, Row, Table


def stages(found: Before) -> Table:
    """Return what each stage could find."""
    columns = ("stage", "of the fleet", "devices in each arm", "finds a change of", "ends on day")
    return Table(
        columns,
        tuple(
            Row(
                row.name,
                (
                    Cell(f"{formats.percent(row.share, 0)} %"),
                    Cell(formats.count(row.devices)),
                    Cell(smallest(row.smallest)),
                    Cell(f"{row.days}"),
                ),
            )
            for row in found.stages
        ),
    )


def smallest(value: float | None) -> str:
    """A relative change as text.

    >>> smallest(0.0213), smallest(3.4), smallest(None)
    ('2.1 %', 'none', 'none')
    """
    if value is None or value > 1:
        return "none"
    return f"{formats.percent(value)} %"


def days(report: RolloutReport) -> Table:
    """Return the days."""
    columns = ("day", "stage", "exposed", "have it", "used it", "clicks, %", "p95", "decision")
    return Table(
        columns,
        tuple(
            Row(
                f"{day.day}",
                (
                    Cell(day.stage),
                    Cell(
                        formats.count(day.exposed_treated),
                        f"of {formats.count(day.exposed_control)}",
                    ),
                    Cell(formats.count(day.holding)),
                    Cell(formats.count(day.hit)),
                    Cell(rate(day.clicks_treated), rate(day.clicks_control)),
                    Cell(
                        formats.milliseconds(day.p95_treated), formats.milliseconds(day.p95_control)
                    ),
                    Cell(day.action or formats.MISSING, day.status),
                ),
            )
            for day in report.days
        ),
    )


def rate(value: float | None) -> str:
    """A click rate in percent."""
    return formats.MISSING if value is None else formats.percent(value, 2)


def decisions(report: RolloutReport) -> Table:
    """Return the log."""
    return Table(
        ("day", "decision", "by", "manifest", "why"),
        tuple(
            Row(
                f"{line.day}",
                (Cell(line.action), Cell(line.by), Cell(f"{line.sequence}"), Cell(line.reason)),
            )
            for line in report.decisions
        ),
        numeric=False,
    )
