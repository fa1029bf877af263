"""Where a value stands on an axis, in percent of its length.

Plots place their marks in percent, so that one drawing fits a phone and a desktop while its text
keeps its size:

    low                                  high
     |------+------+------+------+--------|
     0 %               position(v)      100 %
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 5.0, 10.0)
_SMALLEST_SPAN = 1e-9  # values closer than this, relative to their size, are one value
_SLACK = 1e-9  # of a step: rounding must not add a whole tick


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of numbers with its ticks.

    Args:
        low: value at 0 %.
        high: value at 100 %; greater than `low`.
        ticks: values that get a line and a label, ascending, within [low, high].
        is_log: whether equal ratios, not equal differences, get equal lengths.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def position(self, value: float) -> float:
        """Return the place of a value in percent, held within 0 and 100."""
        if self.is_log:
            value = max(value, self.low)
            span = math.log(self.high / self.low)
            share = math.log(value / self.low) / span
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 3)


def linear_axis(values: Iterable[float], *, from_zero: bool = True, max_ticks: int = 6) -> Axis:
    """Return an axis with round ticks that holds every value.

    Args:
        values: finite numbers, in any order; none at all gives an axis from 0 to 1.
        from_zero: whether the axis must hold zero. Dots are compared by their distance from it;
            a curve is read by its change.
        max_ticks: about how many ticks to allow; the axis has at most two more, for its ends.

    >>> linear_axis([0.031, 0.082]).ticks
    (0.0, 0.02, 0.04, 0.06, 0.08, 0.1)
    >>> linear_axis([0.52, 0.69], from_zero=False).ticks
    (0.5, 0.55, 0.6, 0.65, 0.7)
    """
    given = [*values]
    if from_zero or not given:
        given.append(0.0)
    low, high = min(given), max(given)
    if high - low < _SMALLEST_SPAN * max(1.0, abs(high)):
        high = low + max(1.0, abs(low))
    step = _nice_step((high - low) / (max_ticks - 1))
    first, last = math.floor(low / step + _SLACK), math.ceil(high / step - _SLACK)
    ticks = tuple(float(f"{index * step:.10g}") for index in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def log_axis(values: Iterable[float]) -> Axis:
    """Return a logarithmic axis of whole decades that holds every value.

    Args:
        values: positive finite numbers; none at all gives the decade from 1 to 10.

    >>> log_axis([0.3, 42.0]).ticks
    (0.1, 1.0, 10.0, 100.0)
    """
    given = [*values] or [1.0]
    first = math.floor(math.log10(min(given)))
    last = max(math.ceil(math.log10(max(given))), first + 1)
    ticks = tuple(float(f"1e{power}") for power in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, is_log=True)


def whole_axis(low: int, high: int, max_ticks: int = 6) -> Axis:
    """Return an axis of whole numbers (rounds) from `low` to `high`, with ticks on whole numbers.

    >>> whole_axis(0, 30).ticks
    (0.0, 10.0, 20.0, 30.0)
    """
    high = max(high, low + 1)
    step = max(1, int(_nice_step((high - low) / (max_ticks - 1))))
    first = math.ceil(low / step) * step
    return Axis(float(low), float(high), tuple(map(float, range(first, high + 1, step))))


def _nice_step(at_least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `at_least`."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(step * power for step in _STEPS if step * power >= at_least * (1 - _SLACK))
