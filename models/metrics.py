"""All metrics by one door: `from models.metrics import ndcg_at_k`.

    scores (U, N) -> rank_scores -> RankedLists -> ndcg_at_k, recall_at_k, auc ..  one value a user
    scores (U, N) -> top_items   -> lists (U, K) -> coverage, novelty, diversity ..
    offsets, scores, clicked     -> impression_metrics                     MIND's own protocol
    one held-out item            -> held_out_ranks -> metrics_of_ranks     what a phone computes

The files behind the door are in `models/evaluation/`, one idea each; docs/metrics.md has every
definition with its formula, source and options, and says which libraries differ.
"""

from models.evaluation.accuracy import (
    average_precision,
    dcg_at_k,
    hit_rate_at_k,
    mean_reciprocal_place,
    metrics_of_lists,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)
from models.evaluation.calibration import calibration_kl, category_shares, history_categories
from models.evaluation.checks import NO_ITEM
from models.evaluation.diversity import intra_list_diversity
from models.evaluation.exposure import (
    catalogue_coverage,
    exposure_counts,
    gini,
    top_items,
)
from models.evaluation.held_out import (
    METRICS,
    PROTOCOLS,
    FloatArray,
    held_out_ranks,
    metrics_of_ranks,
)
from models.evaluation.impressions import IMPRESSION_METRICS, ImpressionValues, impression_metrics
from models.evaluation.pairs import auc, group_auc
from models.evaluation.popularity import (
    history_popularity,
    novelty,
    popularity_lift,
    recommendation_popularity,
)
from models.evaluation.ranked_lists import (
    TIE_RULES,
    RankedLists,
    TieRule,
    judge_items,
    rank_ragged,
    rank_scores,
)
from models.evaluation.serendipity import serendipity
from models.evaluation.sums import MetricSums, WeightedSum

__all__ = [
    "IMPRESSION_METRICS",
    "METRICS",
    "NO_ITEM",
    "PROTOCOLS",
    "TIE_RULES",
    "FloatArray",
    "ImpressionValues",
    "MetricSums",
    "RankedLists",
    "TieRule",
    "WeightedSum",
    "auc",
    "average_precision",
    "calibration_kl",
    "catalogue_coverage",
    "category_shares",
    "dcg_at_k",
    "exposure_counts",
    "gini",
    "group_auc",
    "held_out_ranks",
    "history_categories",
    "history_popularity",
    "hit_rate_at_k",
    "impression_metrics",
    "intra_list_diversity",
    "judge_items",
    "mean_reciprocal_place",
    "metrics_of_lists",
    "metrics_of_ranks",
    "ndcg_at_k",
    "novelty",
    "popularity_lift",
    "precision_at_k",
    "r_precision",
    "rank_ragged",
    "rank_scores",
    "recall_at_k",
    "reciprocal_rank",
    "recommendation_popularity",
    "serendipity",
    "top_items",
]
