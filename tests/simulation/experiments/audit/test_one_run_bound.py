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


@pytest.mark.parametrize(
    ("shift", "published"), [(0, 0.0), (1, 1.13346), (2, 2.311945), (4, 4.395568)]
)
def test_bounds_are_those_of_jax_privacy(shift: float, published: float):
    """The values of its test: 10,000 a side, all thresholds, delta 1e-6, confidence 95 %."""
    inside, outside = spread_evenly(shift, EVEN_SPACES), spread_evenly(0, EVEN_SPACES)
    included = np.repeat([True, False], EVEN_SPACES)
    every = range(2 * EVEN_SPACES + 1)
    scores = np.concatenate([inside, outside])
    if shift == 0:  # ties: an order that favours nobody
        order = np.arange(2 * EVEN_SPACES).reshape(2, -1).T.ravel()
        scores, included = scores[order], included[order]
    found = epsilon_lower_bound(scores, included, 1e-6, every, sides="in")
    assert found.epsilon == pytest.approx(published, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("noise", "published"), [(1.0, 1.30), (0.5065, 2.49)])
def test_an_ideal_gaussian_run_gives_the_figures_of_the_design(noise: float, published: float):
    """1000 canaries, delta 1e-5, epsilon 4.38 and 10: `privacy.md`, measured with jax-privacy."""
    scores = np.concatenate([spread_evenly(1 / noise, 500), spread_evenly(0, 500)])
    included = np.repeat([True, False], 500)
    found = epsilon_lower_bound(scores, included, 1e-5, range(1001), sides="in")
    assert found.epsilon == pytest.approx(published, abs=0.25)


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
