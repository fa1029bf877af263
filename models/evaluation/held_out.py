"""Metrics of one held-out item per user.

With one held-out item per user, everything follows from one number: the item's *rank* among its
candidates, counted from 0. Ties count half, so a model that scores everything alike is ranked in
the middle and not first.

    scores      held-out 0.7 | others 0.9 0.7 0.1      rank = 1 (above) + 0.5 (tied) = 1.5
    HR@k        1 if rank < k, else 0
    nDCG@k      1 / log2(rank + 2) if rank < k, else 0     (ideal DCG is 1: one relevant item)
    MRR         1 / (rank + 1)
    AUC         1 - rank / number of negatives

Two protocols: *full* ranks against every item the user has not interacted with; *sampled* against
99 of them drawn at random. Sampled figures are high and can reverse the order of models [1]; they
are here because the literature prints them, and are always labelled.

[1] W. Krichene, S. Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020.
"""

import numpy as np
from numpy.typing import NDArray

METRICS = ("hr@5", "hr@10", "ndcg@5", "ndcg@10", "mrr", "auc")
PROTOCOLS = ("full", "sampled-99")

FloatArray = NDArray[np.float64]


def held_out_ranks(
    scores: NDArray[np.floating], held_out: NDArray[np.integer], candidates: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Rank each user's held-out item among its candidates, ties half.

    Args:
        scores: (U, N), higher is better.
        held_out: (U,) item index of each user's held-out item.
        candidates: (U, N) which items compete; the held-out item itself is never counted.

    Returns:
        ranks (U,) from 0, and the number of negatives (U,).

    Raises:
        ValueError: if a score is NaN, which would rank as if nothing was above it.

    >>> ranks, negatives = held_out_ranks(
    ...     np.array([[0.7, 0.9, 0.7, 0.1]]), np.array([0]), np.ones((1, 4), dtype=bool)
    ... )
    >>> float(ranks[0]), int(negatives[0])
    (1.5, 3)
    """
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN")
    rows = np.arange(len(held_out))
    rivals = candidates.copy()
    rivals[rows, held_out] = False
    own = scores[rows, held_out][:, None]
    above = ((scores > own) & rivals).sum(axis=1)
    tied = ((scores == own) & rivals).sum(axis=1)
    return above + 0.5 * tied, rivals.sum(axis=1)


def metrics_of_ranks(
    ranks: FloatArray, num_negatives: NDArray[np.integer]
) -> dict[str, FloatArray]:
    """Turn ranks into the metrics of each user.

    Args:
        ranks: (U,) rank of the held-out item, counted from 0, ties half.
        num_negatives: (U,) how many other candidates there were; with none AUC is 1.

    Returns:
        `METRICS` -> (U,).

    >>> one = metrics_of_ranks(np.array([2.0]), np.array([100]))
    >>> {name: round(float(value[0]), 3) for name, value in one.items()}
    {'hr@5': 1.0, 'hr@10': 1.0, 'ndcg@5': 0.5, 'ndcg@10': 0.5, 'mrr': 0.333, 'auc': 0.98}
    """
    gain = 1.0 / np.log2(ranks + 2.0)
    return {
        "hr@5": (ranks < 5).astype(np.float64),
        "hr@10": (ranks < 10).astype(np.float64),
        "ndcg@5": np.where(ranks < 5, gain, 0.0),
        "ndcg@10": np.where(ranks < 10, gain, 0.0),
        "mrr": 1.0 / (ranks + 1.0),
        "auc": 1.0 - ranks / np.maximum(num_negatives, 1),
    }
