"""Intervals over users and seeds: beside the plain bootstrap, by hand, by what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.intervals import PairedBootstrap
from simulation.experiments.studies.seed_intervals import SeedBootstrap

USERS = np.arange(40)


def drawn(seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).random(len(USERS)) + shift


def test_with_one_seed_it_is_the_bootstrap_over_users():
    a, b = drawn(1), drawn(2)
    found = SeedBootstrap.draw(USERS, (5,), 400)
    plain = PairedBootstrap.draw(len(USERS), 0, replicates=400)
    for ours, theirs in (
        (found.mean({5: (USERS, a)}).interval, plain.mean(a)),
        (found.difference({5: (USERS, a)}, {5: (USERS, b)}).interval, plain.difference(a, b)),
        (found.ratio({5: (USERS, a)}, {5: (USERS, b)}), plain.ratio(a, b)),
    ):
        assert (ours.mean, ours.low, ours.high) == pytest.approx(
            (theirs.mean, theirs.low, theirs.high), abs=1e-6
        )


def test_users_that_are_missing_under_a_seed_do_not_count_there():
    """By hand: seed 0 has users 0 and 1, seed 1 has users 1 and 2."""
    values = {
        0: (np.array([0, 1]), np.array([1.0, 3.0])),
        1: (np.array([1, 2]), np.array([5.0, 7.0])),
    }
    found = SeedBootstrap.draw(np.array([0, 1, 2]), (0, 1), 200).mean(values)
    assert found.by_seed == (2.0, 6.0)
    assert found.interval.mean == 4.0
    assert found.num_users == 3
    assert found.spread == pytest.approx(np.sqrt(8))


def test_seeds_that_differ_widen_the_interval():
    same = {seed: (USERS, drawn(1)) for seed in range(3)}
    apart = {seed: (USERS, drawn(1, shift=seed - 1.0)) for seed in range(3)}
    draws = SeedBootstrap.draw(USERS, (0, 1, 2), 500)
    narrow, wide = (draws.mean(values).interval for values in (same, apart))
    assert narrow.mean == pytest.approx(wide.mean)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_what_users_have_in_common_cancels():
    """Both variants vary widely over users, their difference does not at all."""
    a = {seed: (USERS, 10 * drawn(seed)) for seed in range(2)}
    b = {seed: (users, values - 0.25) for seed, (users, values) in a.items()}
    draws = SeedBootstrap.draw(USERS, (0, 1), 300)
    found = draws.difference(a, b).interval
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))
    assert draws.mean(a).interval.high - draws.mean(a).interval.low > 1


def test_a_ratio_to_nothing_is_not_told():
    zeros = {0: (USERS, np.zeros(len(USERS)))}
    assert SeedBootstrap.draw(USERS, (0,), 100).ratio({0: (USERS, drawn(1))}, zeros) is None


@given(st.integers(1, 4), st.integers(0, 99))
def test_the_mean_lies_within_and_the_turned_difference_is_the_opposite(seeds, start):
    a = {seed: (USERS, drawn(start + seed)) for seed in range(seeds)}
    b = {seed: (USERS, drawn(start + 50 + seed)) for seed in range(seeds)}
    draws = SeedBootstrap.draw(USERS, tuple(range(seeds)), 200)
    one, other = draws.difference(a, b).interval, draws.difference(b, a).interval
    assert one.low <= one.mean <= one.high
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
