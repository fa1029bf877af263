"""A block of phones against one phone after another, and what leaves a node."""

import numpy as np
import pytest
import torch

from clients.protocol.messages import EvalTask, TrainTask
from clients.recommenders.own import (
    OwnDevices,
    evaluate_devices,
    train_cohort,
    train_one,
    trained_blocks,
)
from models.errors import DataError
from models.histories import Histories
from models.recommenders.own import Phone, layout_of
from models.seeds import generator
from tests.own_models import Explodes, Mean
from tests.tiny_world import local_training

SEED, NUM_ITEMS = 7, 12
LENGTHS = np.array([3, 1, 0, 7, 4, 2])
MODEL = Mean()
START = MODEL.start(NUM_ITEMS, SEED)
LAYOUT = layout_of(START)


def devices() -> OwnDevices:
    rng = generator(SEED, "own devices")
    chosen = [rng.choice(NUM_ITEMS, length + 1, replace=False) for length in LENGTHS]
    items = np.concatenate([each[:-1] for each in chosen]).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    held_out = np.array([each[-1] for each in chosen], dtype=np.int32)
    held_out[1] = -1
    tier = np.array([0, 1, 0, 1, 1, 0], dtype=np.int8)
    return OwnDevices(0, Histories(offsets, items), held_out, tier, ("low", "high"), NUM_ITEMS)


def task(device_ids: list[int], **changes: float) -> TrainTask:
    flat = LAYOUT.flatten(START).numpy()
    training = local_training(clip_norm=100.0, block_bytes=3 * 4 * LAYOUT.size, **changes)
    return TrainTask(flat, np.array(device_ids), 2, training)


@pytest.mark.parametrize("changes", [{}, {"num_negatives": 5}, {"proximal": 0.3}])
def test_a_block_of_phones_is_one_phone_after_another(changes: dict[str, float]):
    population, work = devices(), task([0, 1, 3, 4, 5], **changes)
    blocks = list(trained_blocks(population, MODEL, LAYOUT, work, SEED))
    assert len(blocks) > 1
    fast = sum(block.rows().double().sum(dim=0) for block in blocks)
    slow, losses = torch.zeros(LAYOUT.size, dtype=torch.float64), []
    for device in work.device_ids:
        row = np.array([device])
        padded = population.training_phones(row, work.training.num_negatives, SEED, 2)
        phone = Phone(*(each[0] for each in padded))
        loss, moved = train_one(MODEL, START, phone, work.training)
        slow += LAYOUT.flatten(moved).double()
        losses.append(float(loss))
    assert slow.abs().max() > 0.01
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    found = torch.cat([block.losses for block in blocks]).sum()
    assert float(found) == pytest.approx(sum(losses), rel=1e-5)


@pytest.mark.parametrize("num_nodes", [2, 3, 6])
def test_the_number_of_nodes_changes_no_sum(num_nodes: int):
    population, evaluated = devices(), EvalTask(task([0]).parameters, np.array([], int), 0, 400)
    whole = train_cohort(population, MODEL, LAYOUT, task([0, 2, 3, 4, 5]), SEED, noise_seed=SEED)
    judged = evaluate_devices(population, MODEL, LAYOUT, evaluated, SEED)
    parts, judged_parts = np.zeros(LAYOUT.size), []
    for number in range(num_nodes):
        node = population.partition(number, num_nodes)
        end = node.first_device + node.histories.num_users
        mine = [device for device in (0, 2, 3, 4, 5) if node.first_device <= device < end]
        if mine:
            reply = train_cohort(node, MODEL, LAYOUT, task(mine), SEED, noise_seed=SEED)
            parts += reply.update_sum
        judged_parts.append(evaluate_devices(node, MODEL, LAYOUT, evaluated, SEED))
    np.testing.assert_allclose(parts, whole.update_sum, rtol=1e-5, atol=1e-5)
    total = sum(judged_parts[1:], start=judged_parts[0])
    assert total.total("full").num_users == 5  # one has nothing held out
    for protocol in ("full", "sampled-99"):
        for name, value in judged.total(protocol).sums.items():
            assert total.total(protocol).sums[name] == pytest.approx(value, abs=1e-6)


def test_a_phone_without_events_sends_nothing_but_counts():
    reply = train_cohort(devices(), MODEL, LAYOUT, task([2]), SEED, noise_seed=SEED)
    assert reply.num_devices == 1 and reply.loss_sum == 0.0
    assert not reply.update_sum.any()


def test_every_update_is_clipped_by_itself():
    work = task([0, 3, 4])
    tight = work.training.model_copy(update={"clip_norm": 1e-3})
    short = TrainTask(work.parameters, work.device_ids, 2, tight)
    reply = train_cohort(devices(), MODEL, LAYOUT, short, SEED, noise_seed=SEED)
    assert reply.num_clipped == 3
    assert np.linalg.norm(reply.update_sum) <= 3e-3 * (1 + 1e-6)


def test_an_update_that_is_not_finite_is_refused_alone():
    reply = train_cohort(devices(), Explodes(), LAYOUT, task([0, 3]), SEED, noise_seed=SEED)
    assert reply.num_refused == 2 and not reply.update_sum.any()


def test_a_device_of_another_node_is_an_error():
    node = devices().partition(0, 2)
    with pytest.raises(DataError, match=r"devices \[5\] are not all on this node, .* 0 \.\. 2"):
        train_cohort(node, MODEL, LAYOUT, task([5]), SEED, noise_seed=SEED)
