"""Novelty and popularity bias: how well known the recommended items are.

Popularity is counted on training events only: a vector (N,) of how many users chose each item.
Counts of devices add up; so do the per-user values below.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, FloatArray, check_items, checked_offsets
from models.evaluation.ratios import ratio
from models.evaluation.sums import WeightedSum


def novelty(
    items: NDArray[np.integer], popularity: NDArray[np.integer], num_users: int
) -> FloatArray:
    """Mean self-information of a list in bits: -log2(popularity_i / U), (U,); NaN when empty.

    T. Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS
    2010. An item that nobody chose counts as chosen once: log2(U) bits, as in RecTools. Some
    libraries take popularity / *events*, which adds a constant to every figure.

    Args:
        items: (U, K) recommended items, `NO_ITEM` where a list is shorter.
        popularity: (N,) how many of `num_users` users chose each item in training.
        num_users: how many users popularity was counted on.

    >>> novelty(np.array([[0, 1], [0, 2]]), np.array([4, 2, 0]), 4).tolist()
    [0.5, 1.0]
    """
    if (popularity > num_users).any():
        raise ValueError(
            f"an item was chosen by {int(popularity.max())} users of {num_users}: count each user "
            "once"
        )
    bits = -np.log2(np.maximum(popularity, 1) / num_users)
    return _list_means(items, bits)


def recommendation_popularity(
    items: NDArray[np.integer], popularity: NDArray[np.integer | np.floating]
) -> FloatArray:
    """Average popularity of a recommended list (ARP), (U,); NaN when it is empty.

    H. Yin et al., "Challenging the Long Tail Recommendation", VLDB 2012. In the unit of
    `popularity`: give shares to compare catalogues of different sizes.

    >>> recommendation_popularity(np.array([[0, 1], [2, -1]]), np.array([4, 2, 1])).tolist()
    [3.0, 1.0]
    """
    return _list_means(items, np.asarray(popularity, dtype=np.float64))


def history_popularity(
    offsets: NDArray[np.integer],
    items: NDArray[np.integer],
    popularity: NDArray[np.integer | np.floating],
) -> FloatArray:
    """Average popularity of what each user chose in training, (U,); NaN for an empty history.

    Args:
        offsets: (U + 1,) user u owns events offsets[u] .. offsets[u + 1].
        items: (E,) item of each event.
        popularity: (N,).

    >>> history_popularity(np.array([0, 2, 3]), np.array([1, 2, 0]), np.array([4, 2, 1])).tolist()
    [1.5, 4.0]
    """
    bounds = checked_offsets(offsets, len(items))
    lengths = np.diff(bounds)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    totals = np.bincount(owner, weights=popularity[items], minlength=len(lengths))
    return ratio(totals, lengths, of_nothing=np.nan)


def popularity_lift(of_lists: FloatArray, of_histories: FloatArray) -> WeightedSum:
    """Popularity lift before its division: how much more popular lists are than histories.

    lift = (GAP_lists - GAP_histories) / GAP_histories, where GAP is the mean over users of the
    average popularity: H. Abdollahpouri et al., "The Connection Between Popularity Bias,
    Calibration, and Fairness in Recommendation", RecSys 2020. 0 is no bias, 1 is twice as popular.
    Users without a list or without a history are left out.

    Args:
        of_lists: (U,) `recommendation_popularity`.
        of_histories: (U,) `history_popularity`.

    >>> popularity_lift(np.array([3.0, 3.0]), np.array([1.0, 2.0])).mean()  # 3 beside 1.5
    1.0
    """
    known = ~np.isnan(of_lists) & ~np.isnan(of_histories)
    lists, histories = float(of_lists[known].sum()), float(of_histories[known].sum())
    return WeightedSum(lists - histories, histories)


def _list_means(items: NDArray[np.integer], values: FloatArray) -> FloatArray:
    """Mean of a value per item over each list, NaN when it is empty, (U,)."""
    check_items(items, len(values))
    inside = items != NO_ITEM
    totals = np.where(inside, values[np.where(inside, items, 0)], 0.0).sum(axis=1)
    lengths = inside.sum(axis=1)
    return ratio(totals, lengths, of_nothing=np.nan)
