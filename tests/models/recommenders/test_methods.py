"""Each method in a block of phones against one phone after another: the slow truth."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from models.recommenders import fcf, fedncf, fedrecon, pfedrec
from models.recommenders.examples import Drawn
from models.recommenders.method import ITEMS, Method, Rates
from models.recommenders.methods import TITLES, method_of
from tests.models.recommenders.made_up import LENGTHS, METHODS, NUM_ITEMS, SEED, sampler

MODULES: dict[str, ModuleType] = {
    "pfedrec": pfedrec,
    "fedncf": fedncf,
    "fedrecon": fedrecon,
    "fcf": fcf,
}
IDS, PHONES = np.arange(20, 26), 50


def drawn_for(name: str, users: np.ndarray, round_number: int = 1) -> Drawn:
    draws = sampler(num_negatives=0 if name == "fcf" else 4)
    return Drawn.of(draws, users, (SEED, round_number, IDS[users]))


def personal(method: Method) -> torch.Tensor:
    """Not where they begin: some rounds later."""
    start = method.personal_start(SEED, IDS)
    rng = np.random.default_rng(3)
    return start + torch.from_numpy(rng.normal(0, 0.3, start.shape).astype(np.float32))


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", METHODS)
def test_a_block_is_one_phone_after_another(name: str, epochs: int):
    settings, rates = METHODS[name], Rates(epochs, 0.3, 0.4)
    method = method_of(settings)
    shared, own = method.start(NUM_ITEMS, SEED), personal(method)
    local = method.examples(drawn_for(name, np.arange(6)), rates)
    trained = method.train(shared, own, local, rates, PHONES)
    train_one: Callable = MODULES[name].train_one
    for device in range(6):
        batches = [local.batch(device, step) for step in range(local.num_steps)]
        moved, kept = train_one(settings, shared, own[device], batches, rates, PHONES)
        assert any(tensor.abs().max() > 1e-4 for tensor in moved.values()) or LENGTHS[device] == 1
        for key, tensor in trained.moved.items():
            whole = local.spread(tensor) if key in trained.by_row else tensor
            torch.testing.assert_close(whole[device], moved[key], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(trained.personal[device], kept, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_company_changes_nothing(name: str):
    settings, rates = METHODS[name], Rates(2, 0.3, 0.4)
    method = method_of(settings)
    shared, own = method.start(NUM_ITEMS, SEED), personal(method)
    together = method.examples(drawn_for(name, np.arange(6)), rates)
    alone = method.examples(drawn_for(name, np.array([3])), rates)
    of_all = method.train(shared, own, together, rates, PHONES)
    of_one = method.train(shared, own[3:4], alone, rates, PHONES)
    for key, tensor in of_one.moved.items():
        both = (
            (together.spread(of_all.moved[key])[3], alone.spread(tensor)[0])
            if key in of_one.by_row
            else (of_all.moved[key][3], tensor[0])
        )
        torch.testing.assert_close(*both, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(of_all.personal[3], of_one.personal[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_training_lowers_the_loss(name: str):
    settings, rates = METHODS[name], Rates(1, {"fcf": 0.02, "fedrecon": 20.0}.get(name, 1.0), 0.5)
    method = method_of(settings)
    shared, own = method.start(NUM_ITEMS, SEED), method.personal_start(SEED, IDS)
    losses = []
    for _ in range(15):
        local = method.examples(drawn_for(name, np.arange(6)), rates)
        trained = method.train(shared, own, local, rates, 6)
        losses.append(float(trained.losses.mean()))
        own = trained.personal
        shared = {
            key: shared[key]
            + (
                local.weighted_sum(tensor, torch.full((6,), 1 / 6))
                if key in trained.by_row
                else tensor.mean(dim=0)
            )
            for key, tensor in trained.moved.items()
        }
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", METHODS)
def test_layout_start_and_scores_fit(name: str):
    method, rates = method_of(METHODS[name]), Rates(1, 0.1, 0.1)
    shared = method.start(NUM_ITEMS, SEED)
    assert len(method.layout(NUM_ITEMS).flatten(shared)) == method.layout(NUM_ITEMS).size
    local = method.serving_examples(drawn_for(name, np.arange(6)), rates)
    scores = method.scores(shared, personal(method), local, rates)
    assert scores.shape == (6, NUM_ITEMS)
    assert torch.isfinite(scores).all()
    assert name in TITLES


def test_pfedrec_ranks_with_the_items_it_has_tuned_itself():
    settings, rates = METHODS["pfedrec"], Rates(1, 0.3, 0.4)
    method = method_of(settings)
    shared, own = method.start(NUM_ITEMS, SEED), personal(method)
    local = method.serving_examples(drawn_for("pfedrec", np.arange(6)), rates)
    scores = method.scores(shared, own, local, rates)
    for device in range(6):
        batches = [local.batch(device, step) for step in range(local.num_steps)]
        moved, kept = pfedrec.train_one(settings, shared, own[device], batches, rates)
        expected = (shared[ITEMS] + moved[ITEMS]) @ kept[:-1] + kept[-1]
        torch.testing.assert_close(scores[device], expected, atol=1e-5, rtol=1e-5)


def test_fedrecon_keeps_nothing_and_reads_the_query_half_only_for_the_items():
    settings, rates = METHODS["fedrecon"], Rates(1, 0.3, 0.4)
    method = method_of(settings)
    assert method.personal_size == 0
    local = method.examples(drawn_for("fedrecon", np.arange(6)), rates)
    trained = method.train(method.start(NUM_ITEMS, SEED), personal(method), local, rates, PHONES)
    moved = trained.moved[ITEMS].abs().sum(dim=2) > 0
    assert not (moved & (local.counts[:, fedrecon.QUERY] == 0)).any()


def test_fcf_phones_together_have_the_gradient_of_the_whole_cost():
    """Each carries its share of the penalty on items: the sum over all is -dJ/dY of [1]."""
    settings, rates = METHODS["fcf"], Rates(1, 1.0, 0.0)
    method = method_of(settings)
    local = method.examples(drawn_for("fcf", np.arange(6)), rates)
    items = method.start(NUM_ITEMS, SEED)[ITEMS]
    users = fcf.user_factors(settings, items, local).double()
    chosen = sampler().histories.seen(np.arange(6), NUM_ITEMS)
    wanted = torch.from_numpy(chosen).double()
    leaf = items.double().requires_grad_()
    cost = ((1 + settings.alpha * wanted) * (wanted - users @ leaf.T) ** 2).sum()
    cost = cost + settings.l2 * leaf.square().sum()
    (gradient,) = torch.autograd.grad(cost, leaf)
    trained = method.train({ITEMS: items}, torch.empty(6, 0), local, rates, 6)
    summed = trained.moved[ITEMS].sum(dim=0)
    torch.testing.assert_close(summed, -gradient.float(), atol=1e-4, rtol=1e-4)
