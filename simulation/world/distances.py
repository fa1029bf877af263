"""How far two samples of people are apart: pure functions of counts and lists of numbers."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.integer] | NDArray[np.floating]
"""Counts, or what counts have become."""


def kolmogorov_smirnov(first: Numbers, second: Numbers) -> float:
    """The largest difference of two cumulative distributions, from 0 (the same) to 1.

    Args:
        first: (n,) numbers, n >= 1.
        second: (m,) numbers, m >= 1.

    >>> kolmogorov_smirnov(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6]))
    0.5
    """
    places = np.concatenate([first, second])
    return float(np.abs(at_most(first, places) - at_most(second, places)).max())


def at_most(values: Numbers, places: Numbers) -> NDArray[np.float64]:
    """The share of the values that are at most each place: their cumulative distribution."""
    return np.searchsorted(np.sort(values), places, side="right") / len(values)


def total_variation(first: Numbers, second: Numbers) -> float:
    """The share of one distribution that has to move to give the other, from 0 to 1.

    Args:
        first: (n,) counts or chances, not negative; divided by their sum.
        second: (n,) likewise.

    >>> total_variation(np.array([2, 2, 0]), np.array([1, 2, 1]))
    0.25
    """
    return float(np.abs(shares(first) - shares(second)).sum() / 2)


def shares(counts: Numbers) -> NDArray[np.float64]:
    """Counts divided by their sum; all 0 where there is nothing to count."""
    return np.asarray(counts / max(float(counts.sum()), 1e-300))


def gini(counts: Numbers) -> float:
    """How unequal counts are: 0 where all are equal, near 1 where one has everything.

    >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 1]))
    (0.0, 0.75)
    """
    ordered = np.sort(shares(counts))
    below = 2 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float((below * ordered).sum() / len(ordered))


def entropies_bits(counts: Numbers) -> NDArray[np.float64]:
    """The entropy of each row of counts (U, C), in bits; 0 for a row without any.

    >>> entropies_bits(np.array([[4, 4, 0], [7, 0, 0]])).tolist()
    [1.0, 0.0]
    """
    chances = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    logarithms = np.log2(chances, out=np.zeros(chances.shape), where=chances > 0)
    return np.asarray(-(chances * logarithms).sum(axis=1) + 0.0)


def log_lifts(pairs: Numbers, num_users: int) -> NDArray[np.float64]:
    """How much more often than by chance two items are with one user, as a logarithm.

        log((n_ij + 1) / (n_i n_j / U + 1))    for i < j, one pair after another

    One is added to both counts, so a pair that hardly anybody could have says little.

    Args:
        pairs: (T, T) users who have both items; the diagonal holds who has the one.
        num_users: U.
    """
    first, second = np.triu_indices(len(pairs), k=1)
    alone = np.diag(pairs)
    expected = alone[first] * alone[second] / num_users
    return np.asarray(np.log((pairs[first, second] + 1.0) / (expected + 1.0)))
