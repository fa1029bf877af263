"""The cost of Skellam noise, against sums of the series and against dp-accounting."""

import math

import dp_accounting
import numpy as np
import pytest
from scipy import special, stats

from server.secure_sum.skellam_accounting import ORDERS, SkellamMechanism, poisson_amplified


def renyi_of_shift(shift: int, mu: float, alpha: int) -> float:
    """D_alpha(Skellam(mu) + shift || Skellam(mu)), the series added up."""
    reach = int(40 * math.sqrt(mu) + 60 + alpha * shift)
    values = np.arange(-reach, reach + 1)

    def pmf(at: np.ndarray) -> np.ndarray:
        return special.ive(np.abs(at), mu)  # exp(-mu) I_|k|(mu)

    shifted, still = pmf(values - shift), pmf(values)
    known = (shifted > 0) & (still > 0)  # what a float64 cannot hold is nothing in the sum
    terms = alpha * np.log(shifted[known]) - (alpha - 1) * np.log(still[known])
    return float(special.logsumexp(terms)) / (alpha - 1)


def test_the_series_is_that_of_the_distribution_that_is_drawn():
    values = np.arange(-20, 21)
    np.testing.assert_allclose(
        special.ive(np.abs(values), 9.0), stats.skellam.pmf(values, 4.5, 4.5), rtol=1e-9
    )


@pytest.mark.parametrize("mu", [1.0, 5.0, 50.0])
@pytest.mark.parametrize("shift", [1, 2, 5])
@pytest.mark.parametrize("alpha", [2, 3, 8, 20])
def test_rdp_bounds_the_numeric_divergence(mu: float, shift: int, alpha: int):
    """One number: D1 = D2 = shift."""
    exact = renyi_of_shift(shift, mu, alpha)
    bound = SkellamMechanism(shift**2, shift, mu).rdp([alpha])[0]
    assert exact <= bound * (1 + 1e-9)
    if mu >= 50 and alpha * shift < mu:
        assert bound < 1.2 * exact


def test_rdp_of_many_numbers_bounds_the_sum_of_the_numbers_divergences():
    """Independent numbers add up; D1 and D2 are those of the whole vector."""
    shifts, mu, alpha = [3, -1, 0, 2], 30.0, 6
    exact = sum(renyi_of_shift(abs(shift), mu, alpha) for shift in shifts)
    squared, l1 = sum(s * s for s in shifts), sum(map(abs, shifts))
    assert exact <= SkellamMechanism(squared, l1, mu).rdp([alpha])[0] < 1.2 * exact


def test_much_noise_in_small_steps_costs_what_a_gaussian_costs():
    z, levels = 0.8, 10_000
    mechanism = SkellamMechanism(levels**2, levels * 272, (z * levels) ** 2)
    gaussian = np.asarray(ORDERS) / (2 * z**2)
    np.testing.assert_allclose(mechanism.rdp(), gaussian, rtol=1e-3)
    assert (mechanism.rdp() >= gaussian).all()


@pytest.mark.parametrize("q", [1e-4, 1e-3, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("z", [0.8, 2.0, 5.0])
def test_amplification_of_a_gaussian_is_a_bound_and_close_for_small_q(q: float, z: float):
    orders = [2, 3, 4, 8, 16, 32, 64]
    event = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(z))
    accountant = dp_accounting.rdp.RdpAccountant(orders)
    accountant.compose(event)
    exact = np.asarray(accountant._rdp)
    ours = poisson_amplified(lambda some: np.asarray(list(some)) / (2 * z**2), q, orders)
    assert (ours >= exact * (1 - 1e-6)).all()
    if z >= 2 and q <= 1e-3:
        np.testing.assert_allclose(ours[:4], exact[:4], rtol=0.3)


def test_amplification_at_the_ends():
    mechanism = SkellamMechanism(100, 100, 400)
    assert (mechanism.sampled_rdp(0.0) == 0).all()
    np.testing.assert_array_equal(mechanism.sampled_rdp(1.0), mechanism.rdp())
    assert (mechanism.sampled_rdp(0.3) <= mechanism.rdp()).all()
    assert np.isinf(SkellamMechanism(100, 100, 0.0).rdp()).all()


def test_orders_that_the_theorem_does_not_cover_are_refused():
    for orders in ([1.5], [1], [2, 2.5]):
        with pytest.raises(ValueError, match="integers of 2 or more"):
            SkellamMechanism(1, 1, 1.0).rdp(orders)
