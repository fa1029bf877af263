"""Metrics of lists with ties, in closed form: the mean over all orders of the tied items.

A group of n tied items begins after place s of its list and holds r relevant ones; j counts places
within the group from 1, m of them are within k.

    P(no relevant one within k)       C(n - r, m) / C(n, m)                                 HR
    P(first relevant one at s + j)    C(n - j, r - 1) / C(n, r)                             RR
    E[rel x hits up to there]         r/n (1 + hits before s + (j - 1) (r - 1) / (n - 1))   AP

after F. McSherry, M. Najork, "Computing Information Retrieval Performance Measures Efficiently in
the Presence of Tied Scores", ECIR 2008. Without ties every group has n = 1, and the formulas are
the plain ones, to the bit. A test holds them to the mean over all orders written out.
"""

import numpy as np
from scipy.special import gammaln

from models.evaluation.checks import FloatArray, IntArray
from models.evaluation.ranked_lists import RankedLists, places_within


def is_relevant(lists: RankedLists) -> FloatArray:
    """1 where the grade of an entry is above 0, else 0, (E,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> is_relevant(rank_scores(np.array([[3, 2]]), np.array([[0, 4]]))).tolist()
    [0.0, 1.0]
    """
    return (lists.relevance > 0).astype(np.float64)


def no_hit(sizes: IntArray, relevant: FloatArray, within: IntArray) -> FloatArray:
    """P(none of m places of a group holds a relevant item): C(n - r, m) / C(n, m), (G,).

    Args:
        sizes: (G,) n.
        relevant: (G,) r.
        within: (G,) m.

    >>> no_hit(np.array([4]), np.array([1.0]), np.array([3])).round(9).tolist()  # 1 of 4 is left
    [0.25]
    """
    n, m = sizes.astype(np.float64), within.astype(np.float64)
    possible = m <= n - relevant
    others = np.where(possible, n - relevant, m)  # any legal number where the chance is 0
    return np.where(possible, np.exp(_log_choose(others, m) - _log_choose(n, m)), 0.0)


def hits_up_to_here(lists: RankedLists) -> FloatArray:
    """E[rel_i x relevant items up to place i, i included], (E,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> hits_up_to_here(rank_scores(np.array([[3, 2, 1]]), np.array([[1, 0, 1]]))).tolist()
    [1.0, 0.0, 2.0]
    """
    sizes, relevant = lists.group_sizes(), lists.group_sums(is_relevant(lists))
    before = np.cumsum(relevant) - relevant  # over all lists; taken off below
    owners = lists.users()[lists.group_starts]
    first = np.ones(len(owners), dtype=np.bool_)
    first[1:] = owners[1:] != owners[:-1]
    of_list = np.repeat(before[first], np.diff(np.append(np.flatnonzero(first), len(owners))))
    inside = np.arange(len(lists.relevance)) - np.repeat(lists.group_starts, sizes)
    chance = np.repeat(relevant / sizes, sizes)
    others = np.repeat((relevant - 1.0) / np.maximum(sizes - 1, 1), sizes)
    return chance * (1.0 + np.repeat(before - of_list, sizes) + inside * others)


def first_relevant_here(lists: RankedLists) -> FloatArray:
    """P(the first relevant item of its list stands at this place), (E,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> tied = rank_scores(np.array([[9, 5, 5]]), np.array([[0, 1, 0]]))
    >>> first_relevant_here(tied).round(9).tolist()
    [0.0, 0.5, 0.5]
    """
    chances = np.zeros(len(lists.relevance))
    sizes, relevant = lists.group_sizes(), lists.group_sums(is_relevant(lists))
    with_one = np.flatnonzero(relevant > 0)
    owners = lists.users()[lists.group_starts[with_one]]
    _, first = np.unique(owners, return_index=True)
    groups = with_one[first]  # the first group of each list that holds a relevant item
    widths = sizes[groups]
    bounds = np.concatenate([[0], np.cumsum(widths)])
    inside = places_within(bounds).astype(np.float64)
    n = np.repeat(widths, widths).astype(np.float64)
    r = np.repeat(relevant[groups], widths)
    possible = n - 1.0 - inside >= r - 1.0
    left = np.where(possible, n - 1.0 - inside, r - 1.0)
    chance = np.where(possible, np.exp(_log_choose(left, r - 1.0) - _log_choose(n, r)), 0.0)
    chances[np.repeat(lists.group_starts[groups], widths) + inside.astype(np.int64)] = chance
    return chances


def _log_choose(n: FloatArray, r: FloatArray) -> FloatArray:
    return np.asarray(gammaln(n + 1.0) - gammaln(r + 1.0) - gammaln(n - r + 1.0))
