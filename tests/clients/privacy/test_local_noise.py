"""Noise of a device's own: the same wherever it is simulated, and as much as it says."""

from dataclasses import replace

import numpy as np
from scipy import stats

from clients.privacy.local_noise import noise_of_devices
from clients.protocol.messages import UpdatePrivacy
from clients.recommender_training import train_cohort
from tests.tiny_world import NUM_DEVICES, RECOMMENDER, SEED, TinyWorld

LOCAL = UpdatePrivacy(hidden=True, count_unclipped=False, local_noise_multiplier=2.0)


def test_noise_of_devices_is_that_of_each_added_up():
    devices = np.array([3, 11, 12])
    each = [noise_of_devices(SEED, 4, devices[[at]], 50, 0.3) for at in range(3)]
    np.testing.assert_allclose(noise_of_devices(SEED, 4, devices, 50, 0.3), sum(each), rtol=1e-12)


def test_no_two_devices_and_no_two_rounds_share_noise():
    one, other, later = (
        noise_of_devices(SEED, number, np.array([device]), 1000, 1.0)
        for number, device in ((1, 5), (1, 6), (2, 5))
    )
    for a, b in ((one, other), (one, later), (other, later)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(1000)


def test_every_device_adds_the_noise_it_says():
    noise = noise_of_devices(SEED, 1, np.arange(9), 20_000, 0.5)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], 20_000)
    assert low < (noise**2).sum() / (9 * 0.5**2) < high


def test_a_sum_with_local_noise_is_the_sum_and_the_noise_of_its_devices(tiny: TinyWorld):
    plain = tiny.task(list(range(0, NUM_DEVICES, 3)))
    noised = train_cohort(
        tiny.shard(), replace(plain, privacy=LOCAL), RECOMMENDER, SEED, noise_seed=SEED
    )
    exact = train_cohort(tiny.shard(), plain, RECOMMENDER, SEED, noise_seed=SEED)
    noise = noise_of_devices(SEED, 1, plain.device_ids, tiny.layout.size, 2.0 * 0.5)
    np.testing.assert_allclose(noised.update_sum, exact.update_sum + noise, atol=1e-12)
    assert (noised.num_devices, noised.loss_sum) == (len(plain.device_ids), None)


def test_a_device_whose_update_is_no_number_sends_noise_alone(tiny: TinyWorld):
    task, shard = replace(tiny.task([7]), privacy=LOCAL), tiny.shard()
    shard.personal.settled[7] = np.nan
    reply = train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED)
    noise = noise_of_devices(SEED, 1, np.array([7]), tiny.layout.size, 1.0)
    np.testing.assert_array_equal(reply.update_sum, noise)
    assert reply.num_devices == 1
