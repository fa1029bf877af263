"""Histories are read off plain updates, and not off noised or masked ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import SettingsError
from simulation.experiments.audit.history_reconstruction import (
    HistoryAttack,
    Victims,
    by_bias,
    by_direction,
    reconstruct_histories,
    table_of,
)
from simulation.experiments.audit.target import Target
from tests.tiny_world import NUM_ITEMS

ATTACK = HistoryAttack(devices=39, noise=(0.01, 1.0), sums=(2, 10), negatives=9)


def recall_of(rows, loss: str, seen: str, reader: str) -> float:
    (row,) = [r for r in rows if (r["loss"], r["seen"], r["reader"]) == (loss, seen, reader)]
    return row["recall"]


def test_a_plain_update_gives_the_history_away_and_protected_ones_do_not(target: Target):
    rows = reconstruct_histories(target, ATTACK).rows
    whole, sampled = "whole catalogue", "9 sampled negatives"
    chance, popular = rows[0]["chance"], rows[0]["popularity"]
    assert chance < 0.15 and popular < 0.3
    for loss in (whole, sampled):
        # The oldest event is no target, so nothing lifts its bias: 6 of 7 can be read.
        for seen in ("plain update", "clipped"):
            assert recall_of(rows, loss, seen, "bias") > 0.8, (loss, seen)
        for seen in ("clipped + noise 1", "sum of 10 + central noise 1", "masked input"):
            for reader in ("bias", "direction"):
                assert abs(recall_of(rows, loss, seen, reader) - chance) < 0.1, (loss, seen)
        alone = recall_of(rows, loss, "plain update", "bias")
        assert recall_of(rows, loss, "sum of 10", "bias") < alone - 0.3


def test_an_attack_is_the_same_twice(target: Target):
    small = ATTACK.model_copy(update={"devices": 12})
    assert reconstruct_histories(target, small) == reconstruct_histories(target, small)


def test_what_is_summed_is_the_clipped_update_and_its_company(target: Target):
    victims = Victims.of(target, ATTACK, 0)
    assert (np.linalg.norm(victims.clipped, axis=1) <= victims.clip_norm * (1 + 1e-5)).all()
    assert (np.linalg.norm(victims.plain, axis=1) > victims.clip_norm).any()
    np.testing.assert_array_equal(victims.summed(3, 1), victims.clipped[3])
    everybody = victims.summed(3, len(victims.items))
    np.testing.assert_allclose(everybody, victims.clipped.sum(axis=0), atol=1e-5)


def test_the_table_holds_the_rows_and_biases_of_an_update(target: Target):
    layout = target.trained
    update = np.arange(layout.size, dtype=np.float32)
    named = layout.unflatten(torch.from_numpy(update))
    table = table_of(layout, update)
    assert table.shape == (NUM_ITEMS, 9)
    np.testing.assert_array_equal(table[:, -1], named["item_bias"].numpy())
    np.testing.assert_array_equal(table[:, :-1], named["id_residual"].numpy())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_direction_reads_through_noise_that_the_bias_alone_does_not(sign: float):
    rng = np.random.default_rng(1)
    lifted = np.full(400, -0.01)
    lifted[:20] = 0.2
    state = sign * np.append(rng.normal(0, 1, 32), sign)
    noisy = np.outer(lifted, state) + rng.normal(0, 0.2, (400, 33))
    assert set(np.argsort(-by_direction(noisy))[:20]) >= set(range(17))
    by_one_number = np.argsort(-by_bias(noisy))[:20]
    assert len(set(by_one_number) & set(range(20))) < 15


def test_items_that_did_not_move_are_guessed_last():
    table = np.zeros((4, 3))
    table[2] = (1.0, 0.0, -0.5)
    assert by_bias(table).argmax() == by_direction(table).argmax() == 2


def test_what_cannot_be_attacked_is_refused(target: Target):
    training = target.cloud.federation.training.model_copy(update={"trained": "head"})
    federation = target.cloud.federation.model_copy(update={"training": training})
    head = replace(target, cloud=target.cloud.model_copy(update={"federation": federation}))
    with pytest.raises(SettingsError, match="send nothing of single items"):
        reconstruct_histories(head, ATTACK)
    with pytest.raises(SettingsError, match="a sum of 50 phones"):
        reconstruct_histories(target, ATTACK.model_copy(update={"sums": (50,)}))
