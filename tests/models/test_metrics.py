import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.metrics import METRICS, MetricSums, held_out_ranks, metrics_of_ranks

# Distinct whole numbers: trec_eval reads scores as float32 and breaks ties by name, we count half.
SCORES = st.lists(st.permutations(range(30)), min_size=4, max_size=4).map(
    lambda rows: np.array(rows, dtype=np.float64)
)


@settings(max_examples=40)
@given(scores=SCORES, held_out=hnp.arrays("int64", 4, elements=st.integers(0, 29)))
def test_metrics_agree_with_trec_eval(scores, held_out):
    """trec_eval itself is the reference, to 1e-9."""
    run = {
        f"q{user}": {f"d{item}": float(score) for item, score in enumerate(row)}
        for user, row in enumerate(scores)
    }
    truth = {f"q{user}": {f"d{item}": 1} for user, item in enumerate(held_out)}
    measures = {"ndcg_cut.5,10", "success.5,10", "recip_rank"}
    reference = pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run)
    ranks, negatives = held_out_ranks(scores, held_out, np.ones(scores.shape, bool))
    ours = metrics_of_ranks(ranks, negatives)
    names = {
        "hr@5": "success_5",
        "hr@10": "success_10",
        "ndcg@5": "ndcg_cut_5",
        "ndcg@10": "ndcg_cut_10",
        "mrr": "recip_rank",
    }
    for user in range(4):
        for name, trec in names.items():
            assert ours[name][user] == pytest.approx(reference[f"q{user}"][trec], abs=1e-9)


@given(
    scores=hnp.arrays("int64", (3, 12), elements=st.integers(0, 3)),
    held_out=hnp.arrays("int64", 3, elements=st.integers(0, 11)),
)
def test_ties_count_half_and_auc_is_the_share_of_pairs_in_order(scores, held_out):
    candidates = np.ones(scores.shape, bool)
    ranks, negatives = held_out_ranks(scores.astype(float), held_out, candidates)
    auc = metrics_of_ranks(ranks, negatives)["auc"]
    for user in range(3):
        own = scores[user, held_out[user]]
        others = np.delete(scores[user], held_out[user])
        assert auc[user] == pytest.approx(np.mean((own > others) + 0.5 * (own == others)))


def test_only_candidates_compete():
    scores = np.array([[1.0, 9.0, 8.0, 0.0]])
    candidates = np.array([[True, False, True, True]])
    ranks, negatives = held_out_ranks(scores, np.array([0]), candidates)
    assert (ranks[0], negatives[0]) == (1.0, 2)


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="2 of 6 scores are NaN"):
        held_out_ranks(
            np.array([[1, np.nan, 2], [np.nan, 0, 1]]), np.array([0, 1]), np.ones((2, 3), bool)
        )


@given(cut=st.integers(0, 20))
def test_sums_add_up_however_users_are_divided(cut):
    ranks = np.arange(20) * 0.75
    values = metrics_of_ranks(ranks, np.full(20, 50))
    first = MetricSums.of({name: value[:cut] for name, value in values.items()})
    rest = MetricSums.of({name: value[cut:] for name, value in values.items()})
    for name, mean in (first + rest).means().items():
        assert mean == pytest.approx(values[name].mean())
    assert set((first + rest).means()) == set(METRICS)


def test_no_users_have_no_mean():
    assert np.isnan(MetricSums({"mrr": 0.0}, 0).means()["mrr"])
