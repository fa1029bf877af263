"""What a recommender shows to everybody together: how much of the catalogue, and how evenly.

These are no means over users. What adds up across devices is the number of times each item was
shown, a vector (N,): add the vectors of all devices, then ask.

    device 1 shows 0 1, device 2 shows 0 2        counts 2 1 1 0     coverage 3/4

The counts of one device are its list: only sums over devices should leave them.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, IntArray, check_items


def top_items(
    scores: NDArray[np.floating | np.integer], candidates: NDArray[np.bool_] | None, k: int
) -> IntArray:
    """The k best candidates of each user, best first, (U, K); `NO_ITEM` where there are fewer.

    A list that is shown needs one order: among equal scores the lower index comes first. That
    favours low indices where many scores are equal; a model that scores everything alike shows
    everybody items 0 .. k - 1.

    Raises:
        ValueError: if k < 1, or a candidate's score is NaN.

    >>> top_items(np.array([[0.1, 0.9, 0.5]]), np.array([[True, False, True]]), 3).tolist()
    [[2, 0, -1]]
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    compete = np.ones(scores.shape, dtype=np.bool_) if candidates is None else candidates
    kept = np.where(compete, scores.astype(np.float64), 0.0)
    if np.isnan(kept).any():
        raise ValueError(f"{int(np.isnan(kept).sum())} scores of candidates are NaN")
    best = np.lexsort((-kept, ~compete), axis=1)[:, :k]
    return np.where(np.take_along_axis(compete, best, axis=1), best, NO_ITEM)


def exposure_counts(items: NDArray[np.integer], num_items: int) -> IntArray:
    """How often each item was shown, (N,): what adds up across devices.

    Args:
        items: (U, K) recommended items, `NO_ITEM` where a list is shorter.
        num_items: N.

    >>> exposure_counts(np.array([[0, 1], [0, 2], [3, -1]]), 5).tolist()
    [2, 1, 1, 1, 0]
    """
    check_items(items, num_items)
    return np.bincount(items[items != NO_ITEM], minlength=num_items)


def catalogue_coverage(
    counts: NDArray[np.integer], eligible: NDArray[np.bool_] | None = None
) -> float:
    """The share of the catalogue that was shown to anybody at all.

    coverage = |union of all lists| / N: M. Ge, C. Delgado-Battenfeld, D. Jannach, "Beyond
    Accuracy", RecSys 2010. It rises with the number of users and with k: compare it only between
    arms of equal both.

    Args:
        counts: (N,) how often each item was shown.
        eligible: (N,) which items could have been shown; None for all.

    >>> catalogue_coverage(np.array([2, 1, 1, 0]))
    0.75
    """
    shown = counts > 0
    return float(shown.mean() if eligible is None else shown[eligible].mean())


def gini(counts: NDArray[np.integer | np.floating], *, corrected: bool = False) -> float:
    """Gini coefficient of exposure: 0 when all items are shown alike often.

    With the counts in ascending order c_1 .. c_N: sum_i (2 i - N - 1) c_i / (N sum_i c_i). One item
    alone gives 1 - 1 / N.

    Args:
        counts: (N,) how often each item was shown, items never shown included.
        corrected: divide by N - 1 in place of N, so that one item alone gives 1: the form in
            G. Shani, A. Gunawardana, "Evaluating Recommendation Systems", 2011.

    Returns:
        the coefficient; NaN when nothing was shown.

    >>> gini(np.array([5, 5, 5])), gini(np.array([0, 0, 6])).__round__(4)
    (0.0, 0.6667)
    >>> gini(np.array([0, 0, 6]), corrected=True)
    1.0
    """
    num_items, total = len(counts), float(counts.sum())
    if total == 0:
        return float("nan")
    rising = np.sort(counts).astype(np.float64)
    weights = 2.0 * np.arange(1, num_items + 1) - num_items - 1
    return float((weights * rising).sum() / (max(num_items - corrected, 1) * total))
