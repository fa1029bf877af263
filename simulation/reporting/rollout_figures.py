"""Which numbers of a rollout each plot of its page shows."""

from collections.abc import Callable

from markupsafe import Markup

from simulation.reporting import formats
from simulation.reporting.axes import linear_axis
from simulation.reporting.plots import Line, Tone, curve
from simulation.reporting.rollout_model import DayRow, RolloutReport

Pick = Callable[[DayRow], float | None]


def spread(report: RolloutReport) -> Markup:
    """Draw the shares of the fleet that have the release, and that have used it."""
    return _drawn(
        report,
        (
            ("have used it", "third", lambda day: day.hit / report.num_devices),
            (
                "have it at the end of the day",
                "phone",
                lambda day: day.holding / report.num_devices,
            ),
        ),
        lambda tick: formats.figure(round(100 * tick, 6)),
    )


def clicks(report: RolloutReport) -> Markup | None:
    """Draw clicks a request in both arms."""
    return _arms(
        report,
        lambda day: day.clicks_control,
        lambda day: day.clicks_treated,
        lambda tick: formats.figure(round(100 * tick, 6)),
    )


def latency(report: RolloutReport) -> Markup | None:
    """Draw the 95th percentile of request times in both arms."""
    return _arms(report, lambda day: day.p95_control, lambda day: day.p95_treated, formats.figure)


def crashes(report: RolloutReport) -> Markup | None:
    """Draw the share of exposed devices that crashed in both arms."""
    return _arms(
        report,
        lambda day: day.crashes_control,
        lambda day: day.crashes_treated,
        lambda tick: formats.figure(round(100 * tick, 6)),
    )


def _arms(
    report: RolloutReport, control: Pick, treated: Pick, text: Callable[[float], str]
) -> Markup | None:
    if not any(treated(day) is not None and control(day) is not None for day in report.days):
        return None
    return _drawn(
        report, (("control", "server", control), ("with the release", "phone", treated)), text
    )


def _drawn(
    report: RolloutReport,
    lines: tuple[tuple[str, Tone, Pick], ...],
    text: Callable[[float], str],
) -> Markup:
    made = []
    for label, tone, pick in lines:
        points = [(float(day.day), pick(day)) for day in report.days]
        shown = tuple((x, y) for x, y in points if y is not None)
        if shown:
            made.append(Line(label, tone, False, shown))
    x_axis = linear_axis([0.0, float(report.last.day)])
    y_axis = linear_axis(y for line in made for _, y in line.points)
    return curve(made, x_axis, y_axis, text, None, "day")
