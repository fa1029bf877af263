"""The written out step of the perceptron against torch's own gradients."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.perceptron import PerceptronSettings, Rows, perceptron_layout, perceptron_loss, sgd_step


def rows_of(lengths: list[int], inputs: int, rng: torch.Generator, *, padded: bool) -> Rows:
    width = max(lengths)
    features = torch.randn(len(lengths), width, inputs, generator=rng)
    labels = torch.randint(0, 2, (len(lengths), width, 1), generator=rng).float()
    mask = (torch.arange(width) < torch.tensor(lengths).unsqueeze(1)).float().unsqueeze(2)
    return Rows(features, labels, mask if padded else None)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    padded=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_a_step_is_that_of_the_definition(lengths, hidden, padded, seed):
    rng = torch.Generator().manual_seed(seed)
    shape = PerceptronSettings(inputs=3, hidden=tuple(hidden), batch_size=2)
    own = {
        name: torch.randn(len(lengths), *tensor.shape, generator=rng)
        for name, tensor in perceptron_layout(shape).zeros().items()
    }
    rows = rows_of(lengths, 3, rng, padded=padded)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in own.items()}
    losses = perceptron_loss(leaves, rows)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    expected = {
        name: leaf.detach() - 0.3 * gradient
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
    before = sgd_step(own, rows, 0.3)
    np.testing.assert_allclose(before, losses.detach(), rtol=1e-5, atol=1e-5)
    for name, tensor in own.items():
        np.testing.assert_allclose(tensor, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_padded_rows_and_batches_weigh_nothing():
    rows = rows_of([3, 5], 2, torch.Generator().manual_seed(0), padded=True)
    weights = rows.shares_of_batches(2)
    np.testing.assert_allclose(weights, [[2 / 3, 1 / 3, 0], [2 / 5, 2 / 5, 1 / 5]], rtol=1e-6)
