"""Runs of an attacker's own are the product's, with what was put into them and no more."""

from pathlib import Path

import numpy as np

import clients.recommender_training as training
from models.seeds import generator
from server.cohorts import CohortPlan
from server.privacy.mechanism import Mechanism
from simulation.experiments.audit.scratch_runs import (
    accounted_epsilon,
    broken_noise,
    crafted_devices,
    noise_settings,
    plan_of,
    play,
    poisson_cohorts,
    prepare_scratch,
)
from simulation.experiments.audit.target import Target
from tests.tiny_world import NUM_DEVICES, SEED

ALL = np.arange(NUM_DEVICES)


def test_a_scratch_run_is_the_run_it_was_taken_from(target: Target, scratch: Path):
    plan, rounds = CohortPlan.read(target.cloud.plan), target.cloud.federation.rounds
    cohorts = [plan.cohort(number).reported for number in range(1, rounds + 1)]
    folder = prepare_scratch(target, scratch / "again", cohorts)
    # The tiny world's personal vectors begin at random, those of a scratch run at 0.
    store = np.lib.format.open_memmap(folder / "taste.npy", mode="r+")
    store[:] = generator(SEED, "taste").normal(0, 0.1, store.shape)
    np.testing.assert_allclose(play(folder), target.final, atol=1e-6)


def test_crafted_devices_send_what_they_are_told_and_others_are_not_touched(
    target: Target, scratch
):
    plain = {"name": "fedavg", "rate": 1.0}
    optimizer = target.cloud.federation.optimizer.model_copy(update=plain)
    direction = np.zeros(target.trained.size)
    direction[5] = 100.0
    liars = np.array([3, 17])

    def moved(folder: str, cohort: np.ndarray) -> np.ndarray:
        prepared = prepare_scratch(target, scratch / folder, [cohort], optimizer=optimizer)
        return len(cohort) * (play(prepared).astype(np.float64) - target.initial)

    with crafted_devices(liars, lambda ids, _: np.tile(direction, (len(ids), 1))):
        with_liars = moved("with", ALL)
    without = moved("without", np.setdiff1d(ALL, liars))
    clip_norm = target.cloud.federation.training.clip_norm
    expected = np.where(direction > 0, len(liars) * clip_norm, 0.0)
    np.testing.assert_allclose(with_liars - without, expected, atol=1e-4)


def test_noise_is_the_products_own_and_can_be_broken(target: Target, scratch):
    plain = {"name": "fedavg", "rate": 1.0}
    optimizer = target.cloud.federation.optimizer.model_copy(update=plain)

    def final(folder: str, noise: float, factor: float) -> np.ndarray:
        prepared = prepare_scratch(
            target,
            scratch / folder,
            [ALL],
            optimizer=optimizer,
            cohort_size=NUM_DEVICES,
            privacy=noise_settings(target, "central", noise),
        )
        with broken_noise(factor):
            return play(prepared).astype(np.float64)

    quiet, loud, broken = final("a", 0, 1), final("b", 5, 1), final("c", 5, 0.1)
    std = 5 * target.cloud.federation.training.clip_norm / NUM_DEVICES
    assert abs((loud - quiet).std() / std - 1) < 0.1
    np.testing.assert_allclose(broken - quiet, 0.1 * (loud - quiet), atol=1e-5)
    assert accounted_epsilon(scratch / "a", 1e-5) == float("inf")
    assert accounted_epsilon(scratch / "b", 1e-5) == accounted_epsilon(scratch / "c", 1e-5)


def test_what_was_put_in_is_taken_out_again(target: Target):
    before = training.train_devices, Mechanism.noise_std
    try:
        with crafted_devices(ALL, lambda ids, _: np.zeros((len(ids), 1))), broken_noise(0.5):
            assert (training.train_devices, Mechanism.noise_std) != before
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (training.train_devices, Mechanism.noise_std) == before


def test_cohorts_are_drawn_device_by_device():
    cohorts = poisson_cohorts(np.arange(5, 905), 0.2, 50, SEED, 1)
    sizes = np.array([len(each) for each in cohorts])
    assert abs(sizes.mean() - 180) < 10 and 5 < sizes.std() < 20
    assert min(each.min() for each in cohorts) >= 5
    plan = plan_of(cohorts)
    np.testing.assert_array_equal(plan.cohort(7).reported, cohorts[6])
    assert plan.cohort(7).version.tolist() == [6] * len(cohorts[6])
