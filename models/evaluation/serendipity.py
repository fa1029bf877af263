"""Serendipity: what is useful and was not to be expected.

Expected is what a primitive recommender shows, here as a rule the most popular unseen items; useful
is what the user chose (a held-out item). The definition is that of Ge et al. [1]: of the items that
the primitive recommender does not show, UNEXP = list - primitive, count the useful ones. They
divide by |UNEXP|; surveys that follow them divide by the length of the list [2], so that the figure
is at most precision@k. Both are here.

[1] M. Ge, C. Delgado-Battenfeld, D. Jannach, "Beyond Accuracy: Evaluating Recommender Systems by
    Coverage and Serendipity", RecSys 2010.
[2] D. Kotkov, S. Wang, J. Veijalainen, "A survey of serendipity in recommender systems",
    Knowledge-Based Systems 2016.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, FloatArray, check_items
from models.evaluation.ratios import ratio


def serendipity(
    items: NDArray[np.integer],
    expected: NDArray[np.integer],
    relevance: NDArray[np.floating | np.integer | np.bool_],
    *,
    per: Literal["list", "unexpected"] = "list",
) -> FloatArray:
    """The share of a list that is relevant and not in the primitive recommender's list, (U,).

    Args:
        items: (U, K) recommended items, `NO_ITEM` where a list is shorter.
        expected: (U, L) what the primitive recommender shows the same users.
        relevance: (U, N) grades; above 0 is useful.
        per: "list" divides by the items of the list [2], "unexpected" by the unexpected ones [1].

    Returns:
        (U,) 0 where there is nothing to divide by.

    >>> shown, popular = np.array([[0, 1, 2, 3]]), np.array([[0, 1]])
    >>> liked = np.array([[1, 0, 1, 0, 0]])
    >>> serendipity(shown, popular, liked).tolist()  # item 2, of 4 shown
    [0.25]
    >>> serendipity(shown, popular, liked, per="unexpected").tolist()  # item 2, of 2 and 3
    [0.5]
    """
    num_items = relevance.shape[1]
    check_items(items, num_items)
    check_items(expected, num_items)
    inside = items != NO_ITEM
    rows = np.arange(len(items))[:, None]
    foreseen = np.zeros((len(items), num_items + 1), dtype=np.bool_)
    foreseen[rows, np.where(expected != NO_ITEM, expected, num_items)] = True
    places = np.where(inside, items, num_items)
    unexpected = inside & ~foreseen[rows, places]
    useful = relevance[rows, np.where(inside, items, 0)] > 0
    counted = inside if per == "list" else unexpected
    return ratio((unexpected & useful).sum(axis=1), counted.sum(axis=1), of_nothing=0.0)
