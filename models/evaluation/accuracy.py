"""Accuracy of a user's list: several relevant items, graded or not, one value per user.

i counts places from 1, rel_i is the grade at place i, R is the number of relevant items of the
user (grade > 0), ranked or missed. Every function returns (U,), and 0 for a user without a relevant
item, as trec_eval does; `lists.num_relevant() > 0` tells who has one.

    HR@k         1 if a relevant item is among the first k            trec: success_k
    precision@k  relevant among the first k / k                       trec: P_k
    recall@k     relevant among the first k / R                       trec: recall_k
    R-precision  relevant among the first R / R                       trec: Rprec
    nDCG@k       sum_{i<=k} gain(rel_i) / log2(i + 1), over its ideal trec: ndcg_cut_k, ndcg
    AP@k         sum_{i<=k, rel_i>0} precision@i / R                  trec: map_cut_k, map
    RR           1 / place of the first relevant item                 trec: recip_rank

Where items are tied under the rule "expected", each value is its mean over all their orders
(`models.evaluation.tied_order`).

Definitions: Järvelin and Kekäläinen, TOIS 2002 (linear gain); Burges et al., ICML 2005 (gain
2^rel - 1); Voorhees, TREC-8 1999 (reciprocal rank).
"""

from typing import Literal

import numpy as np

from models.evaluation.checks import FloatArray, IntArray
from models.evaluation.ranked_lists import RankedLists, places_within
from models.evaluation.ratios import ratio
from models.evaluation.tied_order import first_relevant_here, hits_up_to_here, is_relevant, no_hit

Gain = Literal["linear", "exponential"]
Ideal = Literal["relevant", "full-list"]
Divisor = Literal["relevant", "capped", "k"]


def hit_rate_at_k(lists: RankedLists, k: int) -> FloatArray:
    """HR@k: whether a relevant item is among the first k, (U,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> relevance = np.array([[0, 1, 0], [0, 0, 1]])
    >>> hit_rate_at_k(rank_scores(np.array([[3, 2, 1], [3, 2, 1]]), relevance), 2).tolist()
    [1.0, 0.0]

    Two tied items, one of them relevant: at k = 1 it is a hit in one of two orders.

    >>> hit_rate_at_k(rank_scores(np.array([[5, 5]]), np.array([[0, 1]])), 1).round(9).tolist()
    [0.5]
    """
    _check_k(k)
    sizes = lists.group_sizes()
    relevant = lists.group_sums(is_relevant(lists))
    within = np.clip(k - lists.places()[lists.group_starts], 0, sizes)
    missed = no_hit(sizes, relevant, within)
    hits = np.zeros(lists.num_users)
    np.maximum.at(hits, lists.users()[lists.group_starts], 1.0 - missed)
    return hits


def precision_at_k(lists: RankedLists, k: int) -> FloatArray:
    """Precision@k: relevant items among the first k, over k even where the list is shorter, (U,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 1]]), np.array([[1, 0, 1, 1]]))
    >>> precision_at_k(lists, 2).tolist(), precision_at_k(lists, 6).tolist()
    ([0.5], [0.5])
    """
    return _hits(lists, k) / k


def recall_at_k(lists: RankedLists, k: int, *, capped: bool = False) -> FloatArray:
    """Recall@k: relevant items among the first k, over all relevant items, (U,).

    Args:
        lists: judged lists.
        k: how many places count.
        capped: divide by min(k, R) instead, so that 1 can always be reached (Liang et al.,
            "Variational Autoencoders for Collaborative Filtering", WWW 2018).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 1]]), np.array([[1, 0, 1, 1]]))
    >>> recall_at_k(lists, 2).round(3).tolist(), recall_at_k(lists, 2, capped=True).tolist()
    ([0.333], [0.5])
    """
    relevant = lists.num_relevant()
    return ratio(_hits(lists, k), np.minimum(relevant, k) if capped else relevant, of_nothing=0.0)


def r_precision(lists: RankedLists) -> FloatArray:
    """R-precision: relevant items among the first R, over R, (U,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 1]]), np.array([[1, 0, 1, 1]]))
    >>> r_precision(lists).round(3).tolist()  # 2 of the first 3
    [0.667]
    """
    relevant = lists.num_relevant()
    inside = lists.places() < relevant[lists.users()]
    hits = lists.sum_by_user(np.where(inside, lists.expected(is_relevant(lists)), 0.0))
    return ratio(hits, relevant, of_nothing=0.0)


def dcg_at_k(lists: RankedLists, k: int | None = None, *, gain: Gain = "linear") -> FloatArray:
    """DCG@k: the sum of gain(rel_i) / log2(i + 1) over the first k places, (U,).

    Args:
        lists: judged lists.
        k: how many places count; None for all.
        gain: "linear" is rel, as in trec_eval; "exponential" is 2^rel - 1.

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 1]]), np.array([[0, 0, 2, 1]]))
    >>> dcg_at_k(lists, 3).tolist(), dcg_at_k(lists, 3, gain="exponential").tolist()
    ([1.0], [1.5])
    """
    gains = lists.expected(_gains(lists.relevance, gain))
    return lists.sum_by_user(_discounted(gains, lists.places(), k))


def ndcg_at_k(
    lists: RankedLists, k: int | None = None, *, gain: Gain = "linear", ideal: Ideal = "relevant"
) -> FloatArray:
    """nDCG@k: DCG@k over the DCG@k of the best list there could be, (U,).

    Args:
        lists: judged lists.
        k: how many places count; None for all (trec_eval's `ndcg`).
        gain: "linear" is rel, as in trec_eval; "exponential" is 2^rel - 1, as in much of learning
            to rank. With grades 0 and 1 they are the same.
        ideal: "relevant" fills the best list with the user's own relevant items, ranked or missed,
            as trec_eval does. "full-list" takes k items of grade 1, as RecTools does by default: a
            user with one relevant item then reaches 1 / 4.54 at k = 10 and no more.

    Raises:
        ValueError: if k < 1, or `ideal` is "full-list" without a k.

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[9, 5, 1]]), np.array([[0, 0, 1]]))
    >>> ndcg_at_k(lists, 10).tolist()  # at place 3: 1 / log2(4), and the best is 1 / log2(2)
    [0.5]
    >>> ndcg_at_k(lists, 10, ideal="full-list").round(3).tolist()  # 0.5 / 4.54
    [0.11]
    """
    found = dcg_at_k(lists, k, gain=gain)
    if ideal == "full-list":
        if k is None:
            raise ValueError('ideal="full-list" needs a k: the best list has k relevant items')
        return ratio(found, (1.0 / np.log2(np.arange(k) + 2.0)).sum(), of_nothing=0.0)
    places = places_within(lists.ideal_offsets)
    best = np.bincount(
        np.repeat(np.arange(lists.num_users), lists.num_relevant()),
        weights=_discounted(_gains(lists.ideal, gain), places, k),
        minlength=lists.num_users,
    )
    return ratio(found, best, of_nothing=0.0)


def average_precision(
    lists: RankedLists, k: int | None = None, *, divisor: Divisor = "relevant"
) -> FloatArray:
    """AP@k: precision at the place of each relevant item, added up over the first k, (U,).

    Its mean over users is MAP.

    Args:
        lists: judged lists.
        k: how many places count; None for all (trec_eval's `map`).
        divisor: "relevant" divides by R, as trec_eval and RecTools do; "capped" by min(k, R), as
            `implicit` and Kaggle's MAP@k do; "k" by k, as RecTools does with `divide_by_k`.

    Raises:
        ValueError: if k < 1, or the divisor needs a k and there is none.

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 1]]), np.array([[1, 0, 1, 1]]))
    >>> average_precision(lists, 3).round(4).tolist()  # (1/1 + 2/3) / 3
    [0.5556]
    >>> average_precision(lists, 2, divisor="capped").tolist()  # (1/1) / 2
    [0.5]
    """
    if k is None and divisor != "relevant":
        raise ValueError(f"divisor={divisor!r} needs a k")
    relevant = lists.num_relevant()
    divisors = {
        "relevant": relevant,
        "capped": np.minimum(relevant, k or 0),
        "k": np.full(lists.num_users, k or 0),
    }
    precisions = hits_up_to_here(lists) / (lists.places() + 1.0)
    added = lists.sum_by_user(_cut(precisions, lists.places(), k))
    return ratio(added, divisors[divisor], of_nothing=0.0)


def reciprocal_rank(lists: RankedLists, k: int | None = None) -> FloatArray:
    """RR@k: 1 / place of the first relevant item, 0 if it is not among the first k, (U,).

    Its mean over users is MRR. MIND's "MRR" is another thing: `mean_reciprocal_place`.

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[9, 5, 1]]), np.array([[0, 1, 1]]))
    >>> reciprocal_rank(lists).tolist(), reciprocal_rank(lists, 1).tolist()
    ([0.5], [0.0])

    Two tied items, one of them relevant: the mean of 1 and 1/2.

    >>> reciprocal_rank(rank_scores(np.array([[5, 5]]), np.array([[0, 1]]))).round(9).tolist()
    [0.75]
    """
    chances = first_relevant_here(lists) / (lists.places() + 1.0)
    return lists.sum_by_user(_cut(chances, lists.places(), k))


def mean_reciprocal_place(lists: RankedLists) -> FloatArray:
    """The mean of 1 / place over *all* relevant items: what MIND's evaluation calls MRR, (U,).

    sum_i [rel_i > 0] / i / R. With one relevant item it is the reciprocal rank, with more it is
    lower: 1 is out of reach.

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[9, 5, 1]]), np.array([[1, 1, 0]]))
    >>> mean_reciprocal_place(lists).tolist(), reciprocal_rank(lists).tolist()
    ([0.75], [1.0])
    """
    found = lists.expected(is_relevant(lists)) / (lists.places() + 1.0)
    return ratio(lists.sum_by_user(found), lists.num_relevant(), of_nothing=0.0)


def metrics_of_lists(
    lists: RankedLists, cutoffs: tuple[int, ...] = (5, 10)
) -> dict[str, FloatArray]:
    """The usual metrics of each user under names as papers print them, metric -> (U,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[9, 5, 1]]), np.array([[0, 0, 1]]))
    >>> found = metrics_of_lists(lists, (3,))
    >>> {name: float(value[0].round(3)) for name, value in found.items()}
    {'hr@3': 1.0, 'ndcg@3': 0.5, 'recall@3': 1.0, 'precision@3': 0.333, 'map': 0.333, 'mrr': 0.333}
    """
    found = {}
    for k in cutoffs:
        found[f"hr@{k}"] = hit_rate_at_k(lists, k)
        found[f"ndcg@{k}"] = ndcg_at_k(lists, k)
        found[f"recall@{k}"] = recall_at_k(lists, k)
        found[f"precision@{k}"] = precision_at_k(lists, k)
    return {**found, "map": average_precision(lists), "mrr": reciprocal_rank(lists)}


def _check_k(k: int | None) -> None:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _cut(values: FloatArray, places: IntArray, k: int | None) -> FloatArray:
    """Only the first k places, all of them when k is None."""
    _check_k(k)
    return values if k is None else np.where(places < k, values, 0.0)


def _hits(lists: RankedLists, k: int) -> FloatArray:
    """Relevant items among the first k, (U,)."""
    here = lists.expected(is_relevant(lists))
    return lists.sum_by_user(_cut(here, lists.places(), k))


def _gains(grades: FloatArray, gain: Gain) -> FloatArray:
    if gain not in ("linear", "exponential"):
        raise ValueError(f"gain={gain!r} is none: use linear or exponential")
    return grades if gain == "linear" else np.exp2(grades) - 1.0


def _discounted(gains: FloatArray, places: IntArray, k: int | None) -> FloatArray:
    return _cut(gains / np.log2(places + 2.0), places, k)
