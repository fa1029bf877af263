"""Sums of devices add up over days, tiers, nodes and arms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.seeds import generator
from models.statistics.moments import Moments
from models.statistics.slow_requests import SlowRequests

NAMES = ("clicks", "requests", "crashed")
SHAPE = (2, 3)


def same(one: Moments, two: Moments) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(two, name))
        for name in ("count", "sums", "products")
    )


@given(seed=st.integers(0, 10_000), num_devices=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_any_cut_into_nodes_and_any_order_give_the_same_sums(seed: int, num_devices: int):
    rng = generator(seed, "rows")
    rows = rng.integers(0, 50, (num_devices, 3))
    cells = rng.integers(-1, 6, num_devices)
    whole = Moments.by_cell(NAMES, rows, cells, SHAPE)
    order, cut = rng.permutation(num_devices), int(rng.integers(0, num_devices + 1))
    parts = [
        Moments.by_cell(NAMES, rows[some], cells[some], SHAPE)
        for some in (order[:cut], order[cut:])
    ]
    assert same(whole, parts[0] + parts[1])
    one_by_one = Moments.nothing(NAMES, SHAPE)
    for row, cell in zip(rows, cells, strict=True):
        if cell >= 0:
            place = np.unravel_index(cell, SHAPE)
            one_by_one.count[place] += 1
            one_by_one.sums[place] += row
            one_by_one.products[place] += np.outer(row, row)
    assert same(whole, one_by_one)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_changes_of_days_add_up_to_the_rows_as_they_stand(seed: int):
    """Days of one phone are not several phones: the slow truth keeps a row for each device."""
    rng = generator(seed, "days")
    num_devices, days = 40, 5
    cells = rng.integers(0, 6, num_devices)
    first_day = rng.integers(0, days, num_devices)
    rows = np.zeros((num_devices, 3))
    told = Moments.nothing(NAMES, SHAPE)
    for day in range(days):
        seen_before = np.where(first_day < day, cells, -1)
        before = Moments.by_cell(NAMES, rows, seen_before, SHAPE)
        seen = first_day <= day
        rows[seen] += rng.integers(0, 4, (int(seen.sum()), 3))
        after = Moments.by_cell(NAMES, rows, np.where(seen, cells, -1), SHAPE)
        told = told + (after - before)
    assert same(told, Moments.by_cell(NAMES, rows, cells, SHAPE))


def test_covariance_is_that_of_numpy():
    rows = generator(3, "rows").normal(5, 2, (50, 3))
    found = Moments.by_cell(NAMES, rows, np.zeros(50, int), (1,))[0].covariance()
    assert np.allclose(found, np.cov(rows.T), rtol=1e-10)


def test_one_device_has_no_variance_and_pooling_is_adding():
    rows = np.array([[1, 2, 0], [3, 4, 1], [5, 6, 0]])
    found = Moments.by_cell(NAMES, rows, np.array([0, 1, 5]), SHAPE)
    assert np.isnan(found[0, 0].covariance()).all()
    assert found.pooled(1).sums[0].tolist() == [4, 6, 1]
    assert found.pooled(0).pooled(0).count == 3


def test_sums_that_do_not_fit_are_refused():
    one = Moments.nothing(NAMES, SHAPE)
    with pytest.raises(ValueError, match="do not add up"):
        one + Moments.nothing(NAMES[:2], SHAPE)
    with pytest.raises(ValueError, match="cell 6 is outside"):
        Moments.by_cell(NAMES, np.zeros((1, 3)), np.array([6]), SHAPE)
    with pytest.raises(ValueError, match="a column for each name"):
        Moments.by_cell(NAMES, np.zeros((1, 2)), np.array([0]), SHAPE)
    with pytest.raises(KeyError, match="no column 'swipes'"):
        one.column("swipes")
    with pytest.raises(ValueError, match="same edges"):
        SlowRequests.nothing((1.0, 2.0)) + SlowRequests.nothing((1.0, 3.0))


def test_slow_requests_add_up_over_nodes_and_count_what_is_slower():
    bins = np.array([[5, 2, 1], [0, 0, 3], [4, 0, 0]])
    cells = np.array([0, 0, 1])
    whole = SlowRequests.by_cell((10.0, 20.0), bins, cells, (2,))
    assert whole.slower.tolist() == [[6, 4], [0, 0]]
    assert whole.requests.tolist() == [11, 4]
    assert whole.slower_squared[0].tolist() == [9 + 9, 1 + 9]
    assert whole.slower_by_requests[0].tolist() == [8 * 3 + 3 * 3, 8 * 1 + 3 * 3]
    parts = [
        SlowRequests.by_cell((10.0, 20.0), bins[n : n + 1], cells[n : n + 1], (2,))
        for n in range(3)
    ]
    total = parts[0] + parts[1] + parts[2]
    assert np.array_equal(total.slower_squared, whole.slower_squared)
    assert np.array_equal((total - parts[2]).requests, [11, 0])
