import math

import numpy as np
import pytest
from scipy import stats

from clients.protocol.secure_sum.noise import noise_reach, noise_share, skellam
from clients.protocol.secure_sum.quantisation import Address

AT = Address(seed=7, round_number=3)


@pytest.mark.parametrize("variance", [0.3, 4.0, 900.0, 1e8])
def test_noise_has_mean_0_and_the_stated_variance(variance: float):
    drawn, count = skellam(variance, 200_000, np.random.default_rng(1)), 200_000
    assert abs(drawn.mean()) < 5 * math.sqrt(variance / count)
    fourth = 3 * variance**2 + variance  # of a Skellam number
    assert abs(drawn.var() - variance) < 5 * math.sqrt((fourth - variance**2) / count)


def test_shares_add_up_to_one_skellam():
    """Ten shares of variance 0.5 are one draw of variance 5, value by value."""
    total = sum(noise_share(0.5, 100_000, device, AT) for device in range(10))
    values = np.arange(-6, 7)
    expected = stats.skellam.pmf(values, 2.5, 2.5) * len(total)
    found = np.array([(total == value).sum() for value in values])
    statistic = float(((found - expected) ** 2 / expected).sum())
    assert statistic < stats.chi2.isf(1e-6, len(values) - 1)


def test_each_device_and_round_has_noise_of_its_own():
    one = noise_share(9.0, 1000, 4, AT)
    np.testing.assert_array_equal(one, noise_share(9.0, 1000, 4, AT))
    assert abs(np.corrcoef(one, noise_share(9.0, 1000, 5, AT))[0, 1]) < 0.15
    assert abs(np.corrcoef(one, noise_share(9.0, 1000, 4, Address(7, 4)))[0, 1]) < 0.15
    assert not noise_share(0.0, 10, 4, AT).any()


@pytest.mark.parametrize("variance", [0.5, 10.0, 1000.0])
@pytest.mark.parametrize("chance", [1e-3, 1e-9])
def test_the_reach_of_noise_is_a_bound_and_not_a_loose_one(variance: float, chance: float):
    reach = noise_reach(variance, math.log(chance))
    half = variance / 2
    assert 2 * stats.skellam.sf(reach - 1, half, half) <= chance
    shorter = max(1, int(0.75 * reach))
    assert 2 * stats.skellam.sf(shorter - 1, half, half) > chance


def test_the_reach_of_much_noise_is_that_of_a_gaussian():
    reach = noise_reach(1e14, math.log(1e-12))
    assert reach == pytest.approx(1e7 * math.sqrt(2 * math.log(2e12)), rel=1e-3)
