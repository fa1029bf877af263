"""The written out gradients against torch's own, of the definition of the loss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.recommender import (
    HistoryBlock,
    RecommenderSettings,
    Shared,
    initial_parameters,
    losses,
)
from models.recommender_gradients import LocalCatalogue, gradients

NUM_ITEMS, TEXT_DIM, DIM, MAX_HISTORY = 23, 7, 6, 9


def block(lengths: list[int], *, private: bool, rng: torch.Generator) -> HistoryBlock:
    width = max(1, *lengths)
    mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    items, targets = (
        torch.randint(0, NUM_ITEMS, mask.shape, generator=rng) * mask for _ in range(2)
    )
    texts = torch.randn(*mask.shape, TEXT_DIM, generator=rng) * mask.unsqueeze(2)
    return HistoryBlock(items, mask, targets, mask, texts if private else None)


def of_each_device(count: int, rng: torch.Generator, parts: tuple[int, int, bool]) -> Shared:
    """Parameters, another set for every device; parts are low rank, adapter and gates."""
    low_rank, adapter, gated = parts
    shape = RecommenderSettings(
        dim=DIM,
        num_heads=2,
        max_history=MAX_HISTORY,
        low_rank=low_rank,
        adapter=adapter,
        gated=gated,
    )
    start = initial_parameters(shape, NUM_ITEMS, TEXT_DIM, 3)
    return {
        name: value + 0.3 * torch.randn(count, *value.shape, generator=rng)
        for name, value in start.items()
    }


def by_autograd(
    own: Shared, text: Tensor, history: HistoryBlock, taste: Tensor, negatives: Tensor | None
) -> tuple[Tensor, Shared, Tensor]:
    leaves = {name: value.clone().requires_grad_() for name, value in own.items()}
    taste = taste.clone().requires_grad_()
    each = losses(leaves, text, history, taste, negatives)
    grads = torch.autograd.grad(
        each.sum(), [*leaves.values(), taste], allow_unused=True, materialize_grads=True
    )
    return each.detach(), dict(zip(leaves, grads[:-1], strict=True)), grads[-1]


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, MAX_HISTORY), min_size=1, max_size=5),
    num_negatives=st.integers(0, 6),
    private=st.booleans(),
    shared=st.booleans(),
    parts=st.tuples(st.sampled_from([0, 2]), st.sampled_from([0, 3]), st.booleans()),
    seed=st.integers(0, 10**6),
)
def test_they_are_those_of_the_definition(lengths, num_negatives, private, shared, parts, seed):
    rng = torch.Generator().manual_seed(seed)
    history = block(lengths, private=private, rng=rng)
    count = len(lengths)
    own = of_each_device(count, rng, parts)
    if shared:
        own = {name: value[:1].expand_as(value) for name, value in own.items()}
    text = torch.randn(NUM_ITEMS, TEXT_DIM, generator=rng)
    taste = 0.3 * torch.randn(count, DIM, generator=rng)
    negatives = torch.randint(0, NUM_ITEMS, (count, num_negatives), generator=rng)
    drawn = negatives if num_negatives else None
    expected_losses, expected, expected_taste = by_autograd(own, text, history, taste, drawn)
    local = LocalCatalogue.of(history, drawn, NUM_ITEMS)
    if shared:
        cut = local.parameters({name: value[0] for name, value in own.items()})
    else:
        cut = {
            name: torch.stack([local.parameters(each(own, row))[name][row] for row in range(count)])
            if local.rows is not None and name in ("id_residual", "item_bias")
            else value
            for name, value in own.items()
        }
    found = gradients(cut, local.text(text), local, taste, tuple(own))
    np.testing.assert_allclose(found.losses, expected_losses, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.taste, expected_taste, rtol=1e-4, atol=1e-5)
    weights = torch.randn(count, generator=rng)
    for name, gradient in expected.items():
        whole = local.spread(name, found.shared[name])
        np.testing.assert_allclose(whole, gradient, rtol=1e-4, atol=5e-5, err_msg=name)
        total = local.weighted_sum(name, found.shared[name], weights)
        summed = (gradient * weights.reshape(-1, *[1] * (gradient.ndim - 1))).sum(dim=0)
        np.testing.assert_allclose(total, summed, rtol=1e-4, atol=1e-4, err_msg=name)


def each(own: Shared, row: int) -> Shared:
    return {name: value[row] for name, value in own.items()}


def test_what_is_not_trained_costs_nothing():
    rng = torch.Generator().manual_seed(0)
    history = block([4, 2], private=True, rng=rng)
    own = {name: value[0] for name, value in of_each_device(1, rng, (0, 0, False)).items()}
    text, taste = torch.randn(NUM_ITEMS, TEXT_DIM, generator=rng), torch.zeros(2, DIM)
    local = LocalCatalogue.of(history, None, NUM_ITEMS)
    some = gradients(local.parameters(own), local.text(text), local, taste, ["head_mix", "scale"])
    whole = gradients(local.parameters(own), local.text(text), local, taste, tuple(own))
    assert set(some.shared) == {"head_mix", "scale"}
    for name, gradient in some.shared.items():
        torch.testing.assert_close(gradient, whole.shared[name])


@pytest.mark.parametrize("num_negatives", [1, 5])
def test_a_device_sees_its_own_items_once(num_negatives: int):
    rng = torch.Generator().manual_seed(1)
    history = block([5, 1, 0], private=False, rng=rng)
    negatives = torch.randint(0, NUM_ITEMS, (3, num_negatives), generator=rng)
    local = LocalCatalogue.of(history, negatives, NUM_ITEMS)
    assert local.rows is not None and local.negatives is not None
    for row, own in enumerate(local.rows):
        real = own[own < NUM_ITEMS]
        touched = torch.cat([history.items[row], history.targets[row], negatives[row]])
        assert real.tolist() == sorted(set(touched.tolist()))
        assert own[local.negatives[row]].tolist() == negatives[row].tolist()
        assert own[local.history.items[row]].tolist() == history.items[row].tolist()
        assert own[local.history.targets[row]].tolist() == history.targets[row].tolist()


@pytest.mark.parametrize("num_negatives", [0, 5])
def test_nothing_is_made_on_another_processor(num_negatives: int):
    """On `meta`, which has shapes and no numbers, a tensor that is made elsewhere is an error."""
    shape = RecommenderSettings(
        dim=4, num_heads=2, max_history=6, low_rank=2, adapter=3, gated=True
    )
    parameters = initial_parameters(shape, 9, 5, 0)
    rng = torch.Generator().manual_seed(0)
    items = torch.randint(9, (3, 6), generator=rng)
    mask = torch.ones(3, 6, dtype=torch.bool)
    history = HistoryBlock(items, mask, items.flip(1), mask, torch.randn(3, 6, 5, generator=rng))
    drawn = torch.randint(9, (3, num_negatives), generator=rng) if num_negatives else None
    there = torch.device("meta")
    local = LocalCatalogue.of(history, drawn, 9).to(there)
    sent = {name: tensor.to(there) for name, tensor in parameters.items()}
    found = gradients(
        local.parameters(sent),
        local.text(torch.zeros(9, 5, device=there)),
        local,
        torch.zeros(3, 4, device=there),
        list(parameters),
    )
    summed = {
        name: local.weighted_sum(name, grad, torch.ones(3, device=there))
        for name, grad in found.shared.items()
    }
    spread = {name: local.spread(name, grad) for name, grad in found.shared.items()}
    for name, tensor in parameters.items():
        assert summed[name].device.type == spread[name].device.type == "meta"
        assert summed[name].shape == tensor.shape
        assert spread[name].shape == (3, *tensor.shape)
