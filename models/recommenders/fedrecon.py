"""FedRecon: the phone's part of the model is worked out anew in every round [1].

    s_i = l_u . g_i                       l_u the user's vector, g the shared item vectors
    l_u <- 0, then k_r steps on the support half, g held        (reconstruction)
    g_u <- k_u steps on the query half, l_u held                (client update)
    g   <- g + eta_s * mean over phones of (g_u - g)

This is algorithm 1 of [1] for matrix factorization. Nothing stays on a phone: one that was never
seen reconstructs its vector as well as any other. Before it ranks, a phone reconstructs from all
that it knows. The paper trains on ratings with a squared error; here every choice is a positive
with sampled negatives and binary cross-entropy, as in the other methods. The start at 0 and the
halves drawn anew in each round are ours.

[1] K. Singhal et al., "Federated Reconstruction: Partially Local Federated Learning", NeurIPS 2021.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.recommenders.examples import Drawn, LocalExamples
from models.recommenders.item_table import item_layout, normal_items, nothing_personal
from models.recommenders.method import ITEMS, Method, Rates, Shared, Trained
from models.recommenders.settings import FedReconSettings

SUPPORT, QUERY = 0, 1


def fedrecon(settings: FedReconSettings) -> Method:
    """The method with these settings."""
    return Method(
        layout=partial(item_layout, settings.dim),
        start=partial(normal_items, settings.start_scale, settings.dim),
        is_dense=False,
        personal_size=0,
        personal_start=nothing_personal,
        examples=halves,
        serving_examples=everything,
        train=partial(train, settings),
        scores=partial(scores, settings),
    )


def halves(drawn: Drawn, rates: Rates) -> LocalExamples:
    """Support and query."""
    return drawn.in_halves()


def everything(drawn: Drawn, rates: Rates) -> LocalExamples:
    """All that the phone knows, as support."""
    return drawn.together()


def reconstruct(
    settings: FedReconSettings, own: Tensor, local: LocalExamples, rates: Rates
) -> Tensor:
    """The users' vectors from the support, items (B, L, dim) held; (B, dim, 1)."""
    user = torch.zeros(len(own), own.shape[2], 1)
    for _ in range(settings.reconstruction_steps):
        slope = local.slope(SUPPORT, torch.bmm(own, user).squeeze(2))
        user = torch.baddbmm(user, own.mT, slope.unsqueeze(2), alpha=-rates.personal_rate)
    return user


def train(
    settings: FedReconSettings,
    shared: Shared,
    personal: Tensor,
    local: LocalExamples,
    rates: Rates,
    num_phones: int = 1,
) -> Trained:
    """Reconstruct on the support, update the items on the query, for B devices at once."""
    before = local.take(shared[ITEMS])
    user, own = reconstruct(settings, before, local, rates), before.clone()
    losses = torch.zeros(len(own))
    for epoch in range(rates.local_epochs):
        at = torch.bmm(own, user).squeeze(2)
        losses = local.loss(QUERY, at) if epoch == 0 else losses
        own.baddbmm_(local.slope(QUERY, at).unsqueeze(2), user.mT, alpha=-rates.rate)
    return Trained(losses, {ITEMS: own - before}, frozenset({ITEMS}), personal)


def scores(
    settings: FedReconSettings, shared: Shared, personal: Tensor, local: LocalExamples, rates: Rates
) -> Tensor:
    """Scores of the catalogue with a vector reconstructed from all examples, (B, N)."""
    user = reconstruct(settings, local.take(shared[ITEMS]), local, rates)
    return user.squeeze(2) @ shared[ITEMS].T


def train_one(
    settings: FedReconSettings,
    shared: Shared,
    personal: Tensor,
    batches: list[tuple[Tensor, Tensor]],
    rates: Rates,
    num_phones: int = 1,
) -> tuple[Shared, Tensor]:
    """The definition: one phone, example by example, torch's own gradients.

    Arguments and result as `models.recommenders.pfedrec.train_one`; the batches are support and
    query.
    """
    items, user = shared[ITEMS].clone(), torch.zeros(settings.dim)
    for _ in range(settings.reconstruction_steps):
        user.requires_grad_()
        (grad,) = torch.autograd.grad(_loss(items, user, *batches[SUPPORT]), user)
        user = (user - rates.personal_rate * grad).detach()
    for _ in range(rates.local_epochs if len(batches[QUERY][0]) else 0):
        items.requires_grad_()
        (grad,) = torch.autograd.grad(_loss(items, user, *batches[QUERY]), items)
        items = (items - rates.rate * grad).detach()
    return {ITEMS: items - shared[ITEMS]}, personal


def _loss(items: Tensor, user: Tensor, chosen: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(items[chosen] @ user, labels)
