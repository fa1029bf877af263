"""PFedRec: each phone has its own score function, and its own view of the items [1].

    s_i = w_u . e_i + b_u                              w_u, b_u stay on the phone
    (w_u, b_u) <- (w_u, b_u) - eta_1 * d loss          a step on its examples, items held
    e_i        <- e_i - eta_2 * d loss                 post-tuning: at the new score function
    e          <- mean over phones of their e          the only thing that is sent

The two steps are algorithm 1 of [1], and in the authors' code [2] (train.py, engine.py) they follow
each other batch by batch: eta_1 = lr, eta_2 = lr * number of items * lr_eta. All phones begin with
the same score function. A phone ranks with the items as it has post-tuned them itself, which is the
second half of "dual personalization"; so before it ranks it takes the steps of a round, and what
comes out is not sent. The figure after round r is therefore what [2] prints for round r + 1.

[1] C. Zhang et al., "Dual Personalization on Federated Recommendation", IJCAI 2023.
[2] github.com/Zhangcx19/IJCAI-23-PFedRec, read for its settings; no line of it is here.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.recommenders.examples import Drawn, LocalExamples
from models.recommenders.item_table import item_layout, normal_items
from models.recommenders.method import ITEMS, Method, Rates, Shared, Trained
from models.recommenders.settings import PFedRecSettings
from models.seeds import generator


def pfedrec(settings: PFedRecSettings) -> Method:
    """The method with these settings."""
    return Method(
        layout=partial(item_layout, settings.dim),
        start=partial(normal_items, 1.0, settings.dim),
        is_dense=False,
        personal_size=settings.dim + 1,
        personal_start=partial(personal_start, settings),
        examples=partial(examples, settings),
        serving_examples=partial(examples, settings),
        train=partial(train, settings),
        scores=partial(scores, settings),
    )


def personal_start(settings: PFedRecSettings, seed: int, device_ids: NDArray[np.integer]) -> Tensor:
    """The same w and b for everybody, uniform in +-1 / sqrt(dim), as torch's `Linear`; (B, k)."""
    bound = 1 / math.sqrt(settings.dim)
    values = generator(seed, "start of score functions").uniform(-bound, bound, settings.dim + 1)
    return torch.from_numpy(values.astype(np.float32)).repeat(len(device_ids), 1)


def examples(settings: PFedRecSettings, drawn: Drawn, rates: Rates) -> LocalExamples:
    """Batches in random order, each epoch anew."""
    return drawn.in_batches(settings.batch_size, rates.local_epochs)


def _item_rate(settings: PFedRecSettings, num_items: int, rates: Rates) -> float:
    return rates.rate * num_items * settings.item_rate_factor


@dataclass(frozen=True, slots=True)
class _Tuned:
    """What B phones have made of the items, without a copy of them.

    After steps with slopes g_j at score functions w_j a phone's items are e - eta_2 sum_j g_j w_j'.
    So scores and gradients on them are those on the shared items, which one matrix product works
    out for all phones, and a correction of as many terms as there were steps.

    Attributes:
        items: (N + 1, dim) the shared items, and a row of zeros for padding.
        local: whose rows they are.
        slopes: g_j of the steps so far, each (B, L).
        weights: w_j of the steps so far, each (B, dim).
        item_rate: eta_2.
    """

    items: Tensor
    local: LocalExamples
    slopes: list[Tensor]
    weights: list[Tensor]
    item_rate: float

    def shared_scores(self, weight: Tensor) -> Tensor:
        """Scores w . e on the shared items, (B, N + 1)."""
        return weight @ self.items.T

    def own_scores(self, weight: Tensor, shared: Tensor) -> Tensor:
        """Scores w . e on each phone's own items, (B, L)."""
        at = shared.gather(1, self.local.rows)
        if not self.slopes:
            return at
        dots = torch.stack(self.weights, dim=1) @ weight.unsqueeze(2)  # (B, steps, 1)
        change = torch.stack(self.slopes, dim=2) @ dots
        return at.sub_(change.squeeze(2), alpha=self.item_rate)

    def gradient(self, slope: Tensor) -> Tensor:
        """What d loss / d w is on each phone's own items, from d loss / d s (B, L); (B, dim)."""
        dense = torch.zeros(len(slope), len(self.items)).scatter_(1, self.local.rows, slope)
        found = dense @ self.items
        if not self.slopes:
            return found
        dots = slope.unsqueeze(1) @ torch.stack(self.slopes, dim=2)  # (B, 1, steps)
        change = dots @ torch.stack(self.weights, dim=1)
        return found.sub_(change.squeeze(1), alpha=self.item_rate)

    def moved(self) -> Tensor:
        """What the phones have changed of their rows, (B, L, dim)."""
        slopes, weights = torch.stack(self.slopes, dim=2), torch.stack(self.weights, dim=1)
        return torch.bmm(slopes, weights).mul_(-self.item_rate)


def _tune(
    settings: PFedRecSettings,
    shared: Shared,
    personal: Tensor,
    local: LocalExamples,
    rates: Rates,
) -> tuple[_Tuned, Tensor, Tensor, Tensor]:
    """All steps of B phones at once; items, w (B, dim), b (B, 1) and losses (B,)."""
    padded = torch.cat([shared[ITEMS], torch.zeros(1, settings.dim)])
    tuned = _Tuned(padded, local, [], [], _item_rate(settings, local.num_items, rates))
    weight, bias, losses = personal[:, :-1], personal[:, -1:], torch.zeros(len(personal))
    for step in range(local.num_steps):
        at_first = tuned.own_scores(weight, tuned.shared_scores(weight)) + bias
        losses = local.loss(step, at_first) if step == 0 else losses
        slope = local.slope(step, at_first)
        weight = weight - rates.personal_rate * tuned.gradient(slope)
        bias = bias - rates.personal_rate * slope.sum(dim=1, keepdim=True)
        after = tuned.own_scores(weight, tuned.shared_scores(weight)) + bias
        tuned.slopes.append(local.slope(step, after))
        tuned.weights.append(weight)
    return tuned, weight, bias, losses


def train(
    settings: PFedRecSettings,
    shared: Shared,
    personal: Tensor,
    local: LocalExamples,
    rates: Rates,
    num_phones: int = 1,
) -> Trained:
    """Score function, then items, batch by batch, for B devices at once."""
    tuned, weight, bias, losses = _tune(settings, shared, personal, local, rates)
    kept = torch.cat([weight, bias], dim=1)
    return Trained(losses, {ITEMS: tuned.moved()}, frozenset({ITEMS}), kept)


def scores(
    settings: PFedRecSettings, shared: Shared, personal: Tensor, local: LocalExamples, rates: Rates
) -> Tensor:
    """Scores of the catalogue after a phone's own post-tuning, (B, N)."""
    tuned, weight, bias, _ = _tune(settings, shared, personal, local, rates)
    of_all = tuned.shared_scores(weight)
    return local.put_over(of_all[:, :-1], tuned.own_scores(weight, of_all)) + bias


def train_one(
    settings: PFedRecSettings,
    shared: Shared,
    personal: Tensor,
    batches: list[tuple[Tensor, Tensor]],
    rates: Rates,
    num_phones: int = 1,
) -> tuple[Shared, Tensor]:
    """The definition: one phone, example by example, torch's own gradients.

    Args:
        settings: of the method.
        shared: item vectors (N, dim).
        personal: (k,) w and b.
        batches: items (M,) and labels (M,) of each step.
        rates: how it trains.
        num_phones: of the population; not needed here.

    Returns:
        what it changed of the shared parameters, and its personal parameters afterwards.
    """
    items, own = shared[ITEMS].clone(), personal.clone()
    for chosen, labels in batches:
        if not len(chosen):
            continue
        own.requires_grad_()
        (grad,) = torch.autograd.grad(_loss(items, own, chosen, labels), own)
        own = (own - rates.personal_rate * grad).detach()
        items.requires_grad_()
        (grad,) = torch.autograd.grad(_loss(items, own, chosen, labels), items)
        items = (items - _item_rate(settings, len(items), rates) * grad).detach()
    return {ITEMS: items - shared[ITEMS]}, own


def _loss(items: Tensor, own: Tensor, chosen: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(items[chosen] @ own[:-1] + own[-1], labels)
