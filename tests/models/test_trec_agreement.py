"""trec_eval itself is the reference, to 1e-9: graded, tied, missed and no relevance, short lists.

trec_eval reads scores as float32 and puts the name that sorts last first among equals: ours does
the same under ties="trec", with columns in the order of the names.
"""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.metrics import (
    average_precision,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    rank_ragged,
    rank_scores,
    recall_at_k,
    reciprocal_rank,
)

CUTS = (1, 3, 5, 10, 20)
MEASURES = {
    name + "." + ",".join(map(str, CUTS))
    for name in ("ndcg_cut", "map_cut", "P", "recall", "success")
} | {"ndcg", "map", "recip_rank", "Rprec", "num_rel", "num_rel_ret", "set_recall"}


def ours(lists):
    """Every measure of trec_eval that we have, (U,) each."""
    everything = int(lists.lengths().max(initial=1)) or 1
    found = {
        "ndcg": ndcg_at_k(lists),
        "map": average_precision(lists),
        "recip_rank": reciprocal_rank(lists),
        "Rprec": r_precision(lists),
        "num_rel": lists.num_relevant(),
        "num_rel_ret": lists.sum_by_user((lists.relevance > 0).astype(float)),
        "set_recall": recall_at_k(lists, everything),
    }
    for k in CUTS:
        found[f"ndcg_cut_{k}"] = ndcg_at_k(lists, k)
        found[f"map_cut_{k}"] = average_precision(lists, k)
        found[f"P_{k}"] = precision_at_k(lists, k)
        found[f"recall_{k}"] = recall_at_k(lists, k)
        found[f"success_{k}"] = hit_rate_at_k(lists, k)
    return found


def trecs(scores, relevance, candidates):
    """What trec_eval says of each user; None for one it leaves out (nothing ranked or judged)."""
    users, items = range(len(scores)), range(scores.shape[1])
    run = {
        f"q{user}": {f"d{item:03}": float(scores[user, item]) for item in items
                     if candidates[user, item]}
        for user in users
    }  # fmt: skip
    truth = {f"q{user}": {f"d{item:03}": int(relevance[user, item]) for item in items}
             for user in users}  # fmt: skip
    found = pytrec_eval.RelevanceEvaluator(truth, MEASURES).evaluate(run)
    return [found.get(f"q{user}") for user in users]


@st.composite
def worlds(draw):
    """Scores with many ties, grades 0 to 3 that may all be 0, and items that are not ranked."""
    num_users, num_items = draw(st.integers(1, 4)), draw(st.integers(1, 25))
    size = num_users * num_items
    of_shape = (num_users, num_items)
    top = draw(st.sampled_from([1, 3, 40]))
    scores = draw(st.lists(st.integers(0, top), min_size=size, max_size=size))
    grades = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=size, max_size=size))
    inside = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    scale = draw(st.sampled_from([1.0, 0.1, 1e-3]))
    return (
        np.array(scores, dtype=float).reshape(of_shape) * scale,
        np.array(grades).reshape(of_shape),
        np.array(inside).reshape(of_shape),
    )


NEAR = np.array([[1.0, 1.0 + 1e-9, 1.0 - 1e-9]])  # one number in float32


@settings(max_examples=100)
@given(world=worlds())
@example(world=(NEAR, np.array([[1, 0, 0]]), np.ones((1, 3), bool)))
@example(world=(NEAR, np.array([[0, 0, 2]]), np.ones((1, 3), bool)))
@example(world=(np.zeros((1, 4)), np.zeros((1, 4), int), np.ones((1, 4), bool)))
def test_trec_eval_agrees_to_1e_9(world):
    scores, relevance, candidates = world
    found = ours(rank_scores(scores, relevance, candidates, ties="trec"))
    for user, reference in enumerate(trecs(*world)):
        if reference is None:
            assert not candidates[user].any()
            continue
        for name, value in found.items():
            assert value[user] == pytest.approx(reference[name], abs=1e-9), name


@settings(max_examples=40)
@given(world=worlds())
def test_trec_eval_agrees_on_ragged_lists_where_every_relevant_item_is_ranked(world):
    scores, relevance, candidates = world
    offsets = np.concatenate([[0], np.cumsum(candidates.sum(axis=1))])
    found = ours(rank_ragged(offsets, scores[candidates], relevance[candidates], ties="trec"))
    for user, reference in enumerate(trecs(scores, relevance * candidates, candidates)):
        for name, value in found.items():
            if reference is not None:
                assert value[user] == pytest.approx(reference[name], abs=1e-9), name


@settings(max_examples=40)
@given(data=st.data(), grades=st.lists(st.integers(0, 3), min_size=1, max_size=25))
def test_trec_eval_agrees_with_every_rule_where_nothing_is_tied(data, grades):
    order = data.draw(st.permutations(range(len(grades))))
    world = np.array([order], float), np.array([grades]), np.ones((1, len(grades)), bool)
    (reference,) = trecs(*world)
    for rule in ("expected", "against", "trec"):
        for name, value in ours(rank_scores(*world, ties=rule)).items():
            assert value[0] == pytest.approx(reference[name], abs=1e-9), (rule, name)
