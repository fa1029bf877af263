"""News impressions in the protocol of MIND: each impression is one list, and counts alike.

    impression   shown N1 N2 N3 N4   clicked N2 N3   scores 0.3 0.9 0.1 0.5
    places       N2 first, N4, N1, N3 fourth
    AUC          2 of 4 pairs in order               1/2
    MRR          (1/1 + 1/4) / 2                     5/8: over all clicks, not the first alone
    nDCG@k       gain 2^rel - 1, the best list cut at k too

The mean is over impressions, not over users [1]; the formulas are those of the evaluation script
that its authors published, and a test holds ours to them. An impression without a click, or in
which everything was clicked, has no AUC: it is left out of all four, and counted.

[1] F. Wu et al., "MIND: A Large-scale Dataset for News Recommendation", ACL 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.accuracy import mean_reciprocal_place, ndcg_at_k
from models.evaluation.checks import FloatArray
from models.evaluation.pairs import auc
from models.evaluation.ranked_lists import TieRule, rank_ragged
from models.evaluation.sums import MetricSums

IMPRESSION_METRICS = ("auc", "mrr", "ndcg@5", "ndcg@10")


@dataclass(frozen=True, slots=True)
class ImpressionValues:
    """The metrics of impressions, one by one.

    Attributes:
        values: `IMPRESSION_METRICS` -> (M,), of the judged impressions alone.
        judged: (I,) which impressions those are: some item clicked and some not.

    >>> one = ImpressionValues({"auc": np.array([0.5])}, np.array([True, False]))
    >>> one.num_left_out, one.sums().means()
    (1, {'auc': 0.5})
    """

    values: Mapping[str, FloatArray]
    judged: NDArray[np.bool_]

    @property
    def num_left_out(self) -> int:
        """Impressions without a click, or with nothing but clicks."""
        return int((~self.judged).sum())

    def sums(self) -> MetricSums:
        """Sums over the judged impressions; `num_users` then counts impressions."""
        return MetricSums.of(self.values)


def impression_metrics(
    offsets: NDArray[np.integer],
    scores: NDArray[np.floating],
    clicked: NDArray[np.bool_ | np.integer],
    *,
    ties: TieRule = "expected",
) -> ImpressionValues:
    """AUC, MRR, nDCG@5 and nDCG@10 of each impression, as MIND defines them.

    Args:
        offsets: (I + 1,) impression i shows entries offsets[i] .. offsets[i + 1].
        scores: (E,) higher is better.
        clicked: (E,) whether each item shown was clicked.
        ties: the rule for equal scores. MIND's script reads ranks, in which there are none.

    >>> found = impression_metrics(
    ...     np.array([0, 4, 5]), np.array([0.3, 0.9, 0.1, 0.5, 1.0]), np.array([0, 1, 1, 0, 1])
    ... )
    >>> {name: value.round(3).tolist() for name, value in found.values.items()}
    {'auc': [0.5], 'mrr': [0.625], 'ndcg@5': [0.877], 'ndcg@10': [0.877]}
    >>> found.num_left_out
    1
    """
    lists = rank_ragged(offsets, scores, np.asarray(clicked, dtype=np.bool_), ties=ties)
    pairs = auc(lists)
    judged = ~np.isnan(pairs)
    values = {
        "auc": pairs,
        "mrr": mean_reciprocal_place(lists),
        "ndcg@5": ndcg_at_k(lists, 5, gain="exponential"),
        "ndcg@10": ndcg_at_k(lists, 10, gain="exponential"),
    }
    return ImpressionValues({name: value[judged] for name, value in values.items()}, judged)
