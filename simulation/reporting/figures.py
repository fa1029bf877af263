"""Which numbers of a run each plot shows.

`plots.py` knows how to draw, this file knows what: it picks intervals out of `ReportData`, labels
them, chooses the axis. A plot is None when the run has nothing for it.
"""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from simulation.reporting import formats
from simulation.reporting.axes import Axis, linear_axis, log_axis, whole_axis
from simulation.reporting.model import (
    PRIMARY_METRIC,
    Arm,
    BytePart,
    ColdProtocolName,
    Compression,
    Contrast,
    Interval,
    LatencyRow,
    MetricName,
    Place,
    ProtocolName,
    ReportData,
    Round,
    Tier,
)
from simulation.reporting.plots import (
    NUM_PART_COLOURS,
    DotRow,
    Line,
    Stripe,
    Tone,
    curve,
    dot_plot,
    part_bar,
)

_PLACE_NOTES: dict[Place, str] = {"server": "server", "phone": "phone", "none": ""}
_CURVE_TONES: tuple[Tone, ...] = ("phone", "second", "third")


def quality_plot(report: ReportData, metric: MetricName, protocol: ProtocolName) -> Markup | None:
    """Draw one metric of every arm, with the interval of the server teacher as a band."""
    found = [(arm, arm.metric(metric, protocol)) for arm in report.arms]
    rows = [_quality_row(report, arm, interval) for arm, interval in found if interval is not None]
    if not rows:
        return None
    teacher = report.teacher
    band = teacher.metric(metric, protocol) if teacher else None
    axis = linear_axis([row.interval.high for row in rows])
    return dot_plot(rows, axis, lambda tick: formats.figure(100 * tick), band)


def _quality_row(report: ReportData, arm: Arm, interval: Interval) -> DotRow:
    return DotRow(
        label=arm.name,
        note=_PLACE_NOTES[arm.place],
        tone=arm.place,
        interval=interval,
        value=formats.percent(interval.mean),
        span=formats.percent_range(interval),
        focus=arm.key == report.roles.phone,
    )


def cold_plot(report: ReportData, protocol: ColdProtocolName) -> Markup | None:
    """Draw the primary metric of every arm on new items; the band is the server teacher's."""
    if report.cold is None:
        return None
    found = {arm.key: arm.metric(PRIMARY_METRIC, protocol) for arm in report.cold.arms}
    rows = [
        _quality_row(report, report.known_arm(key), interval)
        for key, interval in found.items()
        if interval is not None
    ]
    if not rows:
        return None
    axis = linear_axis([row.interval.high for row in rows])
    band = found.get(report.roles.teacher or "")
    return dot_plot(rows, axis, lambda tick: formats.figure(100 * tick), band)


def contrast_plot(report: ReportData) -> Markup | None:
    """Draw the paired differences around zero; a ring is an interval that holds zero."""
    if not report.contrasts:
        return None
    rows = [_contrast_row(report, contrast) for contrast in report.contrasts]
    axis = linear_axis([end for row in rows for end in (row.interval.low, row.interval.high)])
    return dot_plot(rows, axis, _signed_tick, None)


def _signed_tick(tick: float) -> str:
    return f"{100 * tick:+.3g}".replace("-", "−") if tick else "0"


def _contrast_row(report: ReportData, contrast: Contrast) -> DotRow:
    first, second = report.known_arm(contrast.a), report.known_arm(contrast.b)
    return DotRow(
        label=f"{first.name} − {second.name}",
        note=formats.metric_label(contrast.metric),
        tone=first.place,
        interval=contrast.interval,
        value=formats.points(contrast.mean),
        span=formats.points_range(contrast.interval),
        hollow=not contrast.is_clear,
        remark=contrast.reading,
    )


def learning_curve(report: ReportData) -> Markup | None:
    """Draw the primary metric per round over the teacher's interval and the static arm's level."""
    lines = _lines(report, primary_metric)
    if not lines:
        return None
    x_axis = _round_axis(lines)
    static = report.static.metric(PRIMARY_METRIC) if report.static else None
    if report.static and static:
        level = ((x_axis.low, static.mean), (x_axis.high, static.mean))
        lines.insert(0, Line(f"{report.static.name}, frozen", "none", True, level))
    band = report.teacher.metric(PRIMARY_METRIC) if report.teacher else None
    heights = [y for line in lines for _, y in line.points]
    heights += [band.low, band.high] if band else []
    y_axis = linear_axis(heights, from_zero=False)
    return curve(lines, x_axis, y_axis, lambda tick: formats.figure(100 * tick), band, "round")


def loss_curve(report: ReportData) -> Markup | None:
    """Draw the training loss per round and arm."""
    lines = _lines(report, lambda round_: round_.loss)
    if not lines:
        return None
    y_axis = linear_axis((y for line in lines for _, y in line.points), from_zero=False)
    return curve(lines, _round_axis(lines), y_axis, formats.figure, None, "round")


def primary_metric(round_: Round) -> float | None:
    """Return the primary metric of a round; None when it was not evaluated."""
    return round_.metrics.get(PRIMARY_METRIC)


def points_by_arm(
    report: ReportData, pick: Callable[[Round], float | None]
) -> dict[str, list[tuple[int, float]]]:
    """Return (round number, picked value) of each arm, ascending; the phone's own arm first.

    Rounds whose value is None are left out, and so are arms without any value.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for round_ in sorted(report.rounds, key=lambda r: (r.arm != report.roles.phone, r.arm)):
        value = pick(round_)
        if value is not None:
            points.setdefault(round_.arm, []).append((round_.round_number, value))
    return {arm: sorted(found) for arm, found in points.items()}


def _lines(report: ReportData, pick: Callable[[Round], float | None]) -> list[Line]:
    lines = []
    for index, (key, points) in enumerate(points_by_arm(report, pick).items()):
        tone = _CURVE_TONES[min(index, len(_CURVE_TONES) - 1)]
        lines.append(Line(report.known_arm(key).name, tone, False, tuple(points)))
    return lines


def _round_axis(lines: Sequence[Line]) -> Axis:
    numbers = [int(x) for line in lines for x, _ in line.points]
    return whole_axis(min(numbers), max(numbers))


def latency_plot(rows: Sequence[LatencyRow]) -> Markup | None:
    """Draw median (dot) and 95th percentile (end of the whisker) on a logarithmic axis."""
    if not rows:
        return None
    axis = log_axis([time for row in rows for time in (row.p50_ms, row.p95_ms)])
    return dot_plot([_latency_row(row) for row in rows], axis, lambda tick: f"{tick:g} ms", None)


def _latency_row(row: LatencyRow) -> DotRow:
    return DotRow(
        label=row.what,
        note="" if row.tokens is None else f"{formats.count(row.tokens)} tokens",
        tone="plain",
        interval=Interval(mean=row.p50_ms, low=row.p50_ms, high=max(row.p50_ms, row.p95_ms)),
        value=formats.milliseconds(row.p50_ms),
        span=f"p95 {formats.milliseconds(row.p95_ms)}",
        remark=row.note,
    )


def tier_plot(tiers: Sequence[Tier]) -> Markup | None:
    """Draw the primary metric of every tier; a ring is a tier that cannot serve on the device."""
    rows = [_tier_row(tier) for tier in tiers if PRIMARY_METRIC in tier.metrics]
    if not rows:
        return None
    axis = linear_axis([row.interval.high for row in rows])
    return dot_plot(rows, axis, lambda tick: formats.figure(100 * tick), None)


def _tier_row(tier: Tier) -> DotRow:
    interval = tier.metrics[PRIMARY_METRIC]
    return DotRow(
        label=tier.tier,
        note=f"{formats.count(tier.num_devices)} devices",
        tone="phone",
        interval=interval,
        value=formats.percent(interval.mean),
        span=formats.percent_range(interval),
        hollow=not tier.can_serve,
        remark=tier.note,
    )


def byte_parts(compression: Compression) -> list[BytePart]:
    """Return the parts of the bundle, largest first; what the table left out comes last."""
    parts = sorted(compression.byte_table, key=lambda part: -part.num_bytes)
    rest = compression.bundle_bytes - sum(part.num_bytes for part in parts)
    return [*parts, BytePart(part="not itemised", num_bytes=rest)] if rest else parts


def part_colour(index: int) -> int:
    """Return the colour number of the part at this place, from 0, of the bundle."""
    return min(index, NUM_PART_COLOURS - 1) + 1


def byte_bar(compression: Compression) -> Markup:
    """Draw the parts of the bundle within its budget (or within itself, when it is over)."""
    whole = max(compression.budget_bytes, compression.bundle_bytes)
    stripes = [
        Stripe(
            f"{part.part}: {formats.count(part.num_bytes)} bytes",
            part_colour(index),
            part.num_bytes / whole,
        )
        for index, part in enumerate(byte_parts(compression))
    ]
    return part_bar(stripes)
