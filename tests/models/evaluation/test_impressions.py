"""MIND's protocol against the formulas of its published evaluation script, written anew."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.metrics import IMPRESSION_METRICS, MetricSums, impression_metrics


def as_published(scores, labels):
    """AUC, MRR, nDCG@5, nDCG@10 of one impression, one array operation after another."""
    best_first = labels[np.argsort(scores)[::-1]]

    def dcg(sorted_labels, k):
        top = sorted_labels[:k]
        return ((2.0**top - 1) / np.log2(np.arange(len(top)) + 2)).sum()

    def ndcg(k):
        return dcg(best_first, k) / dcg(np.sort(labels)[::-1], k)

    mrr = (best_first / (np.arange(len(labels)) + 1)).sum() / labels.sum()
    return roc_auc_score(labels, scores), mrr, ndcg(5), ndcg(10)


@settings(max_examples=60)
@given(data=st.data(), lengths=st.lists(st.integers(0, 14), min_size=1, max_size=5))
def test_impressions_are_measured_as_mind_publishes_it(data, lengths):
    shown = sum(lengths)
    scores = np.array(data.draw(st.permutations(range(shown))), float)  # ranks: no ties
    clicked = np.array(data.draw(st.lists(st.booleans(), min_size=shown, max_size=shown)), int)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = impression_metrics(offsets, scores, clicked)
    parts = [slice(a, b) for a, b in itertools.pairwise(offsets)]
    judged = [part for part in parts if 0 < clicked[part].sum() < part.stop - part.start]
    truth = np.array([as_published(scores[part], clicked[part]) for part in judged]).reshape(-1, 4)
    for column, name in enumerate(IMPRESSION_METRICS):
        np.testing.assert_allclose(found.values[name], truth[:, column], atol=1e-12)
    assert found.num_left_out == len(parts) - len(judged)
    assert found.sums().num_users == len(judged)


def test_the_mean_is_over_impressions_and_adds_up():
    """A user with two impressions counts twice, on one device or on two."""
    first = impression_metrics(np.array([0, 2, 4]), np.array([2, 1, 1, 2]), np.array([1, 0, 1, 0]))
    other = impression_metrics(np.array([0, 3]), np.array([3, 2, 1]), np.array([0, 1, 0]))
    total = first.sums() + other.sums()
    assert total.means()["auc"] == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert total.means()["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_mind_calls_mrr_what_is_a_mean_over_all_clicks():
    found = impression_metrics(np.array([0, 3]), np.array([3, 2, 1]), np.array([1, 1, 0]))
    assert found.values["mrr"].tolist() == [0.75]


def test_an_undefined_metric_is_not_added_up():
    with pytest.raises(ValueError, match=r"auc is undefined \(NaN\) for 1 of 2 users"):
        MetricSums.of({"auc": np.array([0.5, np.nan])})
