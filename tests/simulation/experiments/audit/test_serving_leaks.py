"""Three ways of serving: what goes up, what comes down, and what is lost in quality."""

import numpy as np
import pytest

from clients.local_evaluation import score_devices
from models.errors import SettingsError
from models.metrics import held_out_ranks, metrics_of_ranks
from simulation.experiments.audit.serving_leaks import (
    Served,
    ServingComparison,
    bits_of_histories,
    compare_serving,
    entropy_bits,
    nearest,
)
from simulation.experiments.audit.target import Target, all_events
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS

COMPARISON = ServingComparison(
    cohorts=(1, 4),
    candidates=(10, NUM_ITEMS),
    opted_in_share=0.5,
    requests_a_day=10,
    events_a_day=5,
    models_a_day=2,
    shown=10,
)
OPTED_IN = np.arange(20)


def test_ways_are_ordered_by_what_they_leak(target: Target):
    found = compare_serving(target, COMPARISON, OPTED_IN, 1_900_000)
    rows = {row["way"]: row for row in found.rows}
    server, device = rows["server side"], rows["on device"]
    few = rows["candidates down, 4 cohorts, 10 items"]
    every = rows[f"candidates down, 4 cohorts, {NUM_ITEMS} items"]
    assert device["bits known of a user"] == device["bytes up"] == 0.0
    assert 0.0 < few["bits known of a user"] <= 2.0 < server["bits known of a user"]
    assert rows["candidates down, 1 cohorts, 10 items"]["bits known of a user"] == 0.0
    assert few["nDCG@10"] <= every["nDCG@10"] == server["nDCG@10"] == device["nDCG@10"]
    assert few["bytes down"] == 10 * (4 + 4 * 9) and few["bytes up"] == 1.0
    assert server["bytes up a day"] == 4 * (10 + 5) and server["bytes down"] == 40
    assert device["bytes down a day"] == 2 * 4 * target.layout.size


def test_the_model_that_serves_is_the_one_that_was_evaluated(target: Target):
    served = Served.of(target)
    shard = target.shard(np.load(target.devices.taste))
    scores = score_devices(shard, served.judged, target.final, target.devices.recommender)
    ranks, negatives = held_out_ranks(scores, served.held_out, ~served.seen)
    expected = metrics_of_ranks(ranks, negatives)["ndcg@10"]
    np.testing.assert_allclose(served.ndcg(), expected)


def test_an_item_that_is_not_offered_is_not_found(target: Target):
    served = Served.of(target)
    nothing = np.zeros(served.seen.shape, bool)
    assert served.ndcg(nothing).max() == 0.0
    nothing[np.arange(len(served.held_out)), served.held_out] = True
    assert served.ndcg(nothing).min() == 1.0  # alone it is the first


def test_information_is_the_length_of_a_code_for_popularity(target: Target):
    histories = all_events(target.shard())
    counts = np.bincount(histories.items, minlength=NUM_ITEMS)
    shares = counts / counts.sum()
    slow = [
        sum(-np.log2(shares[item]) for item in histories.cut(np.array([user])).items)
        for user in range(NUM_DEVICES)
    ]
    np.testing.assert_allclose(bits_of_histories(histories, NUM_ITEMS), slow)
    assert entropy_bits(np.arange(8)) == 3.0 and entropy_bits(np.zeros(5, int)) == 0.0


def test_a_phone_finds_its_nearest_mean():
    rng = np.random.default_rng(3)
    states, means = rng.normal(size=(30, 5)), rng.normal(size=(4, 5))
    slow = [np.argmin([np.linalg.norm(state - mean) for mean in means]) for state in states]
    np.testing.assert_array_equal(nearest(states, means), slow)


def test_more_cohorts_than_users_who_opted_in_are_refused(target: Target):
    with pytest.raises(SettingsError, match="asks for 4 means, 3 users"):
        compare_serving(target, COMPARISON, np.arange(3), 0)
