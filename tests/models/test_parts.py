"""The low rank, the adapter and their gates: nothing at first, the same on a phone as in torch."""

import numpy as np
import pytest
import torch

from models.parameters import Layout
from models.ranker import Ranker
from models.recommender import RecommenderSettings, initial_parameters
from models.scoring import score_users
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, RECOMMENDER, SEED, TEXT_DIM, TinyWorld

PARTS = {"low_rank": 3, "adapter": 5, "gated": True}


def shape(**parts: object) -> RecommenderSettings:
    return RECOMMENDER.model_copy(update=parts)


def scores(tiny: TinyWorld, parameters: dict[str, torch.Tensor]) -> np.ndarray:
    shard = tiny.shard()
    users = np.arange(NUM_DEVICES)
    taste = np.asarray(shard.taste[users])
    return score_users(parameters, shard.text, shard.events.histories, users, taste, 6)


@pytest.mark.parametrize("parts", [PARTS, {"low_rank": 3}, {"adapter": 5}, {"gated": True}])
def test_they_begin_as_if_they_were_not_there(tiny: TinyWorld, parts: dict[str, object]):
    plain = initial_parameters(RECOMMENDER, NUM_ITEMS, TEXT_DIM, SEED)
    with_parts = initial_parameters(shape(**parts), NUM_ITEMS, TEXT_DIM, SEED)
    assert set(with_parts) > set(plain)
    np.testing.assert_array_equal(scores(tiny, with_parts), scores(tiny, plain))


@pytest.mark.parametrize("gated", [False, True])
def test_the_phones_ranker_has_them_too(tiny: TinyWorld, gated: bool):
    rng = torch.Generator().manual_seed(2)
    start = initial_parameters(shape(**PARTS | {"gated": gated}), NUM_ITEMS, TEXT_DIM, SEED)
    moved = {
        name: tensor + 0.3 * torch.randn(tensor.shape, generator=rng)
        for name, tensor in start.items()
    }
    shard = tiny.shard()
    ranker = Ranker.of({name: tensor.numpy() for name, tensor in moved.items()}, shard.text)
    expected = scores(tiny, moved)
    for user in range(1, NUM_DEVICES):
        histories, _ = shard.events.cut(np.array([user]))
        state = ranker.state(histories.items, histories.private_of(0), shard.taste[user])
        np.testing.assert_allclose(ranker.scores(state), expected[user], atol=1e-4)


def test_stretches_join_neighbours_and_hold_what_is_asked_for():
    layout = Layout(("a", "b", "c", "d"), ((2,), (3, 2), (1,), (4,)))
    assert layout.stretches(["a", "c", "d"]) == ((0, 2), (8, 13))
    assert layout.stretches(layout.names) == ((0, 13),)
    assert layout.stretches([]) == ()
    assert layout.only(["d", "a"]).names == ("a", "d")
