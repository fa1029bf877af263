"""The parts of single studies: who asks, how far the teacher is steered, who drops out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import SettingsError
from simulation.experiments.evaluation import Referee
from simulation.experiments.studies.cooperation_study import (
    confidence,
    least_sure,
    request_seconds,
    softmax_of_unseen,
)
from simulation.experiments.studies.federation_study import with_dropouts, with_local_steps
from simulation.experiments.studies.logits_study import (
    Logits,
    LogitsOptions,
    alphas_by_kl,
    best_alpha,
    divergence,
)
from simulation.experiments.studies.logits_study import check as check_logits
from simulation.experiments.studies.quality_study import QualityOptions
from simulation.experiments.studies.quality_study import check as check_quality
from simulation.experiments.studies.quality_study import fit as fit_quality
from simulation.experiments.studies.study_plan import load_study, resolve
from simulation.experiments.studies.text_study import id_vectors
from simulation.settings import load_settings

SCORES = arrays(np.float32, (5, 8), elements=st.floats(-4, 4, width=32))
NOTHING_SEEN = np.zeros((5, 8), dtype=bool)


@given(SCORES, st.sampled_from(["margin", "entropy"]))
def test_confidence_does_not_depend_on_a_constant_or_on_the_order_of_items(scores, rule):
    users = np.arange(5)
    own = confidence(scores, NOTHING_SEEN, rule, 0, users)
    moved = confidence(scores[:, ::-1] + 3.0, NOTHING_SEEN, rule, 0, users)
    assert moved == pytest.approx(own, abs=1e-5)


@given(SCORES)
def test_what_was_seen_makes_nobody_sure(scores):
    seen = NOTHING_SEEN.copy()
    seen[:, 0] = True
    loud = scores.copy()
    loud[:, 0] = 50.0
    one, other = (confidence(s, seen, "margin", 0, np.arange(5)) for s in (scores, loud))
    assert np.array_equal(one, other)
    assert softmax_of_unseen(loud, seen)[:, 0].max() == 0


@given(st.integers(1, 60), st.floats(0, 1))
def test_just_the_share_asks_and_nobody_surer_than_one_who_does_not(count, share):
    sureness = np.random.default_rng(count).random(count)
    asked = least_sure(sureness, share)
    assert asked.sum() == round(share * count)
    if asked.any() and not asked.all():
        assert sureness[asked].max() <= sureness[~asked].min()


def test_chance_has_an_address():
    users = np.array([4, 9, 2])
    all_of_them = confidence(np.zeros((3, 4)), np.zeros((3, 4), bool), "random", 5, users)
    alone = confidence(np.zeros((1, 4)), np.zeros((1, 4), bool), "random", 5, users[1:2])
    assert all_of_them[1] == alone[0]


def test_who_asks_waits_for_the_network_and_slow_phones_wait_longer():
    settings = load_settings("quickstart")
    still = settings.world.network.model_copy(update={"spread": 0.0, "jitter": 0.0})
    world = settings.world.model_copy(update={"network": still})
    settings = settings.model_copy(update={"world": world})
    users, tier = np.arange(3), np.arange(3)
    sent = np.full(3, 200)
    alone = request_seconds(settings, users, tier, np.zeros(3, bool), sent)
    asking = request_seconds(settings, users, tier, np.ones(3, bool), sent)
    slowest = world.tiers[0]
    assert alone[0] == pytest.approx(
        (world.reference.encode_s + world.reference.rank_s) / slowest.speed
    )
    # Two round trips open the connection, one carries the request; 200 bytes up, 40 down.
    network_s = 3 * slowest.link.round_trip_ms / 1e3
    assert asking[0] - alone[0] > network_s
    assert asking[0] - alone[0] == pytest.approx(network_s, rel=0.05)
    assert (np.diff(asking) < 0).all()


def logits(seed: int, users: int = 6, items: int = 12) -> Logits:
    rng = np.random.default_rng(seed)
    seen = np.zeros((users, items), dtype=bool)
    seen[:, 0] = True
    held_out = rng.integers(1, items, users).astype(np.int32)
    teacher, static, federated = (rng.normal(0, 1, (users, items)) for _ in range(3))
    return Logits(Referee(np.arange(users), held_out, seen, 0), teacher, static, federated)


@given(st.integers(0, 200))
def test_by_kl_the_teacher_moves_as_far_as_the_student_did(seed):
    found = logits(seed)
    alphas, seen = alphas_by_kl(found, 100.0), found.referee.seen
    fused = softmax_of_unseen(found.teacher + alphas[:, None] * found.shift, seen)
    moved = divergence(fused, softmax_of_unseen(found.teacher, seen))
    wanted = divergence(
        softmax_of_unseen(found.federated, seen), softmax_of_unseen(found.static, seen)
    )
    inside = alphas < 99
    assert moved[inside] == pytest.approx(wanted[inside], abs=1e-4)
    assert (moved[~inside] <= wanted[~inside] + 1e-9).all()


def test_a_teacher_that_is_the_static_student_is_steered_onto_the_federated_one():
    found = logits(3)
    same = Logits(found.referee, found.static, found.static, found.federated)
    assert alphas_by_kl(same, 4.0) == pytest.approx(np.ones(6), abs=1e-5)


def test_a_student_that_did_not_move_steers_nobody():
    found = logits(4)
    still = Logits(found.referee, found.teacher, found.static, found.static)
    # Any alpha is right then; what is scored does not change.
    assert still.fused(alphas_by_kl(still, 4.0)) == pytest.approx(found.teacher.astype(np.float32))


def test_the_best_alpha_finds_a_shift_that_helps_and_leaves_one_that_hurts():
    found = logits(5)
    right = np.zeros_like(found.teacher)
    right[np.arange(6), found.referee.held_out] = 10.0
    helps = Logits(found.referee, found.teacher, found.static, found.static + right)
    hurts = Logits(found.referee, found.teacher, found.static, found.static - right)
    assert best_alpha(helps, (0.0, 0.5, 1.0)) > 0
    assert best_alpha(hurts, (0.0, 0.5, 1.0)) == 0


def test_dropouts_are_multiplied_and_stay_a_chance():
    settings = load_settings("quickstart")
    twice = with_dropouts(settings, 2.0)
    assert [tier.dropout for tier in twice.world.tiers] == pytest.approx([0.4, 0.2, 0.1])
    assert with_dropouts(settings, 1.0) == settings
    with pytest.raises(SettingsError, match=r"dropout_factor is 6.0: tier low .*ask for less"):
        with_dropouts(settings, 6.0)


def test_more_local_steps_are_as_much_shorter():
    settings = load_settings("quickstart")
    training = with_local_steps(settings, 5).federation.training
    assert (training.local_epochs, training.rate) == (5, pytest.approx(0.2))
    assert training.personal_rate == pytest.approx(settings.federation.training.personal_rate / 5)
    assert with_local_steps(settings, 1) == settings


@pytest.mark.parametrize(
    ("overrides", "step", "told"),
    [
        (["text.bundle=x"], "teacher", "leave text.bundle empty"),
        ([], "teacher", "set text.threads=1"),
        (["text.threads=1"], "private", "the step private, and no other, takes a mechanism"),
        (["text.threads=1", "population.devices=5000"], "teacher", "ranks for real users"),
    ],
)
def test_quality_refuses_what_has_no_steps(overrides, step, told):
    with pytest.raises(SettingsError, match=told):
        check_quality(load_settings("quickstart", overrides), QualityOptions(step=step))


@pytest.mark.parametrize(("num_devices", "drawn"), [(162_000, 900), (943, 900), (60, 57)])
def test_the_private_step_draws_no_more_phones_than_there_are(num_devices, drawn):
    private = resolve(load_study("quality"), QualityOptions)[-1]
    fitted = fit_quality(private.settings, private.options, num_devices)
    assert fitted.federation.cohort_size == drawn
    fitted.federation.check_population(num_devices)
    assert (fitted == private.settings) == (drawn == 900)


def test_alpha_is_not_chosen_on_what_is_judged():
    options = LogitsOptions(rule="validation", alphas=(0.0,), largest_alpha=1.0)
    with pytest.raises(SettingsError, match=r"split.target is validation: .*leave it at test"):
        check_logits(load_settings("quickstart", ["split.target=validation"]), options)


def test_vectors_of_ids_tell_items_apart_and_say_nothing_of_them():
    vectors = id_vectors(300, 64, 5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    alike = (vectors @ vectors.T)[~np.eye(300, dtype=bool)]
    assert np.abs(alike).max() < 0.7  # random directions of 64 numbers: 5.6 standard deviations
    assert np.array_equal(vectors, id_vectors(300, 64, 5))
    assert np.any(vectors != id_vectors(300, 64, 6))
