"""Lying devices push an item through a plain mean, and not through what bounds or outvotes them."""

import numpy as np
import pytest
import torch

from models.errors import SettingsError
from models.seeds import generator
from simulation.experiments.audit.poisoning import (
    HONEST,
    PROMOTION,
    SCALED,
    SIGN_FLIP,
    Harm,
    PoisonAttack,
    cohort_updates,
    defences,
    lies,
    play_with_liars,
    poison,
    promoted_item,
    promotion,
)
from simulation.experiments.audit.scratch_runs import play, prepare_scratch
from simulation.experiments.audit.target import Target
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, SEED

ATTACK = PoisonAttack(
    share=0.15,
    boost=20.0,
    rounds=3,
    cohort=20,
    trimmed=0.2,
    unpopular=0.0,
    combinations=("mean", "clipped mean", "trimmed mean", "median", "Krum", "Multi-Krum"),
    lies=(HONEST, PROMOTION),
    steps=("fedavg",),
)
ALL_LIES = ATTACK.model_copy(update={"lies": (HONEST, SIGN_FLIP, SCALED, PROMOTION)})


def test_without_lies_the_clipped_mean_is_the_products_own_run(target: Target, scratch):
    (clipped_mean,) = [one for one in defences(ATTACK) if one.name == "clipped mean"]
    honest = lies(target, ATTACK, 0)[HONEST]
    ours, taste = play_with_liars(target, ATTACK, honest, clipped_mean)
    cohorts = [
        np.sort(generator(SEED, "attacked cohort", number).permutation(NUM_DEVICES)[:20])
        for number in range(1, 4)
    ]
    folder = prepare_scratch(target, scratch / "own", cohorts, cohort_size=20)
    np.testing.assert_allclose(ours, play(folder), atol=1e-5)
    assert np.abs(ours - target.initial).max() > 1e-3 and np.abs(taste).max() > 0


def test_a_promoted_item_gets_through_a_mean_and_not_through_the_median(target: Target):
    found = poison(target, ATTACK)
    assert {row["server's step"] for row in found.rows} == {"fedavg"}
    rows = {(row["combination"], row["lie"]): row for row in found.rows}
    assert len(rows) == 12
    quiet = rows["mean", HONEST]["exposure"]
    assert quiet < 0.5
    assert rows["mean", PROMOTION]["exposure"] == 1.0
    for careful in ("trimmed mean", "median"):
        assert rows[careful, PROMOTION]["exposure"] <= quiet + 0.2, careful
    # Equal lies are their own nearest neighbours: Krum's choice is no protection against friends.
    assert rows["Multi-Krum", PROMOTION]["exposure"] < 1.0


def test_lies_are_what_they_are_called(target: Target):
    honest = np.random.default_rng(0).normal(size=(3, target.trained.size))
    told = {name: lie(honest, target.initial) for name, lie in lies(target, ALL_LIES, 7).items()}
    np.testing.assert_array_equal(told[HONEST], honest)
    np.testing.assert_array_equal(told[SIGN_FLIP], -20 * honest)
    np.testing.assert_array_equal(told[SCALED], 20 * honest)
    clip_norm = target.cloud.federation.training.clip_norm
    np.testing.assert_allclose(np.linalg.norm(told[PROMOTION], axis=1), 20 * clip_norm)
    assert (told[PROMOTION] == told[PROMOTION][0]).all()


def test_a_promotion_has_length_one_and_touches_one_item(target: Target):
    direction = promotion(target, target.initial, 7)
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert np.count_nonzero(direction) == 1 + target.devices.recommender.dim


def test_the_promoted_item_is_at_its_place_by_popularity(target: Target):
    events = target.shard().events.cut(np.arange(NUM_DEVICES))[0].items
    counts = np.bincount(events, minlength=NUM_ITEMS)
    assert counts[promoted_item(target, ATTACK)] == counts.min()
    most = ATTACK.model_copy(update={"unpopular": 1.0})
    assert counts[promoted_item(target, most)] == counts.max()


def test_exposure_counts_those_who_have_not_chosen_it(target: Target):
    shared = target.layout.unflatten(torch.zeros(target.layout.size))
    shared["item_bias"][3] = 1.0
    taste = np.zeros((NUM_DEVICES, 8), np.float32)
    harm = Harm.of(target, target.layout.flatten(shared).numpy(), taste, 3)
    seen = target.shard().events.cut(np.arange(NUM_DEVICES))[0].seen(np.arange(NUM_DEVICES), 60)
    assert len(harm.exposed) == NUM_DEVICES - seen[:, 3].sum()
    assert harm.exposed.mean() == 1.0
    assert len(harm.ndcg) == (target.shard().events.held_out >= 0).sum()


def test_a_model_that_was_destroyed_is_judged_and_is_worth_little(target: Target):
    nothing = np.full(target.layout.size, np.nan, np.float32)
    harm = Harm.of(target, nothing, np.zeros((NUM_DEVICES, 8), np.float32), 3)
    assert harm.ndcg.max() == harm.exposed.max() == 0.0 and harm.ndcg.size > 30


def test_cohorts_do_not_depend_on_the_attack(target: Target):
    shard = target.shard()
    one = cohort_updates(target, ATTACK, shard, target.initial, 1)
    assert one.shape == (20, target.trained.size) and (np.abs(one).sum(axis=1) > 0).mean() > 0.9


def test_what_cannot_be_attacked_is_refused(target: Target):
    with pytest.raises(SettingsError, match="choose among mean, clipped mean"):
        poison(target, ATTACK.model_copy(update={"combinations": ("mode",)}))
    with pytest.raises(SettingsError, match="choose among nobody lies, sign flip"):
        poison(target, ATTACK.model_copy(update={"lies": ("half a truth",)}))
    with pytest.raises(SettingsError, match="the run has 40 devices"):
        poison(target, ATTACK.model_copy(update={"cohort": 41}))
    with pytest.raises(SettingsError, match="Krum with 8 feared devices needs 19 updates"):
        one = ATTACK.model_copy(update={"share": 0.45, "cohort": 18, "combinations": ("Krum",)})
        poison(target, one)
