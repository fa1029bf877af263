"""Plots as inline SVG whose marks stand in percent and whose text is HTML.

    dot_plot   one row per thing    label            ····|──●──|····        5.4
    curve      one line per arm     ▔▔▔▔ band of the teacher, ╌╌ a level, ╱ a line
    part_bar   one stripe           ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▅▅▅▅▃▃░   what fills a budget

Nothing here scales its text, so the same drawing is readable at 390 px and on a desktop. Colours
are CSS classes (`place-phone`, `part-3`), so dark mode needs no second drawing. Every string is
escaped by `Markup.format`; labels come from data and are not trusted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from simulation.reporting.axes import Axis
from simulation.reporting.model import Interval

Tone = Literal["server", "phone", "none", "second", "third", "plain"]
"""Colour of a mark: where an arm computes, the second and third line of a curve, or no meaning."""

NUM_PART_COLOURS = 7
"""Stripes beyond this many share the last colour."""


@dataclass(frozen=True, slots=True)
class DotRow:
    """One row of a dot plot.

    Args:
        label: what was measured.
        note: small text beside the label; "" for none.
        tone: colour of the mark.
        interval: dot at the mean, whisker from low to high, in the unit of the axis.
        value: the mean as text.
        span: the interval as text.
        hollow: draw a ring instead of a dot, for "not distinguishable".
        focus: print the label stronger than its neighbours.
        remark: a sentence below the row; "" for none.
    """

    label: str
    note: str
    tone: Tone
    interval: Interval
    value: str
    span: str
    hollow: bool = False
    focus: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One row of a plot that compares several things of the same kind.

    Args:
        label: what was measured.
        values: one dot each, in the unit of the axis, in the order of the legend.
        text: the values as text.
    """

    label: str
    values: tuple[float, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a curve: points (x, y) in axis units, ascending in x."""

    label: str
    tone: Tone
    dashed: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Stripe:
    """One part of a bar: a share of its whole length, from 0 to 1."""

    label: str
    colour: int
    share: float


def dot_plot(
    rows: Sequence[DotRow], axis: Axis, tick_text: Callable[[float], str], band: Interval | None
) -> Markup:
    """Draw a dot with a whisker per row, on one axis.

    Args:
        rows: top to bottom.
        axis: shared by all rows.
        tick_text: label of a tick.
        band: shaded behind every row, such as the interval of the server teacher.

    Returns:
        HTML; all text of `rows` is escaped.
    """
    grid = _grid(axis)
    return Markup(
        '<div class="dots"><svg class="backdrop" aria-hidden="true">{}</svg>{}'
        '<div class="dot-axis">{}</div></div>'
    ).format(
        _band(axis, band),
        Markup("").join(_dot_row(row, axis, grid) for row in rows),
        _ticks(axis, tick_text, "left"),
    )


def _dot_row(row: DotRow, axis: Axis, grid: Markup) -> Markup:
    note = Markup(' <small class="tag tag-{}">{}</small>').format(row.tone, row.note)
    remark = Markup('<p class="dot-remark">{}</p>').format(row.remark)
    return Markup(
        '<div class="dot-row{}"><div class="dot-label">{}{}</div>'
        '<svg class="track" aria-hidden="true">{}{}</svg>'
        '<div class="dot-value"><b>{}</b> <span>{}</span></div>{}</div>'
    ).format(
        Markup(" focus") if row.focus else "",
        row.label,
        note if row.note else "",
        grid,
        _whisker(row, axis),
        row.value,
        row.span,
        remark if row.remark else "",
    )


def _whisker(row: DotRow, axis: Axis) -> Markup:
    low, mean, high = (
        axis.position(value) for value in (row.interval.low, row.interval.mean, row.interval.high)
    )
    return Markup(
        '<g class="mark tone-{tone}{hollow}">'
        '<line x1="{low}%" x2="{high}%" y1="50%" y2="50%"/>'
        '<circle cx="{mean}%" cy="50%" r="5.5"/></g>'
    ).format(tone=row.tone, hollow=" hollow" if row.hollow else "", low=low, mean=mean, high=high)


def _band(axis: Axis, band: Interval | None) -> Markup:
    if band is None:
        return Markup("")
    left, right = axis.position(band.low), axis.position(band.high)
    return Markup('<rect class="band" x="{}%" width="{}%" y="0" height="100%"/>').format(
        left, round(right - left, 3)
    )


def group_plot(
    rows: Sequence[GroupRow],
    legend: Sequence[tuple[str, Tone]],
    axis: Axis,
    tick_text: Callable[[float], str],
) -> Markup:
    """Draw one row per measure with a dot for each member of a group, such as a tier.

    Args:
        rows: top to bottom; each has a value for every entry of the legend.
        legend: names and colours of the members.
        axis: shared by all rows.
        tick_text: label of a tick.

    Returns:
        HTML; all text is escaped.
    """
    tones = [tone for _, tone in legend]
    grid = _grid(axis)
    return Markup(
        '<div class="dots">{}<div class="dot-axis">{}</div></div>{}',
    ).format(
        Markup("").join(_group_row(row, tones, axis, grid) for row in rows),
        _ticks(axis, tick_text, "left"),
        _legend([Line(name, tone, False, ()) for name, tone in legend]),
    )


def _group_row(row: GroupRow, tones: Sequence[Tone], axis: Axis, grid: Markup) -> Markup:
    dot = Markup('<g class="mark tone-{}"><circle cx="{}%" cy="50%" r="5.5"/></g>')
    places = [axis.position(value) for value in row.values]
    line = Markup('<line class="zero" x1="{}%" x2="{}%" y1="50%" y2="50%"/>')
    return Markup(
        '<div class="dot-row"><div class="dot-label">{}</div>'
        '<svg class="track" aria-hidden="true">{}{}{}</svg>'
        '<div class="dot-value"><b>{}</b></div></div>'
    ).format(
        row.label,
        grid,
        line.format(min(places), max(places)),
        Markup("").join(dot.format(tone, place) for tone, place in zip(tones, places, strict=True)),
        row.text,
    )


def _grid(axis: Axis) -> Markup:
    line = Markup('<line class="{}" x1="{}%" x2="{}%" y1="0" y2="100%"/>')
    places = [("zero" if tick == 0 else "grid", axis.position(tick)) for tick in axis.ticks]
    return Markup("").join(line.format(kind, place, place) for kind, place in places)


def _ticks(
    axis: Axis, tick_text: Callable[[float], str], side: Literal["left", "bottom"]
) -> Markup:
    label = Markup('<span style="{}:{}%">{}</span>')
    return Markup("").join(
        label.format(Markup(side), axis.position(tick), tick_text(tick)) for tick in axis.ticks
    )


def curve(
    lines: Sequence[Line],
    x_axis: Axis,
    y_axis: Axis,
    y_text: Callable[[float], str],
    band: Interval | None,
    x_label: str,
    x_text: Callable[[float], str] = "{:.0f}".format,
) -> Markup:
    """Draw lines over a common x axis, with a shaded band of y values behind them.

    The lines live in a square of 100 by 100 that stretches with the page; their width does not
    stretch (`non-scaling-stroke`), and dots sit in a second layer, so that they stay round.

    Args:
        lines: drawn in this order; the last one is on top.
        x_axis: usually round numbers.
        y_axis: the metric or loss.
        y_text: label of a y tick.
        band: shaded y interval; None for none.
        x_label: name of the x axis.
        x_text: label of an x tick.

    Returns:
        HTML; all text is escaped.
    """
    return Markup(
        '<div class="curve"><div class="curve-plot">'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}{}{}</svg>'
        '<svg aria-hidden="true">{}</svg>'
        '<div class="y-ticks">{}</div><div class="x-ticks">{}</div></div>'
        '<p class="x-label">{}</p>{}</div>'
    ).format(
        _level_band(y_axis, band),
        _levels(y_axis),
        Markup("").join(_polyline(line, x_axis, y_axis) for line in lines),
        Markup("").join(_end_dot(line, x_axis, y_axis) for line in lines if not line.dashed),
        _ticks(y_axis, y_text, "bottom"),
        _ticks(x_axis, x_text, "left"),
        x_label,
        _legend(lines),
    )


def _level_band(axis: Axis, band: Interval | None) -> Markup:
    if band is None:
        return Markup("")
    top, bottom = 100 - axis.position(band.high), 100 - axis.position(band.low)
    return Markup('<rect class="band" x="0" width="100" y="{}" height="{}"/>').format(
        round(top, 3), round(bottom - top, 3)
    )


def _levels(axis: Axis) -> Markup:
    line = Markup('<line class="grid" x1="0" x2="100" y1="{}" y2="{}"/>')
    places = [round(100 - axis.position(tick), 3) for tick in axis.ticks]
    return Markup("").join(line.format(place, place) for place in places)


def _polyline(line: Line, x_axis: Axis, y_axis: Axis) -> Markup:
    places = " ".join(
        f"{x_axis.position(x):g},{100 - y_axis.position(y):g}" for x, y in line.points
    )
    return Markup('<polyline class="tone-{}{}" points="{}"/>').format(
        line.tone, " dashed" if line.dashed else "", places
    )


def _end_dot(line: Line, x_axis: Axis, y_axis: Axis) -> Markup:
    x, y = line.points[-1]
    return Markup('<circle class="tone-{}" cx="{}%" cy="{}%" r="4.5"/>').format(
        line.tone, x_axis.position(x), round(100 - y_axis.position(y), 3)
    )


def _legend(lines: Sequence[Line]) -> Markup:
    entry = Markup('<li><i class="swatch tone-{}{}"></i>{}</li>')
    entries = Markup("").join(
        entry.format(line.tone, " dashed" if line.dashed else "", line.label) for line in lines
    )
    return Markup('<ul class="legend">{}</ul>').format(entries)


def part_bar(stripes: Sequence[Stripe]) -> Markup:
    """Draw the parts of a budget as one stripe; what they leave free stays hatched.

    Args:
        stripes: left to right; their shares add up to at most 1.

    Returns:
        HTML; labels are escaped and show when the pointer rests on a stripe.
    """
    part = Markup('<i class="part-{}" style="width:{}%" title="{}"></i>')
    body = Markup("").join(
        part.format(stripe.colour, round(100 * stripe.share, 3), stripe.label) for stripe in stripes
    )
    return Markup('<div class="part-bar" aria-hidden="true">{}</div>').format(body)
