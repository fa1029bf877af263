import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clients.serving import latency
from models.ranker import Ranker

PARAMETERS = {
    "attention_recency": np.zeros((4, 1), np.float32),
    "scale": np.ones(1, np.float32),
    "item_bias": np.zeros(9, np.float32),
}


@given(
    scores=hnp.arrays("float32", 9, elements=st.floats(-9, 9, width=32)),
    seen=st.lists(st.integers(0, 8), max_size=12),
    count=st.integers(1, 12),
)
def test_top_is_a_sort_of_what_was_not_seen(scores, seen, count):
    items = scores[:, None].copy()
    ranker = Ranker(PARAMETERS, items)
    top = ranker.top(np.ones(1, np.float32), np.array(seen, dtype=np.int64), count)
    unseen = [item for item in range(9) if item not in seen]
    assert len(top) == len(set(top.tolist())) == min(count, len(unseen))
    assert set(top.tolist()) <= set(unseen)
    best = sorted((scores[item] for item in unseen), reverse=True)[: len(top)]
    assert [scores[item] for item in top] == best


def test_a_user_without_history_is_their_taste():
    ranker = Ranker(PARAMETERS, np.zeros((9, 1), np.float32))
    taste = np.array([0.7], np.float32)
    assert ranker.state(np.array([], dtype=np.int64), None, taste).tolist() == taste.tolist()


def test_latency_counts_every_request_once_after_warming_up():
    asked = []
    measured = latency(asked.append, 50)
    assert len(asked) == 50 + 20
    assert measured.num_requests == 50
    assert 0 < measured.p50_ms <= measured.p95_ms


@pytest.mark.parametrize("count", [1, 3])
def test_ties_keep_the_order_of_the_catalogue(count):
    ranker = Ranker(PARAMETERS, np.zeros((9, 1), np.float32))
    top = ranker.top(np.ones(1, np.float32), np.array([], dtype=np.int64), 9)
    assert top.tolist()[:count] == list(range(count))
