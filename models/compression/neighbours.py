"""How far two sets of vectors agree on who is near to whom.

An encoder is used to rank, so this is the figure that matters: of the k texts that one encoder puts
nearest to a text, the share that the other one puts there too.
"""

import numpy as np

_BLOCK_ROWS = 1024


def nearest(
    queries: np.ndarray, candidates: np.ndarray, k: int, *, same: bool = False
) -> np.ndarray:
    """Return the k nearest candidates of each query by inner product, ties by row number.

    Args:
        queries: (n, d) float32, rows of length 1.
        candidates: (m, d) float32, rows of length 1.
        k: how many, at most m, or m - 1 if `same`.
        same: queries and candidates are the same rows; a row is not its own neighbour.

    Returns:
        (n, k) int64.
    """
    blocks = []
    for start in range(0, len(queries), _BLOCK_ROWS):
        scores = queries[start : start + _BLOCK_ROWS] @ candidates.T
        if same:
            rows = np.arange(len(scores))
            scores[rows, start + rows] = -np.inf
        blocks.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    return np.concatenate(blocks)


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean share of neighbours that two tables have in common.

    Args:
        first: (n, k) int64, from `nearest`.
        second: (n, k) int64.

    >>> agreement(np.array([[1, 2], [0, 3]]), np.array([[2, 5], [3, 0]]))
    0.75
    """
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(shared) / first.shape[1])


def neighbour_agreement(first: np.ndarray, second: np.ndarray, k: int = 10) -> float:
    """Return how far two encoders agree on the k nearest neighbours among the same texts.

    Args:
        first: (n, d1) float32, rows of length 1; n >= 2.
        second: (n, d2) float32, the same texts by another encoder.
        k: neighbours; fewer if there are not so many other texts.
    """
    k = min(k, len(first) - 1)
    return agreement(nearest(first, first, k, same=True), nearest(second, second, k, same=True))
