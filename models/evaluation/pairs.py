"""AUC: how many pairs of a relevant and an irrelevant item stand in the right order.

    AUC   = (pairs in order + 1/2 pairs tied) / (relevant x irrelevant)     of one list
    GAUC  = sum_u w_u AUC_u / sum_u w_u,  w_u impressions of user u         of many [1], [2]

Only ranked items take part: AUC needs the whole list. A list without a relevant or without an
irrelevant item has none, which is NaN here and left out of GAUC. A single AUC over all users' items
together is another thing: it compares scores of different users, which no ranking does.

[1] H. Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017.
[2] G. Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, section 6.
"""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import FloatArray
from models.evaluation.ranked_lists import RankedLists
from models.evaluation.ratios import ratio
from models.evaluation.sums import WeightedSum


def auc(lists: RankedLists) -> FloatArray:
    """AUC of each list, ties half under the rule "expected"; NaN where it has no pairs, (U,).

    >>> from models.evaluation.ranked_lists import rank_scores
    >>> lists = rank_scores(np.array([[4, 3, 2, 2]]), np.array([[0, 1, 1, 0]]))
    >>> auc(lists).tolist()  # pairs 3>4 no, 3>2 yes, 2>4 no, 2=2 half: 1.5 of 4
    [0.375]
    """
    relevant = lists.group_sums((lists.relevance > 0).astype(np.float64))
    irrelevant = lists.group_sums((lists.relevance == 0).astype(np.float64))
    owner = lists.users()[lists.group_starts]

    def per_user(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(owner, weights=values, minlength=lists.num_users), float)

    positives, negatives = per_user(relevant), per_user(irrelevant)
    ends_of_lists = np.cumsum(negatives)[owner]
    below = ends_of_lists - np.cumsum(irrelevant)
    in_order = per_user(relevant * (below + 0.5 * irrelevant))
    pairs = positives * negatives
    return ratio(in_order, pairs, of_nothing=np.nan)


def group_auc(
    lists: RankedLists, weights: NDArray[np.floating | np.integer] | None = None
) -> WeightedSum:
    """GAUC before its division, so that devices add up; `.mean()` divides.

    Args:
        lists: one list per user.
        weights: (U,), e.g. impressions or clicks of each user; None takes the length of each list,
            the impressions.

    >>> from models.evaluation.ranked_lists import rank_ragged
    >>> offsets = np.array([0, 2, 6])
    >>> lists = rank_ragged(offsets, np.array([2, 1, 4, 3, 2, 1]), np.array([1, 0, 0, 1, 0, 0]))
    >>> group_auc(lists).mean().__round__(4)  # (2 x 1 + 4 x 2/3) / 6
    0.7778
    """
    return WeightedSum.of(auc(lists), lists.lengths() if weights is None else weights)
