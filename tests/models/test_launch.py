import numpy as np
import pytest
import torch

from models.histories import Histories
from models.launch import OUT_OF_REACH, launched, withheld
from server.history import History
from server.server_teacher import train_on_pooled_data
from server.settings import CentralTraining
from simulation.engines.inline import run_inline
from simulation.world.build import build_world, pooled_histories
from tests.tiny_world import (
    NUM_ITEMS,
    RECOMMENDER,
    SEED,
    TEXT_DIM,
    TIERS,
    TinyWorld,
    federation,
    made_up_split,
    private,
)

TRAINING = CentralTraining(epochs=3, rate=0.02, users_per_step=8, num_negatives=0)


def test_training_with_withheld_items_is_training_without_them():
    """The slow truth: leave them out of the catalogue, and number the others anew."""
    parts = made_up_split(cold_items=0.3)
    pool, known = pooled_histories(parts), np.flatnonzero(~parts.cold_item)
    place = np.cumsum(~parts.cold_item) - 1
    fewer = Histories(pool.offsets, place[pool.items].astype(np.int32))
    text = np.random.default_rng(2).normal(0, 0.3, (NUM_ITEMS, TEXT_DIM)).astype(np.float32)
    whole = train_on_pooled_data(pool, text, RECOMMENDER, TRAINING, SEED, cold_item=parts.cold_item)
    alone = train_on_pooled_data(fewer, text[known], RECOMMENDER, TRAINING, SEED)
    for name, expected in alone.parameters.items():
        found = whole.parameters[name]
        found = found[known] if name in ("id_residual", "item_bias") else found
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(whole.taste, alone.taste, atol=1e-5)
    assert (whole.parameters["id_residual"][parts.cold_item] == 0).all()
    assert (whole.parameters["item_bias"][parts.cold_item] == OUT_OF_REACH).all()


@pytest.mark.parametrize("num_negatives", [0, 5])
def test_no_phone_moves_a_withheld_item(tiny: TinyWorld, num_negatives: int):
    parts = made_up_split(cold_items=0.3)
    build_world(parts, TIERS, SEED, tiny.world)
    settings = federation(2, rounds=2)
    training = settings.training.model_copy(update={"num_negatives": num_negatives})
    settings = settings.model_copy(update={"training": training})
    folder = tiny.prepare_run("run", settings)
    start = withheld(tiny.parameters(), parts.cold_item)
    np.save(folder / "initial.npy", tiny.layout.flatten(start).numpy())
    run_inline(folder, 2)
    final = tiny.layout.unflatten(torch.from_numpy(History(folder).read_final().copy()))
    cold = torch.from_numpy(parts.cold_item)
    for name in ("id_residual", "item_bias"):
        assert (final[name][cold] == start[name][cold]).all()
        assert not (final[name][~cold] == start[name][~cold]).all()


def test_noise_of_the_cloud_is_forgotten_at_the_launch(tiny: TinyWorld):
    parts = made_up_split(cold_items=0.3)
    build_world(parts, TIERS, SEED, tiny.world)
    folder = tiny.prepare_run("run", private(rounds=2))
    start = withheld(tiny.parameters(), parts.cold_item)
    np.save(folder / "initial.npy", tiny.layout.flatten(start).numpy())
    run_inline(folder, 1)
    final = tiny.layout.unflatten(torch.from_numpy(History(folder).read_final().copy()))
    cold = torch.from_numpy(parts.cold_item)
    assert (final["id_residual"][cold] != start["id_residual"][cold]).any()
    after = launched(final)
    assert (after["id_residual"][cold] == 0).all()
    torch.testing.assert_close(
        after["item_bias"][cold], final["item_bias"][~cold].mean().expand(int(cold.sum()))
    )
    for name, value in final.items():
        same = after[name] if name not in ("id_residual", "item_bias") else after[name][~cold]
        assert (same == (value if same.shape == value.shape else value[~cold])).all()


def test_without_cold_items_nothing_is_touched(tiny: TinyWorld):
    parameters = tiny.parameters()
    assert withheld(parameters, np.zeros(NUM_ITEMS, dtype=np.bool_)) is parameters
    assert launched(parameters) is parameters
