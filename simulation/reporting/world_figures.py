"""Which numbers of a world each plot of its page shows; `plots.py` knows how to draw them."""

from collections.abc import Sequence

from markupsafe import Markup

from simulation.reporting import formats
from simulation.reporting.axes import Axis, linear_axis, log_axis
from simulation.reporting.model import Interval
from simulation.reporting.plots import (
    DotRow,
    GroupRow,
    Line,
    Stripe,
    Tone,
    curve,
    dot_plot,
    group_plot,
    part_bar,
)
from simulation.reporting.world_model import Curve, TransferRow, Week, WorldReport

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TONES: tuple[Tone, ...] = ("third", "second", "phone", "server", "plain", "none")
SHOWN_ZONES = 4
ROUND_PARTS = ("download parameters", "train", "upload an update")

_WEEK_AXIS = Axis(0.0, 168.0, tuple(float(24 * day) for day in range(7)))


def tone_of(tier: int) -> Tone:
    """The colour of a tier, from the first one in the settings; beyond six they begin again."""
    return TONES[tier % len(TONES)]


def states(week: Week) -> Markup:
    """Draw the shares that charge, are idle, are on a free network, and all three."""
    shown: tuple[tuple[str, Tone, Sequence[float]], ...] = (
        ("idle", "none", week.idle),
        ("unmetered", "second", week.unmetered),
        ("charging", "server", week.charging),
        ("all three: available", "phone", week.available),
    )
    lines = [Line(label, tone, False, _hourly(values)) for label, tone, values in shown]
    return _weekly(lines, linear_axis([0.0, 1.0]))


def zones(week: Week) -> Markup:
    """Draw the share that is available in the largest time zones."""
    largest = sorted(week.zones, key=lambda zone: -zone.share)[:SHOWN_ZONES]
    lines = [
        Line(zone_name(zone.offset_h, zone.share), TONES[index], False, _hourly(zone.available))
        for index, zone in enumerate(largest)
    ]
    return _weekly(lines, linear_axis(y for line in lines for _, y in line.points))


def zone_name(offset_h: float, share: float) -> str:
    """Return a time zone as people write it.

    >>> zone_name(-5.0, 0.47), zone_name(5.5, 0.1)
    ('UTC−5, 47 % of the devices', 'UTC+5.5, 10 % of the devices')
    """
    sign = f"{offset_h:+g}".replace("-", "−")
    return f"UTC{sign}, {formats.percent(share, 0)} % of the devices"


def _hourly(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((float(hour), value) for hour, value in enumerate(values))


def _weekly(lines: Sequence[Line], y_axis: Axis) -> Markup:
    label = "hour of the week, UTC; a day begins at its name"
    return curve(lines, _WEEK_AXIS, y_axis, _percent_tick, None, label, _day_tick)


def _day_tick(hour: float) -> str:
    return DAYS[int(hour // 24) % 7]


def _percent_tick(tick: float) -> str:
    return f"{formats.figure(round(100 * tick, 6))}"


def activity(report: WorldReport) -> Markup:
    """Draw the share of the devices that have at most so many training events."""
    lines = [Line(each.label, "phone", False, each.points) for each in report.activity]
    return _cumulative(lines, "training events of a device, logarithmic")


def _cumulative(lines: Sequence[Line], x_label: str) -> Markup:
    axis = log_axis([max(x, 1.0) for line in lines for x, _ in line.points])
    return curve(lines, axis, linear_axis([1.0]), _percent_tick, None, x_label, _count_tick)


def _count_tick(tick: float) -> str:
    return formats.count(tick)


def _pair(curves: Sequence[Curve]) -> list[Line]:
    """Lines of a comparison: the last curve is the devices', dashed so as to hide none below."""
    last = len(curves) - 1
    return [
        Line(each.label, "phone" if index == last else "none", index == last, each.points)
        for index, each in enumerate(curves)
    ]


def transfers(report: WorldReport, what: str) -> Markup:
    """Draw how long one thing travels: the dot is the median, the whisker ends at 90 %."""
    axis = log_axis(s for row in report.transfers for s in (row.median_s, row.slow_s) if s > 0)
    rows = [_transfer_row(report, row) for row in report.transfers if row.what == what]
    return dot_plot(rows, axis, _seconds_tick, None)


def _transfer_row(report: WorldReport, row: TransferRow) -> DotRow:
    names = [tier.tier for tier in report.tiers]
    slow = max(row.slow_s, row.median_s)
    return DotRow(
        label=row.tier,
        note="",
        tone=tone_of(names.index(row.tier)),
        interval=Interval(mean=row.median_s, low=row.median_s, high=slow),
        value=formats.duration(row.median_s),
        span=f"90 % {formats.duration(row.slow_s)}",
    )


def _seconds_tick(tick: float) -> str:
    return f"{tick:g} s" if tick >= 1 else f"{1e3 * tick:g} ms"


def _joules_tick(tick: float) -> str:
    return f"{tick:g} J" if tick >= 1 else f"{1e3 * tick:g} mJ"


def times(report: WorldReport) -> Markup:
    """Draw the seconds of every action, a dot for each tier."""
    return _by_action(report, "seconds")


def energies(report: WorldReport) -> Markup:
    """Draw the joules of every action, a dot for each tier."""
    return _by_action(report, "joules")


def _by_action(report: WorldReport, unit: str) -> Markup:
    write, tick = (
        (formats.duration, _seconds_tick) if unit == "seconds" else (formats.energy, _joules_tick)
    )
    found: dict[str, list[float]] = {}
    for row in report.actions:
        found.setdefault(row.action, []).append(getattr(row, unit))
    rows = [
        GroupRow(action, tuple(values), _range(write(min(values)), write(max(values))))
        for action, values in found.items()
    ]
    axis = log_axis(value for values in found.values() for value in values)
    legend = [(tier.tier, tone_of(index)) for index, tier in enumerate(report.tiers)]
    return group_plot(rows, legend, axis, tick)


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def round_bar(report: WorldReport, tier: str) -> Markup:
    """Draw how the seconds of a round divide into download, training and upload."""
    parts = round_parts(report, tier)
    stripes = [
        Stripe(f"{action}: {formats.duration(seconds)}", index + 1, seconds / sum(parts))
        for index, (action, seconds) in enumerate(zip(ROUND_PARTS, parts, strict=True))
    ]
    return part_bar(stripes)


def round_parts(report: WorldReport, tier: str) -> tuple[float, float, float]:
    """Return the seconds of a round's `ROUND_PARTS`; training is what the network leaves."""
    mine = {row.action: row.seconds for row in report.actions if row.tier == tier}
    down, up = mine["download parameters"], mine["upload an update"]
    return down, max(mine["a round: all three"] - down - up, 0.0), up


def lengths(curves: Sequence[Curve]) -> Markup:
    """Draw the share of the people with at most so many events."""
    return _cumulative(_pair(curves), "training events, logarithmic")


def popularity(curves: Sequence[Curve]) -> Markup:
    """Draw the share of all events that the most popular items have."""
    return _cumulative(_pair(curves), "items, most popular first, logarithmic")


def entropies(curves: Sequence[Curve]) -> Markup:
    """Draw the share of the people whose histories have at most so many bits."""
    axis = linear_axis(x for each in curves for x, _ in each.points)
    label = "bits of entropy over clusters of items"
    return curve(
        _pair(curves), axis, linear_axis([1.0]), _percent_tick, None, label, formats.figure
    )


def lifts(curves: Sequence[Curve]) -> Markup:
    """Draw how much more often than by chance pairs go together, here and there."""
    x_axis = linear_axis((x for each in curves for x, _ in each.points), from_zero=False)
    y_axis = linear_axis((y for each in curves for _, y in each.points), from_zero=False)
    label = "log-lift of pairs in one half of the users"
    level, other, devices = curves
    lines = [
        Line(level.label, "none", True, level.points),
        Line(other.label, "none", False, other.points),
        Line(devices.label, "phone", False, devices.points),
    ]
    return curve(lines, x_axis, y_axis, formats.figure, None, label, formats.figure)


def hours(curves: Sequence[Curve]) -> Markup:
    """Draw the share of all events in each hour of the week."""
    return _weekly(_pair(curves), linear_axis(y for each in curves for _, y in each.points))
