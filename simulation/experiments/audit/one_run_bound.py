"""A lower bound on epsilon from one run with many canaries.

m canaries are in the data or not, each by the toss of a coin. The auditor looks at the outcome,
guesses for some canaries "in" or "out", and abstains for the others. Under (epsilon, delta)
differential privacy the number of correct ones among r guesses is hardly larger than that of a
coin with chance q = e^eps / (1 + e^eps)  [1, theorem 5.2]:

    P(correct >= v)  <=  beta + 2 m delta alpha
    beta  = P(Binomial(r, q) >= v)
    alpha = max over i = 1 .. v of  P(v > Binomial(r, q) >= v - i) / i

The largest epsilon that this rules out at the wanted confidence is the bound. How many guesses to
make is settled before the scores are seen, or the confidence is shared among the numbers tried.

Formal guarantee: for a mechanism that is (epsilon, delta) private the bound is above epsilon with a
chance of at most 1 - confidence. A bound below the accounted epsilon proves nothing; one above it
proves a fault.

[1] T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from models.errors import SettingsError

Sides = Literal["in", "both"]
"""Guess "in" for the highest scores alone, or also "out" for as many of the lowest."""

TOLERANCE = 1e-6


def p_value(
    num_canaries: int, num_guesses: int, num_correct: int, epsilon: float, delta: float
) -> float:
    """The chance, at most, of so many correct guesses under (epsilon, delta) privacy [1].

    >>> p_value(num_canaries=10, num_guesses=2, num_correct=2, epsilon=0.0, delta=0.0)
    0.25
    """
    chance = float(expit(epsilon))
    beta = float(binom.sf(num_correct - 1, num_guesses, chance))
    if delta == 0.0 or num_correct == 0:
        return beta
    steps = np.arange(1, num_correct + 1)
    between = binom.sf(num_correct - steps - 1, num_guesses, chance) - beta
    alpha = float(np.max(between / steps))
    return min(1.0, beta + 2.0 * num_canaries * delta * alpha)


def epsilon_ruled_out(
    num_canaries: int,
    num_guesses: int,
    num_correct: int,
    delta: float,
    significance: float,
    at_least: float = 0.0,
) -> float:
    """The largest epsilon under which so many correct guesses are too unlikely.

    Args:
        num_canaries: m.
        num_guesses: r.
        num_correct: v.
        delta: of the claim.
        significance: what counts as too unlikely.
        at_least: where the search begins; returned if not even that is ruled out.
    """

    def excess(epsilon: float) -> float:
        return significance - p_value(num_canaries, num_guesses, num_correct, epsilon, delta)

    if excess(at_least) <= 0.0:
        return at_least
    low, high = at_least, max(1.0, 2.0 * at_least)
    while excess(high) > 0.0:
        low, high = high, 2.0 * high
    return float(brentq(excess, low, high, xtol=TOLERANCE))


@dataclass(frozen=True, slots=True)
class OneRunBound:
    """What an audit proves.

    Attributes:
        epsilon: the lower bound, 0 when nothing was proved.
        num_guesses: behind it.
        num_correct: of these.
    """

    epsilon: float
    num_guesses: int
    num_correct: int


def epsilon_lower_bound(
    scores: NDArray[np.floating],
    included: NDArray[np.bool_],
    delta: float,
    guesses: Sequence[int],
    *,
    sides: Sides = "both",
    confidence: float = 0.95,
) -> OneRunBound:
    """Audit one run.

    Args:
        scores: (m,) of the canaries, higher for those that are likelier in.
        included: (m,) which of them were in: independent tosses of a fair coin.
        delta: of the claim that is tested; much below 1 / m, or nothing can be proved.
        guesses: how many guesses to make, settled before the scores were seen; with several, each
            is tried at its share of 1 - confidence and the best bound counts.
        sides: whom to guess about.
        confidence: of the bound.

    Raises:
        SettingsError: if there are more guesses than canaries, or none.
    """
    m = len(scores)
    if not guesses or not all(0 <= count <= m for count in guesses):
        raise SettingsError(f"guesses are {list(guesses)[:10]}, with {m} canaries 0 to {m} allowed")
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([[0], np.cumsum(included[order])])
    misses = np.concatenate([[0], np.cumsum(~included[order][::-1])])
    significance = (1.0 - confidence) / len(guesses)
    tried = []
    for count in guesses:
        low = count // 2 if sides == "both" else 0
        tried.append((count, int(hits[count - low] + misses[low])))
    best = OneRunBound(0.0, 0, 0)
    # The most promising first: later ones are then mostly ruled out by one look.
    for count, correct in sorted(tried, key=lambda each: -_promise(*each)):
        if count == 0 or correct / count <= expit(best.epsilon):
            continue
        found = epsilon_ruled_out(m, count, correct, delta, significance, best.epsilon)
        if found > best.epsilon:
            best = OneRunBound(found, count, correct)
    return best


def _promise(count: int, correct: int) -> float:
    """A lower bound of the chance of a correct guess: Wald's, for an order of trial only."""
    if count == 0:
        return 0.0
    share = correct / count
    return share - float(np.sqrt((share * (1.0 - share) + 1.0 / count) / count))
