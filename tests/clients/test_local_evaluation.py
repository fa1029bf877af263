import numpy as np
import pytest

from clients.local_evaluation import evaluate_devices, rank_held_out, score_devices
from clients.protocol.messages import EvalTask
from models.errors import SettingsError
from models.metrics import METRICS, PROTOCOLS
from models.ranker import Ranker
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, RECOMMENDER, SEED, TinyWorld

EVERYBODY = np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("block_bytes", [1, 6 * 4 * NUM_ITEMS, 10**6])
def test_sums_that_come_back_are_the_sums_of_each_users_metrics(tiny: TinyWorld, block_bytes: int):
    shard = tiny.shard()
    flat = tiny.layout.flatten(tiny.parameters()).numpy()
    reply = evaluate_devices(shard, EvalTask(flat, EVERYBODY, 0, block_bytes), RECOMMENDER, SEED)
    held_out = np.asarray(shard.events.held_out)
    users = np.flatnonzero(held_out >= 0)
    seen = shard.events.histories.seen(users, NUM_ITEMS)
    scores = score_devices(shard, users, flat, RECOMMENDER)
    ranks = rank_held_out(scores, held_out[users], seen, users, SEED)
    for protocol in PROTOCOLS:
        total = reply.total(protocol)
        assert total.num_users == len(users) == NUM_DEVICES - 1
        for name in METRICS:
            expected = ranks.values(protocol)[name].sum()
            assert total.sums[name] == pytest.approx(expected, abs=1e-6)
    tiers = [reply.sums[tier, "full"].num_users for tier in ("low", "high")]
    assert sum(tiers) == len(users) and min(tiers) > 0


def test_nodes_change_nothing(tiny: TinyWorld):
    task = EvalTask(tiny.layout.flatten(tiny.parameters()).numpy(), EVERYBODY, 0, 2000)
    whole = evaluate_devices(tiny.shard(), task, RECOMMENDER, SEED)
    parts = [evaluate_devices(tiny.shard(k, 3), task, RECOMMENDER, SEED) for k in range(3)]
    total = parts[0] + parts[1] + parts[2]
    for key, sums in whole.sums.items():
        assert total.sums[key].num_users == sums.num_users
        for name in METRICS:
            assert total.sums[key].sums[name] == pytest.approx(sums.sums[name], abs=1e-6)


def test_the_phones_numpy_ranker_scores_as_torch_does(tiny: TinyWorld):
    shard = tiny.shard()
    parameters = {name: tensor.numpy() for name, tensor in tiny.parameters().items()}
    flat = tiny.layout.flatten(tiny.parameters()).numpy()
    ranker = Ranker.of(parameters, shard.text)
    scores = score_devices(shard, np.arange(NUM_DEVICES), flat, RECOMMENDER)
    histories = shard.events.histories
    for user in range(NUM_DEVICES):
        start, end = histories.offsets[user : user + 2]
        private = np.zeros((end - start, shard.text.shape[1]), np.float32)
        for place, row in enumerate(histories.private_row[start:end]):
            if row >= 0:
                private[place] = histories.private_vectors[row]
        items = np.asarray(histories.items[start:end])
        state = ranker.state(items, private, np.asarray(shard.taste[user]))
        np.testing.assert_allclose(ranker.scores(state), scores[user], atol=1e-5)


def test_sampled_negatives_never_hold_the_item_itself_or_a_seen_one():
    """With scores that are best for seen items and the item itself, the rank must still be 0."""
    num_items = 120
    scores = np.zeros((1, num_items), np.float32)
    scores[0, :10] = 9.0
    scores[0, 10] = 5.0
    seen = np.zeros((1, num_items), bool)
    seen[0, :10] = True
    for seed in range(20):
        ranks = rank_held_out(scores, np.array([10]), seen, np.array([3]), seed)
        assert ranks.sampled[0] == 0.0
        assert ranks.num_sampled[0] == 99
        assert ranks.full[0] == 0.0


def test_training_that_diverged_is_one_line_with_the_cure():
    scores = np.zeros((3, 5), np.float32)
    scores[1, 2] = np.nan
    seen, ids = np.zeros((3, 5), bool), np.arange(3)
    with pytest.raises(SettingsError, match=r"diverged: the scores of 1 of 3 .*lower the rates"):
        rank_held_out(scores, np.zeros(3, np.int64), seen, ids, SEED)
