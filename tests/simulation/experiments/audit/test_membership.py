"""Members are told from their loss and from their own update, and not through enough noise."""

import numpy as np
import pytest

from clients.recommender_training import train_devices
from models.errors import SettingsError
from simulation.experiments.audit.findings import area_under_curve
from simulation.experiments.audit.membership import (
    MembershipAttack,
    RoundTrials,
    device_losses,
    halves,
    infer_membership,
    lira,
    train_shadows,
)
from simulation.experiments.audit.target import Target
from tests.tiny_world import NUM_DEVICES, RECOMMENDER, SEED

ATTACK = MembershipAttack(
    shadows=6, rounds=4, chance=0.5, noise=(0.0, 50.0), candidates=38, trials=12
)


def test_every_device_is_in_half_of_the_shadows():
    member = halves(NUM_DEVICES, 8, SEED)
    assert member.shape == (8, NUM_DEVICES)
    np.testing.assert_array_equal(member.sum(axis=0), 4)
    assert len(np.unique(member, axis=1).T) > 10
    with pytest.raises(SettingsError, match="take an even number"):
        halves(NUM_DEVICES, 7, SEED)


def made_up_losses(effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Devices of very unlike difficulty, whose loss is a little lower where they were in."""
    rng = np.random.default_rng(4)
    member = halves(300, 16, SEED)
    difficulty, shadow = rng.normal(5, 2, 300), rng.normal(0, 0.5, (16, 1))
    noise = 0.1 * rng.normal(size=(16, 300))
    return difficulty + shadow + noise - effect * member, member


def test_lira_finds_what_one_threshold_for_all_does_not():
    losses, member = made_up_losses(effect=0.2)
    found = {
        name: area_under_curve(scores[member], scores[~member])
        for name, scores in lira(losses, member).items()
    }
    assert found["LiRA"] > 0.85 and found["LiRA, offline"] > 0.8
    assert found["loss"] < 0.6


def test_lira_finds_nothing_where_there_is_nothing():
    losses, member = made_up_losses(effect=0.0)
    for name, scores in lira(losses, member).items():
        assert abs(area_under_curve(scores[member], scores[~member]) - 0.5) < 0.03, name


def test_the_loss_of_a_device_is_that_of_its_training(target: Target):
    shard, rows = target.shard(), np.arange(1, 9)
    task = target.task(target.final, 1)
    trained = train_devices(shard, rows, target.named(target.final), task, RECOMMENDER, SEED)
    found = device_losses(target, shard, target.final)[rows]
    np.testing.assert_allclose(found, trained.updates.losses.numpy(), atol=1e-5)


def test_a_round_gives_its_members_away_unless_it_is_noised(target: Target):
    rounds = RoundTrials.draw(target, ATTACK)
    assert rounds.member.shape == (12, 38)
    clear, hidden = rounds.scores(0.0, SEED), rounds.scores(50.0, SEED)
    inside = rounds.member
    assert area_under_curve(clear[inside], clear[~inside]) > 0.8
    assert abs(area_under_curve(hidden[inside], hidden[~inside]) - 0.5) < 0.1


def test_shadow_models_learn_from_their_own_half(target: Target, scratch):
    losses, member = train_shadows(target, ATTACK, 0.0, scratch)
    assert losses.shape == member.shape == (6, NUM_DEVICES)
    centred = losses - losses.mean(axis=0)
    assert centred[member].mean() < centred[~member].mean()
    assert len({tuple(row) for row in losses}) == 6


def test_every_shadow_has_noise_of_its_own(target: Target, scratch):
    """With the noise of the attacked run in all of them the attacker would take it out."""
    losses, member = train_shadows(target, ATTACK, 50.0, scratch)
    scores = lira(losses, member)["LiRA, offline"]
    assert abs(area_under_curve(scores[member], scores[~member]) - 0.5) < 0.15
    finals = [np.load(path) for path in sorted(scratch.glob("*/final.npy"))]
    moved = [final - target.initial for final in finals]
    assert np.abs(np.corrcoef(moved) - np.eye(len(moved))).max() < 0.3


def test_the_table_has_every_attack_at_every_noise(target: Target, scratch):
    found = infer_membership(target, ATTACK, scratch)
    assert [(row["attacked"], row["noise"]) for row in found.rows] == [
        *[("final model", 0.0)] * 3,
        *[("final model", 50.0)] * 3,
        ("one round", 0.0),
        ("one round", 50.0),
    ]
    assert all(row["AUC low"] <= row["AUC"] <= row["AUC high"] for row in found.rows)
