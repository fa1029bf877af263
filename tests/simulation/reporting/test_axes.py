from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.reporting.axes import Axis, linear_axis, log_axis, whole_axis

values = st.lists(st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6), max_size=8)


def _check_holds(axis: Axis, held: list[float]) -> None:
    slack = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - slack <= value <= axis.high + slack for value in held)
    assert all(0 <= axis.position(value) <= 100 for value in held)
    assert all(before < after for before, after in pairwise(axis.ticks))


@given(held=values, from_zero=st.booleans())
def test_linear_axis_holds_every_value_between_few_round_ticks(
    held: list[float], from_zero: bool
) -> None:
    axis = linear_axis(held, from_zero=from_zero)
    _check_holds(axis, held)
    assert 2 <= len(axis.ticks) <= 8
    if from_zero:
        assert axis.low <= 0 <= axis.high
    steps = [after - before for before, after in pairwise(axis.ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(held=st.lists(st.floats(1e-4, 1e6), max_size=8))
def test_log_axis_holds_every_value_in_whole_decades(held: list[float]) -> None:
    axis = log_axis(held)
    _check_holds(axis, held)
    assert all(after / before == pytest.approx(10) for before, after in pairwise(axis.ticks))


@given(low=st.integers(0, 500), length=st.integers(0, 3000))
def test_whole_axis_has_whole_ticks_inside(low: int, length: int) -> None:
    axis = whole_axis(low, low + length)
    _check_holds(axis, [low, low + length])
    assert all(tick == int(tick) and axis.low <= tick <= axis.high for tick in axis.ticks)
    assert len(axis.ticks) <= 8


@given(held=values, pair=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)))
def test_position_never_turns_round(held: list[float], pair: tuple[float, float]) -> None:
    axis = linear_axis(held)
    assert axis.position(min(pair)) <= axis.position(max(pair))


def test_positions_of_a_linear_and_a_logarithmic_axis() -> None:
    assert [linear_axis([8.0]).position(v) for v in (0.0, 2.0, 8.0, 99.0)] == [0, 25, 100, 100]
    assert [log_axis([1.0, 100.0]).position(v) for v in (0.1, 1.0, 10.0, 100.0)] == [0, 0, 50, 100]
