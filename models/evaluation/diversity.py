"""Intra-list diversity: how little the items of one list resemble each other, by their texts.

    ILD = 1 - mean over the pairs i < j of one list of cos(v_i, v_j)

C.-N. Ziegler et al., "Improving Recommendation Lists Through Topic Diversification", WWW 2005 (as
similarity); S. Vargas, P. Castells, RecSys 2011 (as distance). The pairs are never written out: for
unit vectors the sum over ordered pairs i /= j of cos is |sum v|^2 - n.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, FloatArray, check_items
from models.evaluation.ratios import ratio


def intra_list_diversity(items: NDArray[np.integer], vectors: NDArray[np.floating]) -> FloatArray:
    """1 - mean cosine over the pairs of each list, (U,); NaN for fewer than two items.

    Its size depends on the vectors: text vectors that were not centred on the catalogue have
    cosines near 1 everywhere, and every list looks alike. Compare arms on the same vectors.

    Args:
        items: (U, K) recommended items, `NO_ITEM` where a list is shorter.
        vectors: (N, d) one vector per item, of any length; a zero vector (an empty text) resembles
            nothing, its cosines are 0.

    >>> vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    >>> lists = np.array([[0, 1, -1], [0, 2, -1], [0, 1, 2]])
    >>> intra_list_diversity(lists, vectors).round(4).tolist()  # cosines 1 | 0 | 1, 0, 0
    [0.0, 1.0, 0.6667]
    """
    check_items(items, len(vectors))
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = ratio(wide, lengths, of_nothing=0.0)
    inside = items != NO_ITEM
    shown = unit[np.where(inside, items, 0)] * inside[:, :, None]  # (U, K, d)
    together = (shown.sum(axis=1) ** 2).sum(axis=1) - (shown**2).sum(axis=(1, 2))
    count = inside.sum(axis=1)
    pairs = count * (count - 1)
    return 1.0 - ratio(together, pairs, of_nothing=np.nan)
