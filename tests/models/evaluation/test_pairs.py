import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.metrics import WeightedSum, auc, group_auc, rank_ragged

LISTS = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=9), min_size=1, max_size=6
)


def ragged(lists):
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])])
    flat = np.array([entry for each in lists for entry in each], dtype=float).reshape(-1, 2)
    return rank_ragged(offsets, flat[:, 0], flat[:, 1])


@settings(max_examples=60)
@given(lists=LISTS)
def test_auc_agrees_with_scikit_learn_ties_included(lists):
    found = auc(ragged(lists))
    for entries, value in zip(lists, found, strict=True):
        labels = [relevant for _, relevant in entries]
        if len(set(labels)) < 2:
            assert np.isnan(value)
        else:
            truth = roc_auc_score(labels, [score for score, _ in entries])
            assert value == pytest.approx(truth, abs=1e-12)


@settings(max_examples=60)
@given(lists=LISTS, cut=st.integers(0, 6))
def test_gauc_is_the_same_however_users_are_divided(lists, cut):
    whole = group_auc(ragged(lists))
    parts = [group_auc(ragged(part)) for part in (lists[:cut], lists[cut:]) if part]
    total = sum(parts, WeightedSum(0.0, 0.0))
    assert total.mean() == pytest.approx(whole.mean(), nan_ok=True)
    assert total.weight == whole.weight


def test_gauc_weighs_users_and_leaves_out_those_without_pairs():
    lists = ragged([[(2, True), (1, False)], [(1, True), (2, False)], [(1, True)]])
    assert group_auc(lists).mean() == 0.5
    assert group_auc(lists, np.array([3, 1, 9])).mean() == 0.75
    assert np.isnan(group_auc(ragged([[(1, True)]])).mean())
