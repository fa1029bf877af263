import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import (
    auc,
    average_precision,
    dcg_at_k,
    hit_rate_at_k,
    judge_items,
    mean_reciprocal_place,
    metrics_of_lists,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    rank_ragged,
    rank_scores,
    recall_at_k,
    reciprocal_rank,
)
from tests.models.evaluation import naive

# At most 6 items, so that all orders of tied ones can be written out.
ENTRIES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 1, 3])), max_size=6)
USERS = st.lists(ENTRIES, min_size=1, max_size=3)


def ragged(users, ties="expected"):
    lengths = [len(entries) for entries in users]
    flat = np.array([entry for entries in users for entry in entries], dtype=float).reshape(-1, 2)
    return rank_ragged(np.concatenate([[0], np.cumsum(lengths)]), flat[:, 0], flat[:, 1], ties=ties)


def pairs_of(lists, entries, k, gain):
    """(ours for all users, naive for one order) for every metric."""
    relevance = [grade for _, grade in entries]
    num = sum(grade > 0 for grade in relevance)
    return {
        "hr": (hit_rate_at_k(lists, k), naive.hit(k)),
        "precision": (precision_at_k(lists, k), naive.precision(k)),
        "recall": (recall_at_k(lists, k), naive.recall(k, num)),
        "capped": (recall_at_k(lists, k, capped=True), naive.recall(k, min(k, num))),
        "r-precision": (r_precision(lists), naive.recall(num, num)),
        "dcg": (dcg_at_k(lists, k, gain=gain), lambda order: naive.dcg(order, k, gain)),
        "ndcg@k": (ndcg_at_k(lists, k, gain=gain), naive.ndcg(k, relevance, gain)),
        "ndcg": (ndcg_at_k(lists, gain=gain), naive.ndcg(None, relevance, gain)),
        "ap": (average_precision(lists), naive.average_precision(None, num)),
        "ap@k": (average_precision(lists, k), naive.average_precision(k, num)),
        "ap capped": (
            average_precision(lists, k, divisor="capped"),
            naive.average_precision(k, min(k, num)),
        ),
        "ap / k": (average_precision(lists, k, divisor="k"), naive.average_precision(k, k)),
        "rr": (reciprocal_rank(lists), naive.reciprocal(None)),
        "rr@k": (reciprocal_rank(lists, k), naive.reciprocal(k)),
        "all places": (mean_reciprocal_place(lists), naive.reciprocal_places),
        "auc": (auc(lists), naive.auc),
    }


@settings(max_examples=60)
@given(users=USERS, k=st.integers(1, 7), gain=st.sampled_from(["linear", "exponential"]))
def test_ties_are_worth_the_mean_over_all_their_orders(users, k, gain):
    lists = ragged(users)
    for user, entries in enumerate(users):
        scores, relevance = [s for s, _ in entries], [grade for _, grade in entries]
        for name, (ours, metric) in pairs_of(lists, entries, k, gain).items():
            truth = naive.mean_over_orders(metric, scores, relevance)
            assert ours[user] == pytest.approx(truth, abs=1e-12, nan_ok=True), name


@settings(max_examples=40)
@given(users=USERS, k=st.integers(1, 7))
def test_against_is_the_lowest_value_that_the_scores_allow(users, k):
    lists = ragged(users, "against")
    for user, entries in enumerate(users):
        binary = [(score, min(grade, 1)) for score, grade in entries]
        for name, (_, metric) in pairs_of(lists, binary, k, "linear").items():
            if name not in ("hr", "precision", "recall", "rr", "ap", "auc"):
                continue
            ours = pairs_of(lists, entries, k, "linear")[name][0][user]
            orders = naive.orders([s for s, _ in binary], [grade for _, grade in binary])
            assert ours == pytest.approx(min(map(metric, orders)), nan_ok=True), name


@st.composite
def tables(draw):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 8)))
    size = shape[0] * shape[1]
    numbers = st.lists(st.integers(0, 3), min_size=size, max_size=size)
    scores, grades, inside = (np.array(draw(numbers)).reshape(shape) for _ in range(3))
    return scores, grades, inside > 0


@settings(max_examples=40)
@given(table=tables(), ties=st.sampled_from(["expected", "against", "trec"]))
def test_a_table_and_its_ragged_twin_are_ranked_alike(table, ties):
    scores, grades, candidates = table
    grades = grades * candidates  # a ragged list knows of no missed items
    dense = rank_scores(scores, grades, candidates, ties=ties)
    offsets = np.concatenate([[0], np.cumsum(candidates.sum(axis=1))])
    flat = rank_ragged(offsets, scores[candidates], grades[candidates], ties=ties)
    for name, values in metrics_of_lists(dense, (1, 3)).items():
        np.testing.assert_allclose(values, metrics_of_lists(flat, (1, 3))[name], atol=1e-12)


@settings(max_examples=30)
@given(table=tables(), data=st.data())
def test_the_order_of_users_and_of_items_changes_nothing(table, data):
    scores, grades, candidates = table
    users = np.array(data.draw(st.permutations(range(len(scores)))))
    items = np.array(data.draw(st.permutations(range(scores.shape[1]))))
    moved = [part[users][:, items] for part in table]
    ours, theirs = rank_scores(scores, grades, candidates), rank_scores(*moved)
    for name, values in metrics_of_lists(ours, (2,)).items():
        np.testing.assert_allclose(
            values[users], metrics_of_lists(theirs, (2,))[name], atol=1e-12, err_msg=name
        )
    np.testing.assert_allclose(auc(ours)[users], auc(theirs), atol=1e-12)


def test_a_relevant_item_that_is_no_candidate_is_missed():
    scores, grades = np.array([[9.0, 5.0, 1.0]]), np.array([[1, 1, 0]])
    lists = rank_scores(scores, grades, np.array([[False, True, True]]))
    assert recall_at_k(lists, 3).tolist() == [0.5]
    assert average_precision(lists).tolist() == [0.5]
    assert ndcg_at_k(lists, 3)[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_finished_lists_are_judged_as_scores_are():
    grades = np.array([[0, 2, 1, 0], [1, 0, 0, 0]])
    by_items = judge_items(np.array([[2, 3, 1], [1, -1, -1]]), grades)
    assert by_items.lengths().tolist() == [3, 1]
    assert recall_at_k(by_items, 2).tolist() == [0.5, 0.0]
    truth = naive.ndcg(3, [2, 1])([1, 0, 2])
    assert ndcg_at_k(by_items, 3).tolist() == pytest.approx([truth, 0.0])


def test_an_ideal_of_k_items_is_four_and_a_half_times_lower():
    """What RecTools divides by: with one relevant item at the top it reads 0.22, not 1."""
    lists = rank_scores(np.array([[2.0, 1.0]]), np.array([[1, 0]]))
    own, full = ndcg_at_k(lists, 10)[0], ndcg_at_k(lists, 10, ideal="full-list")[0]
    assert own == 1.0
    assert own / full == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s, r: rank_scores(s, r[:, :2]), "of one shape"),
        (lambda s, r: rank_scores(s * np.nan, r), "3 of 3 scores are NaN"),
        (lambda s, r: rank_scores(s, -1 * r), "relevance must be >= 0"),
        (lambda s, r: rank_scores(s, r, ties="half"), "ties='half' is no rule"),
        (lambda s, r: rank_scores(s, r, np.ones((1, 2), bool)), "candidates have the shape"),
        (lambda s, r: rank_ragged(np.array([0, 2]), s[0], r[0]), "offsets must rise from 0"),
        (lambda s, r: rank_ragged(np.array([0, 4, 3]), s[0], r[0]), "offsets must rise from 0"),
        (lambda s, r: judge_items(np.array([[1, 1]]), r), "1 of 1 lists hold an item twice"),
        (lambda s, r: judge_items(np.array([[3]]), r), "they must be in 0 .. 2"),
        (lambda s, r: hit_rate_at_k(rank_scores(s, r), 0), "k must be at least 1, got 0"),
        (lambda s, r: ndcg_at_k(rank_scores(s, r), -3), "k must be at least 1, got -3"),
        (lambda s, r: ndcg_at_k(rank_scores(s, r), ideal="full-list"), "needs a k"),
        (lambda s, r: ndcg_at_k(rank_scores(s, r), 2, gain="log"), "gain='log' is none"),
        (lambda s, r: average_precision(rank_scores(s, r), divisor="capped"), "needs a k"),
    ],
)
def test_wrong_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(np.array([[3.0, 2.0, 1.0]]), np.array([[1, 0, 1]]))


def test_nan_of_an_item_that_does_not_compete_does_not_matter():
    scores, candidates = np.array([[np.nan, 1.0]]), np.array([[False, True]])
    assert rank_scores(scores, np.array([[0, 1]]), candidates).relevance.tolist() == [1.0]


def test_no_users_and_empty_lists_have_no_values_but_are_no_error():
    nobody = rank_scores(np.zeros((0, 4)), np.zeros((0, 4)))
    assert all(len(values) == 0 for values in metrics_of_lists(nobody).values())
    nothing = rank_scores(np.zeros((2, 3)), np.ones((2, 3)), np.zeros((2, 3), bool))
    assert all(not values.any() for values in metrics_of_lists(nothing).values())
