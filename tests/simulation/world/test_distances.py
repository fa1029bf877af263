import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.seeds import generator
from simulation.world import distances

numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(np.array)
counts = st.lists(st.integers(0, 50), min_size=6, max_size=6).map(np.array)


@given(numbers, numbers)
def test_kolmogorov_smirnov_is_the_largest_difference_of_two_shares(first, second):
    found = distances.kolmogorov_smirnov(first, second)
    below = [abs(np.mean(first <= place) - np.mean(second <= place)) for place in range(-6, 7)]
    assert found == pytest.approx(max(below))
    assert found == pytest.approx(distances.kolmogorov_smirnov(second, first))
    assert distances.kolmogorov_smirnov(first, first) == 0


@given(counts.filter(lambda row: row.sum() > 0), counts.filter(lambda row: row.sum() > 0))
def test_total_variation_is_a_share_and_does_not_see_sizes(first, second):
    found = distances.total_variation(first, second)
    assert 0 <= found <= 1 + 1e-12
    assert found == pytest.approx(distances.total_variation(3 * second, first))
    assert distances.total_variation(first, 7 * first) == pytest.approx(0, abs=1e-12)


def test_nothing_counted_is_no_share():
    assert distances.shares(np.zeros(3)).tolist() == [0, 0, 0]


@given(counts.filter(lambda row: row.sum() > 0))
def test_gini_is_half_of_the_mean_difference(row):
    differences = np.abs(row[:, None] - row[None, :]).mean()
    assert distances.gini(row) == pytest.approx(differences / (2 * row.mean()))


@given(counts)
def test_entropy_is_what_scipy_says(row):
    expected = stats.entropy(row, base=2) if row.sum() else 0.0
    assert distances.entropies_bits(row[None])[0] == pytest.approx(expected)


def test_log_lift_is_above_zero_for_items_that_go_together():
    rng = generator(0, "made-up pairs")
    first = rng.random(4_000) < 0.3
    apart, together = rng.random(4_000) < 0.3, first & (rng.random(4_000) < 0.9)
    has = np.stack([first, apart, together], axis=1).astype(float)
    chance, pair, other = distances.log_lifts(has.T @ has, 4_000)
    assert chance == pytest.approx(0, abs=0.1) and other == pytest.approx(0, abs=0.1)
    assert pair == pytest.approx(np.log(1 / 0.3), abs=0.1)
