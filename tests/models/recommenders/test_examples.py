"""Counting examples by step and item loses none and makes none up."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.recommenders.examples import Drawn
from tests.models.recommenders.made_up import LENGTHS, NUM_ITEMS, SEED, sampler


@pytest.fixture
def drawn() -> Drawn:
    return Drawn.of(sampler(), np.arange(6), (SEED, 3, np.arange(100, 106)))


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("size", [4, 10, 1000])
def test_batches_hold_every_example_once_in_each_epoch(drawn: Drawn, size: int, epochs: int):
    local = drawn.in_batches(size, epochs)
    steps = local.num_steps // epochs
    for device, length in enumerate(LENGTHS):
        wanted = np.sort(drawn.items[device][drawn.items[device] < NUM_ITEMS])
        assert len(wanted) == 5 * length
        for epoch in range(epochs):
            batches = [
                local.batch(device, step) for step in range(epoch * steps, (epoch + 1) * steps)
            ]
            items = torch.cat([items for items, _ in batches]).numpy()
            labels = torch.cat([labels for _, labels in batches]).numpy()
            np.testing.assert_array_equal(np.sort(items), wanted)
            chosen = drawn.items[device, :, 0]
            assert set(items[labels == 1]) == set(chosen[chosen < NUM_ITEMS])
            sizes = [len(items) for items, _ in batches]
            full, rest = divmod(5 * length, size)
            assert sizes == [size] * full + [rest] * (rest > 0) + [0] * (steps - full - (rest > 0))


def test_halves_take_positives_with_their_negatives(drawn: Drawn):
    local = drawn.in_halves()
    for device, length in enumerate(LENGTHS):
        positives = local.positives[device].sum(dim=1).tolist()
        counts = local.counts[device].sum(dim=1).tolist()
        assert positives == [length - length // 2, length // 2]
        assert counts == [5 * positives[0], 5 * positives[1]]
    other = Drawn.of(sampler(), np.arange(6), (SEED, 4, np.arange(100, 106))).in_halves()
    assert not torch.equal(local.rows[4], other.rows[4])


def test_steps_of_a_device_do_not_depend_on_its_company(drawn: Drawn):
    alone = Drawn.of(sampler(), np.array([3]), (SEED, 3, np.array([103])))
    for together, one in (
        (drawn.in_batches(7, 1), alone.in_batches(7, 1)),
        (drawn.in_halves(), alone.in_halves()),
    ):
        for step in range(one.num_steps):
            for left, right in zip(together.batch(3, step), one.batch(0, step), strict=True):
                assert torch.equal(left, right)


def test_loss_and_slope_are_those_of_the_examples(drawn: Drawn):
    local = drawn.in_batches(10, 1)
    table = torch.from_numpy(np.random.default_rng(0).normal(size=NUM_ITEMS)).float()
    for step in range(local.num_steps):
        at = local.take(table)
        losses, slope = (
            local.loss(step, at),
            local.weighted_sum(local.slope(step, at), torch.ones(6)),
        )
        total = torch.zeros(NUM_ITEMS)
        for device in range(6):
            items, labels = local.batch(device, step)
            if not len(items):
                assert losses[device] == 0
                continue
            leaf = table.clone().requires_grad_()
            loss = F.binary_cross_entropy_with_logits(leaf[items], labels)
            (grad,) = torch.autograd.grad(loss, leaf)
            total += grad
            assert losses[device].item() == pytest.approx(loss.item(), abs=1e-6)
        torch.testing.assert_close(slope, total, atol=1e-6, rtol=0)


def test_padding_devices_and_rows_add_nothing(drawn: Drawn):
    local = drawn.together()
    values = torch.ones(*local.rows.shape, 2)
    summed = local.weighted_sum(values, torch.tensor([1.0, 0, 0, 0, 0, 0]))
    inside = local.rows[0][local.rows[0] < NUM_ITEMS]
    assert summed.sum() == 2 * len(inside)
    torch.testing.assert_close(local.spread(values)[0], summed)
    scores = torch.zeros(6, NUM_ITEMS)
    put = local.put_over(scores, torch.full(local.rows.shape, 5.0))
    assert (put[2] == 5).sum() == (local.rows[2] < NUM_ITEMS).sum()


def test_negatives_may_be_none():
    none = dataclasses.replace(sampler(), num_negatives=0)
    local = Drawn.of(none, np.arange(6), (SEED, 1, np.arange(6))).together()
    torch.testing.assert_close(local.counts, local.positives)
    assert local.counts.sum() == sum(LENGTHS)
