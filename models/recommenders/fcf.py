"""FCF: implicit ALS whose user half is solved on the phone [1].

    J   = sum_u sum_i c_ui (p_ui - x_u . y_i)^2 + l2 (sum |x_u|^2 + sum |y_i|^2)
          p_ui = 1 for a chosen item, else 0;  c_ui = 1 + alpha p_ui               Hu et al. [2]
    x_u = (Y' C_u Y + l2 I)^-1 Y' C_u p_u                    solved on the phone   [2], equation 4
    f_ui = c_ui (p_ui - x_u . y_i) x_u                       sent for every item i
    dJ/dy_i = -2 sum_u f_ui + 2 l2 y_i                       the cloud's gradient, for Adam

Y'C_uY = Y'Y + alpha sum over chosen y y', so a phone works out Y'Y once and adds what it has
chosen. No negative is sampled: every item that was not chosen in training is a weak one, the
held-out item too, so there is nothing to leak and no second sampler. What a phone sends is dense,
one row for every item of the catalogue.

Each phone carries 1 / number of phones of the penalty, so that sums over phones are the whole
gradient when all take part. The settings of [1] for MovieLens were not at hand: ours are chosen on
validation items.

[1] M. Ammad-ud-din et al., "Federated Collaborative Filtering for Privacy-Preserving Personalized
    Recommendation System", arXiv 1901.09888, 2019.
[2] Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM
    2008.
"""

from functools import partial

import torch
from torch import Tensor

from models.recommenders.examples import Drawn, LocalExamples
from models.recommenders.item_table import item_layout, normal_items, nothing_personal
from models.recommenders.method import ITEMS, Method, Rates, Shared, Trained
from models.recommenders.settings import FcfSettings


def fcf(settings: FcfSettings) -> Method:
    """The method with these settings."""
    return Method(
        layout=partial(item_layout, settings.dim),
        start=partial(normal_items, settings.start_scale, settings.dim),
        is_dense=True,
        personal_size=0,
        personal_start=nothing_personal,
        examples=positives,
        serving_examples=positives,
        train=partial(train, settings),
        scores=partial(scores, settings),
    )


def positives(drawn: Drawn, rates: Rates) -> LocalExamples:
    """What was chosen; negatives are of no use."""
    return drawn.together()


def user_factors(settings: FcfSettings, items: Tensor, local: LocalExamples) -> Tensor:
    """x_u of B devices by a batched Cholesky solve, (B, dim)."""
    chosen = (local.positives[:, 0] > 0).to(items.dtype).unsqueeze(2)  # (B, L, 1)
    own = local.take(items) * chosen
    dense = items.T @ items + settings.l2 * torch.eye(items.shape[1])
    matrix = torch.baddbmm(dense.unsqueeze(0), own.mT, own, alpha=settings.alpha)
    wanted = (1 + settings.alpha) * own.sum(dim=1).unsqueeze(2)
    return torch.cholesky_solve(wanted, torch.linalg.cholesky(matrix)).squeeze(2)


def train(
    settings: FcfSettings,
    shared: Shared,
    personal: Tensor,
    local: LocalExamples,
    rates: Rates,
    num_phones: int = 1,
) -> Trained:
    """Solve for the users, and send rate * -dJ_u/dY of each; `rate` is 1 in the paper."""
    items = shared[ITEMS]
    users = user_factors(settings, items, local)
    at = users @ items.T  # (B, N)
    chosen = local.spread((local.positives[:, 0] > 0).to(at.dtype))
    weighted = torch.where(chosen > 0, (1 + settings.alpha) * (1 - at), -at)  # c (p - x . y)
    moved = 2 * weighted.unsqueeze(2) * users.unsqueeze(1)
    moved -= 2 * settings.l2 / num_phones * items
    error = torch.where(chosen > 0, (1 + settings.alpha) * (1 - at) ** 2, at**2).mean(dim=1)
    return Trained(error, {ITEMS: rates.rate * moved}, frozenset(), personal)


def scores(
    settings: FcfSettings, shared: Shared, personal: Tensor, local: LocalExamples, rates: Rates
) -> Tensor:
    """x_u . y_i with the factors solved on what the phone has chosen, (B, N)."""
    return user_factors(settings, shared[ITEMS], local) @ shared[ITEMS].T


def train_one(
    settings: FcfSettings,
    shared: Shared,
    personal: Tensor,
    batches: list[tuple[Tensor, Tensor]],
    rates: Rates,
    num_phones: int = 1,
) -> tuple[Shared, Tensor]:
    """The definition: one phone, J written out over the whole catalogue, torch's own gradient.

    Arguments and result as `models.recommenders.pfedrec.train_one`; the one batch is what was
    chosen.
    """
    items = shared[ITEMS].double().clone().requires_grad_()
    wanted = torch.zeros(len(items), dtype=torch.float64)
    wanted[batches[0][0]] = 1.0
    confidence = 1 + settings.alpha * wanted
    with torch.no_grad():
        matrix = items.T @ (confidence.unsqueeze(1) * items)
        matrix += settings.l2 * torch.eye(items.shape[1], dtype=torch.float64)
        user = torch.linalg.solve(matrix, items.T @ (confidence * wanted))
    cost = (confidence * (wanted - items @ user) ** 2).sum()
    cost = cost + settings.l2 / num_phones * items.square().sum()
    (grad,) = torch.autograd.grad(cost, items)
    return {ITEMS: (-rates.rate * grad).float()}, personal
