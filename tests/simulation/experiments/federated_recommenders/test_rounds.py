"""The rounds of a study: against the Flower apps, over nodes and seeds, and what is held back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.job import DEVICE_JOB_FILE, CitedMethod, DeviceJob
from clients.personal import PersonalStore
from clients.shard import DeviceShard
from models.errors import SettingsError
from models.recommenders.methods import method_of
from server.cohorts import CohortPlan
from server.history import History
from server.settings import SERVER_JOB_FILE, ServerJob
from simulation.data.splits import SplitSettings
from simulation.engines.inline import run_inline
from simulation.experiments.federated_recommenders.rounds import (
    HeldBack,
    RecommenderResult,
    run_recommender,
)
from simulation.experiments.federated_recommenders.settings import RecommenderRun
from tests.models.recommenders.made_up import METHODS
from tests.simulation.data.made_up import interactions
from tests.simulation.experiments.federated_recommenders.tiny_runs import tiny_run
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, SEED, TinyWorld, federation

SPLIT = SplitSettings(
    rule="leave-last-out",
    ties="first-row",
    fraction=0.1,
    target="test",
    cold_items=0,
    cold_users=0,
    cold_user_events=5,
)


def parts_of(tiny: TinyWorld) -> HeldBack:
    """What lies in the tiny world, nothing held back for validation."""
    shard: DeviceShard = tiny.shard()
    histories, test = shard.events.cut(np.arange(NUM_DEVICES))
    held_out = np.stack([test, np.full_like(test, -1)], axis=1)
    return HeldBack(histories, held_out, NUM_ITEMS, "")


def everybody(rounds: int) -> CohortPlan:
    """A plan in which all phones report in every round."""
    invited = np.tile(np.arange(NUM_DEVICES), rounds)
    return CohortPlan(
        NUM_DEVICES * np.arange(rounds + 1),
        invited,
        np.zeros(len(invited), np.int8),
        np.repeat(np.arange(rounds), NUM_DEVICES),
        np.zeros(rounds),
        np.ones(rounds),
    )


def under_flower(tiny: TinyWorld, run: RecommenderRun, num_nodes: int) -> Path:
    """The same run, prepared for the two Flower apps, and played."""
    settings = federation(num_nodes, run.rounds, run.optimizer.name).model_copy(
        update={"training": run.training, "optimizer": run.optimizer, "cohort_size": NUM_DEVICES}
    )
    folder = tiny.prepare_run(f"flower-{num_nodes}", federation(num_nodes, run.rounds))
    method = method_of(run.method)
    layout = method.layout(NUM_ITEMS)
    PersonalStore.create(folder / "taste.npy", NUM_DEVICES, max(1, method.personal_size))
    np.save(folder / "initial.npy", layout.flatten(method.start(NUM_ITEMS, SEED)).numpy())
    everybody(run.rounds).write(folder / "cohorts.npz")
    phones, cloud = DeviceJob.read(folder), ServerJob.read(folder)
    cited = CitedMethod(settings=run.method, training=run.training)
    changed = cloud.model_copy(
        update={
            "num_parameters": layout.size,
            "trained": ((0, layout.size),),
            "federation": settings,
        }
    )
    (folder / DEVICE_JOB_FILE).write_text(
        phones.model_copy(update={"cited": cited}).model_dump_json()
    )
    (folder / SERVER_JOB_FILE).write_text(changed.model_dump_json())
    run_inline(folder, num_nodes)
    return folder


@pytest.mark.parametrize("num_nodes", [1, 3])
@pytest.mark.parametrize("name", METHODS)
def test_the_flower_apps_run_the_same_rounds(name: str, num_nodes: int, tiny: TinyWorld):
    run = tiny_run(name)
    ours = run_recommender(run, parts_of(tiny), SEED)
    folder = under_flower(tiny, run, num_nodes)
    history = History(folder)
    np.testing.assert_allclose(history.read_final(), ours.parameters, atol=1e-5)
    last = history.rows()[-1]
    assert last["metrics"]["full"]["ndcg@10"] == pytest.approx(
        ours.last.test.values("full")["ndcg@10"].mean(), abs=1e-9
    )


def ranks_of(result: RecommenderResult) -> np.ndarray:
    return np.concatenate([result.last.test.full, result.last.validation.full])


@pytest.fixture
def parts() -> HeldBack:
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:02d}", str(item), 100 + place)
        for user in range(20)
        for place, item in enumerate(rng.choice(40, rng.integers(3, 12), replace=False))
    ]
    return HeldBack.of(interactions(rows, [f"film {item}" for item in range(40)]), SPLIT, SEED)


@pytest.mark.parametrize("name", METHODS)
def test_nodes_change_nothing_and_seeds_do(name: str, parts: HeldBack):
    one, many = (
        run_recommender(tiny_run(name, num_nodes=nodes, cohort_share=0.5), parts, SEED)
        for nodes in (1, 7)
    )
    np.testing.assert_allclose(one.parameters, many.parameters, atol=1e-5)
    np.testing.assert_array_equal(ranks_of(one), ranks_of(many))
    other = run_recommender(tiny_run(name, cohort_share=0.5), parts, SEED + 1)
    assert np.abs(one.parameters - other.parameters).max() > 1e-3


def test_both_held_out_items_are_in_no_history_and_the_rule_says_so(parts: HeldBack):
    for user in range(20):
        mine = parts.histories.items[
            parts.histories.offsets[user] : parts.histories.offsets[user + 1]
        ]
        assert not set(mine) & set(parts.held_out[user])
        assert parts.held_out[user, 0] != parts.held_out[user, 1]
    assert "for validation" in parts.rule


def test_rows_of_the_held_out_item_do_not_move_closed_training(parts: HeldBack):
    """What is held out may be anything: closed training is the same to the bit."""
    other = replace(parts, held_out=np.full_like(parts.held_out, -1))
    run = tiny_run("pfedrec", rounds=2, evaluate_every=2)
    one = run_recommender(run, parts, SEED)
    assert len(one.last.test.full) == 20
    blind = run_recommender(run, replace(other, held_out=other.held_out[:, ::-1].copy()), SEED)
    np.testing.assert_array_equal(one.parameters, blind.parameters)
    assert len(blind.last.test.full) == 0


def test_leak_published_training_depends_on_what_is_held_out(parts: HeldBack):
    published = METHODS["pfedrec"].model_copy(update={"sampler": "published"})
    run = tiny_run("pfedrec", rounds=2, evaluate_every=2, method=published)
    one = run_recommender(run, parts, SEED)
    blind = run_recommender(run, replace(parts, held_out=np.full_like(parts.held_out, -1)), SEED)
    assert np.abs(one.parameters - blind.parameters).max() > 1e-4


def test_rounds_are_chosen_as_said(parts: HeldBack):
    result = run_recommender(tiny_run("fcf", rounds=6, evaluate_every=1), parts, SEED)
    assert [each.round_number for each in result.evaluated] == list(range(7))

    def hits(target: str, protocol: str) -> list[float]:
        return [getattr(each, target).values(protocol)["hr@10"].mean() for each in result.evaluated]

    for chosen, curve in (
        (result.chosen, hits("validation", "full")),
        (result.chosen_as_published, hits("validation", "sampled-99")),
        (result.best_on_test, hits("test", "sampled-99")),
    ):
        best = max(curve)
        assert curve[chosen.round_number] == best
        assert all(value < best for value in curve[chosen.round_number + 1 :])


def test_fewer_phones_than_nodes_is_one_clear_line(parts: HeldBack):
    with pytest.raises(SettingsError, match="num_nodes is 21, there are 20 phones"):
        run_recommender(tiny_run("fcf", num_nodes=21), parts, SEED)
