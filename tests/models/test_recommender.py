import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.recommender import (
    RecommenderSettings,
    initial_parameters,
    item_vectors,
    last_states,
    losses,
    parameter_layout,
    score,
    share,
    state_of_one_user,
    user_states,
)
from tests.tiny_world import NUM_ITEMS, RECOMMENDER, SEED, TEXT_DIM, TinyWorld


def one_item_catalogue_state(tiny: TinyWorld, user: int):
    """The inputs of one user, cut out by hand."""
    histories = tiny.shard().events.histories
    start, end = histories.offsets[user : user + 2]
    start = max(start, end - RECOMMENDER.max_history)
    items = torch.from_numpy(np.array(histories.items[start:end], dtype=np.int64))
    private = torch.zeros(len(items), TEXT_DIM)
    for place, row in enumerate(histories.private_row[start:end]):
        if row >= 0:
            private[place] = torch.from_numpy(np.array(histories.private_vectors[row]))
    return items, private


def test_a_block_of_users_gives_the_states_of_the_definition(tiny: TinyWorld):
    shard, parameters = tiny.shard(), tiny.parameters()
    users = np.arange(1, 30)
    shared = share(parameters)
    items = item_vectors(shared, torch.from_numpy(shard.text))
    taste = torch.from_numpy(np.array(shard.taste[users]))
    history = shard.events.histories.recent_block(users, RECOMMENDER.max_history)
    states = last_states(shared, items, history, taste)
    for row, user in enumerate(users):
        events, private = one_item_catalogue_state(tiny, int(user))
        expected = state_of_one_user(parameters, items[0], events, private, taste[row])
        torch.testing.assert_close(states[row], expected, atol=1e-5, rtol=0)


def test_the_future_is_not_seen(tiny: TinyWorld):
    """Change the last event: no earlier state may move."""
    shard, shared = tiny.shard(), share(tiny.parameters())
    items = item_vectors(shared, torch.from_numpy(shard.text))
    history = shard.events.histories.training_block(np.array([12]), RECOMMENDER.max_history)
    assert history.mask.sum() >= 3
    taste = torch.zeros(1, RECOMMENDER.dim)
    before = user_states(shared, items, history, taste)
    last = int(history.mask.sum()) - 1
    history.items[0, last] = (history.items[0, last] + 1) % NUM_ITEMS
    after = user_states(shared, items, history, taste)
    torch.testing.assert_close(before[0, :last], after[0, :last])
    assert (before[0, last] - after[0, last]).abs().max() > 1e-3


def test_a_user_without_events_is_nothing_but_taste(tiny: TinyWorld):
    shard, shared = tiny.shard(), share(tiny.parameters())
    history = shard.events.histories.recent_block(np.array([0, 5]), RECOMMENDER.max_history)
    history.mask[0] = False
    items = item_vectors(shared, torch.from_numpy(shard.text))
    taste = torch.randn(2, RECOMMENDER.dim)
    torch.testing.assert_close(last_states(shared, items, history, taste)[0], taste[0])


def test_the_loss_of_a_fresh_model_without_text_is_that_of_guessing():
    """All items alike: cross-entropy log(N), or log(1 + K) with K sampled negatives."""
    settings = RecommenderSettings(
        dim=4, num_heads=1, max_history=5, low_rank=0, adapter=0, gated=False
    )
    shared = share(initial_parameters(settings, NUM_ITEMS, TEXT_DIM, SEED))
    text = torch.zeros(NUM_ITEMS, TEXT_DIM)
    from models.histories import Histories

    histories = Histories(np.array([0, 4]), np.array([1, 2, 3, 4], np.int32))
    history = histories.training_block(np.array([0]), 5)
    taste = torch.zeros(1, 4)
    assert float(losses(shared, text, history, taste)) == pytest.approx(math.log(NUM_ITEMS))
    negatives = torch.tensor([[40, 41, 42]])
    sampled = float(losses(shared, text, history, taste, negatives))
    assert sampled == pytest.approx(math.log(4))


def test_one_negative_is_bpr(tiny: TinyWorld):
    """Softmax over the target and one negative equals BPR's -log sigmoid of the difference."""
    shard, shared = tiny.shard(), share(tiny.parameters())
    history = shard.events.histories.training_block(np.array([12]), RECOMMENDER.max_history)
    text, taste = torch.from_numpy(shard.text), torch.zeros(1, RECOMMENDER.dim)
    chosen = set(history.targets[0].tolist())
    negative = next(item for item in range(NUM_ITEMS) if item not in chosen)
    items = item_vectors(shared, text)
    scores = score(shared, user_states(shared, items, history, taste), items)[0]
    moments = history.mask[0]
    own = scores[torch.arange(len(scores)), history.targets[0]]
    expected = -F.logsigmoid(own - scores[:, negative])[moments].mean()
    ours = losses(shared, text, history, taste, torch.tensor([[negative]]))[0]
    torch.testing.assert_close(ours, expected)


def test_cold_items_fall_back_on_text():
    """A fresh item has no residual: its vector is its projected text; equal texts score alike."""
    parameters = share(initial_parameters(RECOMMENDER, 3, TEXT_DIM, SEED))
    text = torch.randn(3, TEXT_DIM)
    text[2] = text[1]
    vectors = item_vectors(parameters, text)[0]
    torch.testing.assert_close(vectors, text @ parameters["text_projection"][0])
    torch.testing.assert_close(vectors[1], vectors[2])


def test_the_layout_is_that_of_the_parameters():
    parameters = initial_parameters(RECOMMENDER, NUM_ITEMS, TEXT_DIM, SEED)
    layout = parameter_layout(RECOMMENDER, NUM_ITEMS, TEXT_DIM)
    assert layout.flatten(parameters).shape == (layout.size,)
