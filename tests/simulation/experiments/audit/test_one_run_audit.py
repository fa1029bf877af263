"""Canaries through the product's own rounds: a sound run is not accused, a broken one is caught."""

import numpy as np
import pytest

from models.errors import SettingsError
from simulation.experiments.audit.canaries import (
    Canaries,
    CanaryAttack,
    play_canaries,
    play_local_canaries,
)
from simulation.experiments.audit.one_run_audit import audit_in_one_run
from simulation.experiments.audit.target import Target
from tests.tiny_world import NUM_DEVICES

ATTACK = CanaryAttack(
    canaries=NUM_DEVICES,
    kind="dirac",
    rounds=1,
    chance=1.0,
    noise=(8.0,),
    local_noise=(16.0,),
    fault=0.02,
    delta=1e-5,
    confidence=0.95,
    guess_shares=(0.5, 1.0),
)


def test_a_run_with_a_fiftieth_of_its_noise_is_caught_and_a_sound_one_is_not(target, scratch):
    rows = audit_in_one_run(target, ATTACK, scratch).rows
    assert [row["mechanism"] for row in rows] == ["none", *["central"] * 2, *["local"] * 2]
    none = rows[0]
    assert none["epsilon, accounted"] is None and none["AUC"] == 1.0
    assert none["verdict"] == "no claim" and none["epsilon, at least"] > 1.5
    for sound, broken in (rows[1:3], rows[3:5]):
        assert sound["epsilon, accounted"] == broken["epsilon, accounted"] < 0.6
        assert sound["verdict"] == "nothing proved"
        assert broken["verdict"] == "caught" and broken["epsilon, at least"] > 1.0


def test_a_local_message_has_the_clip_norm_along_or_against_its_direction(target, scratch):
    """And the run's own personal parameters stay as they are."""
    attack, before = ATTACK.model_copy(update={"rounds": 2}), np.load(target.devices.taste)
    canaries = Canaries.draw(target, attack)
    scores, _ = play_local_canaries(target, canaries, attack, 0.0, 1.0, scratch / "quiet")
    length = 2 * target.cloud.federation.training.clip_norm
    expected = np.where(canaries.included, length, -length)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    loud, epsilon = play_local_canaries(target, canaries, attack, 3.0, 1.0, scratch / "loud")
    assert np.std(loud - expected) == pytest.approx(3.0 * length / np.sqrt(2), rel=0.4)
    assert epsilon > 0
    np.testing.assert_array_equal(np.load(target.devices.taste), before)
    assert not list(target.devices.taste.parent.glob("taste.rounds/*"))


@pytest.mark.parametrize("kind", ["dirac", "random"])
def test_a_canary_moves_the_sum_by_the_clip_norm_and_no_more(target: Target, scratch, kind):
    """It sends ten times as much; without noise the score is C / n a round, or 0."""
    attack = ATTACK.model_copy(update={"kind": kind, "rounds": 2})
    canaries = Canaries.draw(target, attack)
    scores, accounted = play_canaries(target, canaries, attack, 0.0, 1.0, scratch / "one")
    assert accounted == float("inf")
    clip_norm = target.cloud.federation.training.clip_norm
    expected = np.where(canaries.included, 2 * clip_norm / NUM_DEVICES, 0.0)
    if kind == "dirac":
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        return
    inside = canaries.included  # random directions overlap a little
    apart = scores[inside].mean() - scores[~inside].mean()
    assert apart == pytest.approx(2 * clip_norm / NUM_DEVICES, rel=0.2)


def test_sampled_rounds_are_accounted_with_amplification(target: Target, scratch):
    canaries = Canaries.draw(target, ATTACK)
    sampled = ATTACK.model_copy(update={"chance": 0.2})
    _, all_in = play_canaries(target, canaries, ATTACK, 4.0, 1.0, scratch / "all")
    _, few_in = play_canaries(target, canaries, sampled, 4.0, 1.0, scratch / "few")
    assert 0.0 < few_in < 0.5 * all_in


def test_coins_are_fair_and_directions_of_length_one(target: Target):
    canaries = Canaries.draw(target, ATTACK)
    assert 10 < canaries.included.sum() < 30
    random = Canaries.draw(target, ATTACK.model_copy(update={"kind": "random"}))
    for one in (canaries, random):
        rows = np.stack([one.direction(number) for number in range(NUM_DEVICES)])
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0)
        apart = np.abs(rows @ rows.T - np.eye(NUM_DEVICES))
        assert apart.max() < (1e-12 if one is canaries else 0.2)


def test_more_canaries_than_devices_are_refused(target: Target):
    with pytest.raises(SettingsError, match="this run has room for 40"):
        Canaries.draw(target, ATTACK.model_copy(update={"canaries": 41}))
