"""Calibration: does a list keep the proportions of the user's own interests?

Somebody who watched 70 % romance and 30 % action should see about that. p is the distribution of
categories in the history, q in the list [1]:

    C_KL = sum_c p_c ln(p_c / q~_c),   q~ = (1 - alpha) q + alpha p       equations 4 and 5 of [1]

0 is calibrated; the most is ln(1 / alpha), when the list shows nothing of what the user likes.

[1] H. Steck, "Calibrated Recommendations", RecSys 2018.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, FloatArray, check_items, checked_offsets
from models.evaluation.ratios import ratio


def category_shares(
    items: NDArray[np.integer], categories: NDArray[np.floating | np.integer | np.bool_]
) -> FloatArray:
    """The distribution of categories in each list, every item of equal weight, (U, C).

    Args:
        items: (U, K) recommended items, `NO_ITEM` where a list is shorter.
        categories: (N, C) which categories each item has; an item with two is half of each. Items
            without a category are left out.

    >>> genres = np.array([[1, 0], [0, 1], [1, 1]])
    >>> category_shares(np.array([[0, 1], [0, 2]]), genres).tolist()
    [[0.5, 0.5], [0.75, 0.25]]
    """
    check_items(items, len(categories))
    inside = items != NO_ITEM
    weights = _weights(categories)[np.where(inside, items, 0)] * inside[:, :, None]
    return _normalised(weights.sum(axis=1))


def history_categories(
    offsets: NDArray[np.integer],
    items: NDArray[np.integer],
    categories: NDArray[np.floating | np.integer | np.bool_],
) -> FloatArray:
    """The distribution of categories in each user's history, every event of equal weight, (U, C).

    Args:
        offsets: (U + 1,) user u owns events offsets[u] .. offsets[u + 1].
        items: (E,) item of each event.
        categories: (N, C) as in `category_shares`.

    >>> genres = np.array([[1, 0], [0, 1]])
    >>> history_categories(np.array([0, 4]), np.array([0, 0, 0, 1]), genres).tolist()
    [[0.75, 0.25]]
    """
    bounds = checked_offsets(offsets, len(items))
    weights = _weights(categories)[items]
    totals = np.zeros((len(bounds) - 1, weights.shape[1]))
    np.add.at(totals, np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)), weights)
    return _normalised(totals)


def calibration_kl(wanted: FloatArray, shown: FloatArray, *, alpha: float = 0.01) -> FloatArray:
    """Steck's C_KL in nats, (U,): 0 is calibrated; NaN where either side has no category.

    Args:
        wanted: (U, C) p, rows sum to 1: `history_categories`.
        shown: (U, C) q, rows sum to 1: `category_shares`.
        alpha: how much of p is mixed into q, so that a category that is not shown costs much but
            not infinitely much; 0.01 in the paper.

    Raises:
        ValueError: if alpha is not inside 0 .. 1.

    >>> half, one = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    >>> calibration_kl(half, half).tolist()
    [0.0]
    >>> calibration_kl(half, one).round(4).tolist()  # 0.5 ln(0.5/0.995) + 0.5 ln(0.5/0.005)
    [1.9585]
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, both excluded, got {alpha}")
    mixed = (1.0 - alpha) * shown + alpha * wanted
    known = wanted > 0  # a category that is not wanted costs nothing
    times = np.where(known, ratio(wanted, mixed, of_nothing=1.0), 1.0)
    found = (wanted * np.log(times)).sum(axis=1)
    return np.where((wanted.sum(axis=1) > 0) & (shown.sum(axis=1) > 0), found, np.nan)


def _weights(categories: NDArray[np.floating | np.integer | np.bool_]) -> FloatArray:
    return _normalised(categories.astype(np.float64))


def _normalised(rows: FloatArray) -> FloatArray:
    """Rows that sum to 1, or to 0 where there is nothing."""
    totals = rows.sum(axis=1, keepdims=True)
    return ratio(rows, totals, of_nothing=0.0)
