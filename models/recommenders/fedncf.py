"""FedNCF: neural collaborative filtering whose user vectors stay on the phones [1].

    h_0 = [p_u, q_i]      h_l = relu(W_l h_(l-1) + b_l)      s_i = w . h_L + b       NCF's MLP [2]
    p_u                   stays on the phone
    q, W, b, w            SGD on the phone's examples, then a mean over phones

A phone's steps start from the shared parameters and its own p_u. [1] trains with Adam, and averages
an item's row over those who touched it ("MF-FedAvg"); here it is plain SGD and a plain mean over
all phones, with a rate of its own for items (`item_rate_factor`), as codes that compare with FedNCF
do. Its full settings were not at hand; ours are chosen on validation items.

The first layer is cut in two, W_1 [p, q] = A p + C q, so that the half of the user is worked out
once and not once for every item.

[1] V. Perifanis, P. Efraimidis, "Federated Neural Collaborative Filtering", KBS 242, 2022.
[2] X. He et al., "Neural Collaborative Filtering", WWW 2017, equation 10.
"""

import itertools
import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.parameters import Layout
from models.recommenders.examples import Drawn, LocalExamples
from models.recommenders.method import ITEMS, Method, Rates, Shared, Trained
from models.recommenders.settings import FedNcfSettings
from models.seeds import generator, uniforms


def fedncf(settings: FedNcfSettings) -> Method:
    """The method with these settings."""
    return Method(
        layout=partial(layout, settings),
        start=partial(start, settings),
        is_dense=False,
        personal_size=settings.dim,
        personal_start=partial(personal_start, settings),
        examples=partial(examples, settings),
        serving_examples=nothing,
        train=partial(train, settings),
        scores=partial(scores, settings),
    )


def layout(settings: FedNcfSettings, num_items: int) -> Layout:
    """Item vectors (N, dim), and weight_1 (hidden, 2 dim), bias_1 (hidden,), ..."""
    shapes: dict[str, tuple[int, ...]] = {ITEMS: (num_items, settings.dim)}
    for layer, (inputs, outputs) in enumerate(_sizes(settings), start=1):
        shapes |= {f"weight_{layer}": (outputs, inputs), f"bias_{layer}": (outputs,)}
    names = tuple(sorted(shapes))
    return Layout(names, tuple(shapes[name] for name in names))


def _sizes(settings: FedNcfSettings) -> list[tuple[int, int]]:
    return list(itertools.pairwise((2 * settings.dim, *settings.hidden, 1)))


def start(settings: FedNcfSettings, num_items: int, seed: int) -> Shared:
    """Vectors from N(0, start_scale^2); layers uniform in +-1 / sqrt(inputs), as torch's."""
    shapes = layout(settings, num_items)
    shared: Shared = {}
    for name, shape in zip(shapes.names, shapes.shapes, strict=True):
        rng = generator(seed, f"start of {name}")
        if name == ITEMS:
            values = settings.start_scale * rng.standard_normal(shape)
        else:
            inputs = _sizes(settings)[int(name.rpartition("_")[2]) - 1][0]
            values = rng.uniform(-1, 1, shape) / math.sqrt(inputs)
        shared[name] = torch.from_numpy(values.astype(np.float32))
    return shared


def personal_start(settings: FedNcfSettings, seed: int, device_ids: NDArray[np.integer]) -> Tensor:
    """Each device's own vector, uniform with standard deviation start_scale, (B, dim)."""
    drawn = uniforms(seed, "start of a user", device_ids[:, None], np.arange(settings.dim))
    values = settings.start_scale * math.sqrt(12) * (drawn - 0.5)
    return torch.from_numpy(values.astype(np.float32))


def examples(settings: FedNcfSettings, drawn: Drawn, rates: Rates) -> LocalExamples:
    """Batches in random order, each epoch anew."""
    return drawn.in_batches(settings.batch_size, rates.local_epochs)


def nothing(drawn: Drawn, rates: Rates) -> LocalExamples:
    """A phone ranks with what it was sent and its own vector."""
    return drawn.together()


def _scored(shared: Shared, user: Tensor, items: Tensor) -> Tensor:
    """S of B devices for items (B, L, dim), each device's layers its own; (B, L)."""
    dim, layers = user.shape[1], sum(name.startswith("weight_") for name in shared)
    first, bias = shared["weight_1"], shared["bias_1"]  # (B, hidden, 2 dim), (B, hidden)
    of_user = torch.baddbmm(bias.unsqueeze(1), user.unsqueeze(1), first[:, :, :dim].mT)
    hidden = torch.baddbmm(of_user, items, first[:, :, dim:].mT).relu()
    for layer in range(2, layers + 1):
        bias = shared[f"bias_{layer}"].unsqueeze(1)
        hidden = torch.baddbmm(bias, hidden, shared[f"weight_{layer}"].mT)
        hidden = hidden.relu() if layer < layers else hidden
    return hidden.squeeze(2)


def train(
    settings: FedNcfSettings,
    shared: Shared,
    personal: Tensor,
    local: LocalExamples,
    rates: Rates,
    num_phones: int = 1,
) -> Trained:
    """SGD of B devices at once; autograd, as no device's loss depends on another's parameters."""
    count = len(personal)
    begin = {
        name: local.take(tensor) if name == ITEMS else tensor.repeat(count, *[1] * tensor.ndim)
        for name, tensor in shared.items()
    }
    own, user, losses = dict(begin), personal, torch.zeros(count)
    rate_of = dict.fromkeys(own, rates.rate)
    rate_of[ITEMS] = rates.rate * local.num_items * settings.item_rate_factor
    for step in range(local.num_steps):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        one = user.detach().requires_grad_()
        with torch.enable_grad():
            each = local.loss(step, _scored(leaves, one, leaves[ITEMS]))
            grads = torch.autograd.grad(each.sum(), [one, *leaves.values()])
        losses = each.detach() if step == 0 else losses
        user = one.detach() - rates.personal_rate * grads[0]
        own = {
            name: leaf.detach() - rate_of[name] * grad
            for (name, leaf), grad in zip(leaves.items(), grads[1:], strict=True)
        }
    moved = {name: tensor - begin[name] for name, tensor in own.items()}
    return Trained(losses, moved, frozenset({ITEMS}), user)


def scores(
    settings: FedNcfSettings, shared: Shared, personal: Tensor, local: LocalExamples, rates: Rates
) -> Tensor:
    """Scores of the catalogue by the shared layers, (B, N)."""
    whole = {name: tensor.expand(len(personal), *tensor.shape) for name, tensor in shared.items()}
    return _scored(whole, personal, whole[ITEMS])


def train_one(
    settings: FedNcfSettings,
    shared: Shared,
    personal: Tensor,
    batches: list[tuple[Tensor, Tensor]],
    rates: Rates,
    num_phones: int = 1,
) -> tuple[Shared, Tensor]:
    """The definition: one phone, example by example, the layers one after another.

    Arguments and result as `models.recommenders.pfedrec.train_one`.
    """
    own, user = {name: tensor.clone() for name, tensor in shared.items()}, personal.clone()
    for chosen, labels in batches:
        if not len(chosen):
            continue
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        one = user.detach().requires_grad_()
        hidden = torch.cat([one.expand(len(chosen), -1), leaves[ITEMS][chosen]], dim=1)
        layers = len(settings.hidden) + 1
        for layer in range(1, layers + 1):
            hidden = F.linear(hidden, leaves[f"weight_{layer}"], leaves[f"bias_{layer}"])
            hidden = hidden.relu() if layer < layers else hidden
        loss = F.binary_cross_entropy_with_logits(hidden.squeeze(1), labels)
        grads = torch.autograd.grad(loss, [one, *leaves.values()])
        user = one.detach() - rates.personal_rate * grads[0]
        own = {
            name: leaf.detach()
            - rates.rate * (len(leaf) * settings.item_rate_factor if name == ITEMS else 1.0) * grad
            for (name, leaf), grad in zip(leaves.items(), grads[1:], strict=True)
        }
    return {name: tensor - shared[name] for name, tensor in own.items()}, user
