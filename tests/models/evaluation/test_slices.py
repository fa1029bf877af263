import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.evaluation.slices import (
    IN_NONE,
    MIN_USERS,
    Slicing,
    by_activity,
    by_cold_item,
    by_cold_user,
    by_popularity,
    by_tier,
    by_time,
    equal_parts,
    slice_means,
    worst_slice,
)
from models.intervals import PairedBootstrap

RNG = np.random.default_rng(3)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 10))
def test_equal_parts_keep_equal_values_together_and_the_order(values, parts):
    found = equal_parts(np.array(values), parts)
    assert found.min() >= 0 and found.max() < parts
    for a, mine in zip(values, found, strict=True):
        for b, other in zip(values, found, strict=True):
            assert (mine <= other) if a <= b else (mine >= other)


def test_different_values_are_cut_into_parts_of_equal_size():
    found = equal_parts(RNG.permutation(100), 10)
    assert np.bincount(found).tolist() == [10] * 10


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=60))
def test_everybody_is_in_one_slice_of_activity_and_its_name_says_which(events):
    found = by_activity(np.array(events))
    assert found.sizes().sum() == len(events) and found.sizes().all()
    for count, index in zip(events, found.member, strict=True):
        low, _, high = found.names[index].removesuffix(" events").partition("-")
        assert int(low) <= count <= int(high or low)


def test_cold_items_cold_users_tiers_and_times():
    cold = by_cold_item(np.array([2, 0, 2]), np.array([False, True, True]))
    assert dict(zip(cold.names, cold.sizes().tolist(), strict=True)) == {"cold": 2, "warm": 1}
    assert by_cold_user(np.array([1, 5, 6, 90])).member.tolist() == [0, 0, 1, 1]
    assert by_tier(np.array([1, 0, 1]), ("low", "high")).names == ("low", "high")
    assert by_time(np.array([3.0, 1.0, 2.0, 9.0]), parts=2).member.tolist() == [1, 0, 0, 1]


def test_popularity_parts_are_of_items_and_users_follow_their_held_out_item():
    popularity = np.arange(20) ** 2
    found = by_popularity(np.array([0, 19, 19, 18]), popularity)
    assert found.member.tolist() == [0, 9, 9, 9]
    assert found.names[9] == "part 10 of 10"


def _worlds(num_users=400):
    good = RNG.random(num_users)
    group = np.arange(num_users) % 4
    return np.where(group == 2, good / 4, good), group


def test_the_worst_slice_is_found_with_its_own_mean():
    values, group = _worlds()
    slicings = [
        Slicing("group", ("a", "b", "c", "d"), group),
        by_activity(RNG.integers(1, 50, 400)),
    ]
    rows = slice_means(values, slicings, PairedBootstrap.draw(400, 0))
    worst = worst_slice(rows)
    assert worst is not None and worst.interval is not None
    assert (worst.dimension, worst.name, worst.num_users) == ("group", "c", 100)
    assert worst.interval.mean == pytest.approx(values[group == 2].mean())
    assert worst.interval.high < values.mean()


def test_a_small_slice_is_counted_but_never_the_worst():
    values = np.ones(100)
    values[: MIN_USERS - 1] = 0.0
    member = np.where(np.arange(100) < MIN_USERS - 1, 0, 1)
    bootstrap = PairedBootstrap.draw(100, 0, replicates=200)
    rows = slice_means(values, [Slicing("x", ("few", "many"), member)], bootstrap)
    assert [(row.num_users, row.interval is None) for row in rows] == [(29, True), (71, False)]
    assert worst_slice(rows).name == "many"
    nobody = slice_means(values, [Slicing("x", ("few",), np.full(100, IN_NONE))], bootstrap)
    assert nobody == () and worst_slice(nobody) is None


def test_differences_of_slices_are_corrected_for_their_number():
    """12 slices without any difference: about one world in 20 may claim one, not 9 of 20."""
    slicing = Slicing("x", tuple(map(str, range(12))), np.arange(480) % 12)
    bootstrap, claims = PairedBootstrap.draw(480, 0, replicates=999), 0
    for world in range(40):
        difference = np.random.default_rng(world).normal(0, 1, 480)
        rows = slice_means(difference, [slicing], bootstrap)
        claims += any(row.p_value is not None and row.p_value < 0.05 for row in rows)
    assert claims <= 7


def test_a_real_difference_in_one_slice_is_found_and_no_other():
    difference = RNG.normal(0, 1, 800)
    member = np.arange(800) % 8
    difference[member == 5] += 1.0
    slicing = Slicing("x", tuple(map(str, range(8))), member)
    rows = slice_means(difference, [slicing], PairedBootstrap.draw(800, 0))
    assert [row.name for row in rows if row.p_value is not None and row.p_value < 0.05] == ["5"]


def test_the_order_of_users_moves_means_by_nothing():
    values, group = _worlds()
    order = RNG.permutation(400)
    bootstrap = PairedBootstrap.draw(400, 0)
    here = slice_means(values, [Slicing("group", tuple("abcd"), group)], bootstrap)
    there = slice_means(values[order], [Slicing("group", tuple("abcd"), group[order])], bootstrap)
    for one, other in zip(here, there, strict=True):
        assert one.interval is not None and other.interval is not None
        assert one.interval.mean == pytest.approx(other.interval.mean)


def test_nobody_with_a_hit_is_no_proof_that_there_is_none():
    """0 of 40 users: the bootstrap knows no spread, the bound of 0 of n does."""
    values, member = np.concatenate([np.zeros(40), np.ones(60)]), np.repeat([0, 1], [40, 60])
    bootstrap = PairedBootstrap.draw(100, 0, replicates=200)
    slicing = Slicing("x", ("none", "all"), member)
    none, _ = slice_means(values, [slicing], bootstrap)
    assert none.interval is not None
    assert (none.interval.mean, none.interval.low) == (0.0, 0.0)
    assert none.interval.high == pytest.approx(stats.beta.ppf(1 - 0.0125, 1, 40))
    difference, _ = slice_means(values - 0.5, [slicing], bootstrap)
    assert difference.interval is not None and difference.interval.high == -0.5


def test_of_equally_bad_slices_the_largest_is_the_worst():
    values = np.zeros(120)
    slicing = Slicing("x", ("small", "large"), np.repeat([0, 1], [40, 80]))
    rows = slice_means(values, [slicing], PairedBootstrap.draw(120, 0, replicates=100))
    worst = worst_slice(rows)
    assert worst is not None and worst.name == "large"
