"""The bound agrees with a published implementation, and is one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom, norm

from models.errors import SettingsError
from simulation.experiments.audit.one_run_bound import (
    epsilon_lower_bound,
    epsilon_ruled_out,
    p_value,
)

EVEN_SPACES = 10_000


def spread_evenly(mean: float, count: int) -> np.ndarray:
    """A normal sample without chance: the quantiles in the middle of equal shares."""
    return norm.ppf((np.arange(count) + 0.5) / count) + mean


def p_value_term_by_term(m: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Theorem 5.2 of Steinke et al. as it is printed."""
    chance = expit(epsilon)
    beta = sum(binom.pmf(k, guesses, chance) for k in range(correct, guesses + 1))
    alpha = 0.0
    for i in range(1, correct + 1):
        between = sum(binom.pmf(k, guesses, chance) for k in range(correct - i, correct))
        alpha = max(alpha, 2.0 * between / i)
    return min(1.0, beta + alpha * m * delta)


@given(
    m=st.integers(1, 60),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    epsilon=st.floats(0, 3),
    delta=st.sampled_from([0.0, 1e-6, 1e-3, 0.1]),
)
def test_the_chance_is_that_of_the_theorem(m, shares, epsilon, delta):
    guesses = round(shares[0] * m)
    correct = round(shares[1] * guesses)
    slow = p_value_term_by_term(m, guesses, correct, epsilon, delta)
    assert p_value(m, guesses, correct, epsilon, delta) == pytest.approx(slow, abs=1e-9)


def guesses_on_the_hull(inside: np.ndarray, outside: np.ndarray) -> list[int]:
    """Numbers of guesses at the corners of the concave hull of the ROC curve.

    jax-privacy tries these and shares the confidence among as many; it finds them by looking at the
    scores, which `epsilon_lower_bound` asks its callers not to do.
    """
    thresholds = np.append(np.union1d(inside, outside), np.inf)
    points = [(int((inside < t).sum()), int((outside < t).sum())) for t in thresholds]
    hull: list[tuple[int, int]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x1) > (x1 - x0) * (y - y1):
                break
            hull.pop()
        hull.append((x, y))
    return [len(inside) + len(outside) - missed - refused for missed, refused in hull]


@pytest.mark.parametrize(("shift", "published"), [(1, 1.13346), (2, 2.311945), (4, 4.395568)])
def test_bounds_are_those_of_jax_privacy(shift: float, published: float):
    """The values of its test: 10,000 a side, delta 1e-6, confidence 95 %."""
    inside, outside = spread_evenly(shift, EVEN_SPACES), spread_evenly(0, EVEN_SPACES)
    included = np.repeat([True, False], EVEN_SPACES)
    scores, guesses = np.concatenate([inside, outside]), guesses_on_the_hull(inside, outside)
    found = epsilon_lower_bound(scores, included, 1e-6, guesses, sides="in")
    assert found.epsilon == pytest.approx(published, rel=1e-5)


@pytest.mark.parametrize(("noise", "measured"), [(1.0, 1.30), (0.5065, 2.49)])
def test_ideal_gaussian_runs_are_bounded_as_jax_privacy_bounds_one(noise: float, measured: float):
    """1000 canaries, delta 1e-5; the mechanism's epsilon is 4.38 and 10. Runs differ by 0.2 to 0.3.

    Settling few numbers of guesses beforehand, on both sides, proves more than trying a hull.
    """
    hull, settled = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        inside, outside = rng.normal(1 / noise, 1, 500), rng.normal(0, 1, 500)
        included, scores = np.repeat([True, False], 500), np.concatenate([inside, outside])
        tried = guesses_on_the_hull(inside, outside)
        hull.append(epsilon_lower_bound(scores, included, 1e-5, tried, sides="in").epsilon)
        settled.append(epsilon_lower_bound(scores, included, 1e-5, (50, 200, 500, 1000)).epsilon)
    assert np.mean(hull) == pytest.approx(measured, abs=0.25)
    assert np.mean(settled) > np.mean(hull)
    assert max(settled) < (4.38 if noise == 1.0 else 10.0)


def test_nothing_is_proved_where_there_is_nothing():
    scores = spread_evenly(0, 1000)
    included = np.arange(1000) % 2 == 0
    assert epsilon_lower_bound(scores, included, 1e-5, (20, 100, 500)).epsilon == 0.0


def test_a_private_mechanism_is_hardly_ever_accused():
    """Randomised response is epsilon-private exactly, so the audit has nothing to spare."""
    epsilon, m, runs = 1.0, 200, 400
    rng = np.random.default_rng(0)
    accused = 0
    for _ in range(runs):
        included = rng.random(m) < 0.5
        told_truth = rng.random(m) < expit(epsilon)
        scores = np.where(told_truth, included, ~included) + 1e-6 * rng.random(m)
        accused += epsilon_lower_bound(scores, included, 0.0, (m,)).epsilon > epsilon
    assert accused <= binom.ppf(0.999, runs, 0.05)


def test_with_all_guesses_right_the_bound_is_in_closed_form():
    """q^r = 1 - confidence at delta 0."""
    included = np.arange(100) % 2 == 0
    found = epsilon_lower_bound(included.astype(float), included, 0.0, (100,))
    chance = 0.05 ** (1 / 100)
    assert found.epsilon == pytest.approx(np.log(chance / (1 - chance)), abs=1e-4)
    assert (found.num_guesses, found.num_correct) == (100, 100)


def test_two_sides_guess_in_for_the_highest_and_out_for_the_lowest():
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    included = np.array([True, False, True, False])
    both = epsilon_lower_bound(scores, included, 0.0, (2,), confidence=0.6)
    assert both.num_correct == 2
    one = epsilon_lower_bound(scores, included, 0.0, (2,), sides="in", confidence=0.6)
    assert one.epsilon == 0.0


def test_a_larger_delta_and_more_tries_prove_less():
    bounds = [epsilon_ruled_out(1000, 100, 95, delta, 0.05) for delta in (0.0, 1e-6, 1e-5, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)
    scores = np.concatenate([spread_evenly(2, 500), spread_evenly(0, 500)])
    included = np.repeat([True, False], 500)
    settled = epsilon_lower_bound(scores, included, 1e-5, (200,))
    shared = epsilon_lower_bound(scores, included, 1e-5, (200, 201, 202, 203))
    assert settled.epsilon > shared.epsilon > 0.0


def test_more_guesses_than_canaries_are_refused():
    with pytest.raises(SettingsError, match="with 3 canaries 0 to 3 allowed"):
        epsilon_lower_bound(np.zeros(3), np.ones(3, bool), 0.0, (4,))
