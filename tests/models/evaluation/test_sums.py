import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import (
    MetricSums,
    WeightedSum,
    auc,
    group_auc,
    metrics_of_lists,
    rank_scores,
)


@settings(max_examples=30)
@given(
    owner=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_partition_of_users_gives_the_same_sums(owner, seed, data):
    """Users on up to four nodes, asked in any order: the total is that of all users at once."""
    rng, node = np.random.default_rng(seed), np.array(owner)
    scores, grades = rng.integers(0, 5, (len(node), 7)), rng.integers(0, 3, (len(node), 7))

    def sums(rows):
        return MetricSums.of(metrics_of_lists(rank_scores(scores[rows], grades[rows]), (3,)))

    whole = sums(np.arange(len(node)))
    total = MetricSums({}, 0)
    for part in data.draw(st.permutations(range(4))):
        total = total + sums(np.flatnonzero(node == part))
    assert total.num_users == whole.num_users
    for name, value in whole.sums.items():
        assert total.sums[name] == pytest.approx(value, abs=1e-9)
    lists = rank_scores(scores, grades)
    parts = [group_auc(rank_scores(scores[node == p], grades[node == p])) for p in range(4)]
    assert sum(parts, WeightedSum(0.0, 0.0)).mean() == pytest.approx(
        group_auc(lists).mean(), nan_ok=True
    )
    assert len(auc(lists)) == len(node)


def test_no_weight_has_no_mean():
    assert np.isnan(WeightedSum.of(np.array([np.nan]), np.array([3])).mean())
