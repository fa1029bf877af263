"""Our accounting is dp-accounting called directly, and the noise that is solved for is tight."""

from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SettingsError
from server.privacy.accounting import ORDERS, Spending, default_delta
from server.privacy.calibration import TOLERANCE, noise_multiplier_for

DELTA = 1e-5
DRAWN = Spending(1.0, 0.05, rounds=20, evaluation_noise=0.0, evaluations=0)
MIXED = replace(DRAWN, evaluation_noise=30.0, evaluations=5)
PICKED = replace(MIXED, probability=1.0, rounds=6)


def directly(spending: Spending) -> dp_accounting.DpEvent:
    """The same releases, written out for dp-accounting."""
    one = dp_accounting.GaussianDpEvent(spending.noise_multiplier)
    if spending.probability < 1:
        one = dp_accounting.PoissonSampledDpEvent(spending.probability, one)
    events = [one] * spending.rounds
    if spending.evaluation_noise:
        other = dp_accounting.GaussianDpEvent(spending.evaluation_noise)
        events += [other] * spending.evaluations
    return dp_accounting.ComposedDpEvent(events)


@pytest.mark.parametrize("spending", [DRAWN, MIXED, PICKED], ids=["drawn", "mixed", "picked"])
def test_epsilon_by_rdp_is_dp_accountings(spending: Spending):
    accountant = rdp.RdpAccountant(ORDERS)
    accountant.compose(directly(spending))
    assert spending.epsilon_by_rdp(DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-9)


@pytest.mark.parametrize("spending", [DRAWN, MIXED, PICKED], ids=["drawn", "mixed", "picked"])
def test_epsilon_is_dp_accountings(spending: Spending):
    """Theirs is rounded in steps of 1e-4, ours in coarser ones, or exact without amplification."""
    accountant = pld.PLDAccountant()
    accountant.compose(spending.event())
    assert spending.epsilon(DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)
    assert spending.epsilon(DELTA) <= spending.epsilon_by_rdp(DELTA)


@pytest.mark.parametrize("noise", [1e-8, 1e-4, 1e-2])
@pytest.mark.parametrize("probability", [1e-3, 0.3, 0.999])
def test_next_to_no_noise_has_an_epsilon_that_is_large_and_finite(noise: float, probability: float):
    spending = Spending(noise, probability, rounds=40, evaluation_noise=0.0, evaluations=1)
    epsilon = spending.epsilon(DELTA)
    assert 100 < epsilon <= spending.epsilon_by_rdp(DELTA)
    assert np.isfinite(epsilon)


def test_epsilon_of_known_runs():
    """Figures of dp-accounting 0.6 that are older than this code; Renyi's with all its orders."""
    run = Spending(1.0, 0.05, rounds=100, evaluation_noise=0.0, evaluations=0)
    assert round(run.epsilon(5e-4), 2) == 2.40
    assert run.epsilon_by_rdp(5e-4) == pytest.approx(2.90, rel=0.01)
    assert round(replace(run, probability=1.0).epsilon(5e-4)) == 82


@settings(max_examples=50)
@given(st.floats(0.3, 20), st.integers(0, 50), st.floats(1, 100), st.integers(0, 9))
def test_gaussian_releases_compose_like_one(noise: float, rounds: int, other: float, times: int):
    """And more releases never cost less."""
    spending = Spending(noise, 1.0, rounds, other, times)
    one_more = replace(spending, rounds=rounds + 1)
    assert spending.epsilon(DELTA) < one_more.epsilon(DELTA)
    assert spending.epsilon(DELTA) <= spending.epsilon_by_rdp(DELTA) + 1e-9


@pytest.mark.parametrize("target", [0.5, 4.0])
@pytest.mark.parametrize("spending", [DRAWN, MIXED, PICKED], ids=["drawn", "mixed", "picked"])
def test_target_epsilon_is_met_and_nearly_tight(spending: Spending, target: float):
    found = noise_multiplier_for(target, DELTA, spending)
    enough = replace(spending, noise_multiplier=found)
    assert enough.epsilon(DELTA) <= target * (1 + 1e-6)
    less = replace(spending, noise_multiplier=found * (1 - 2 * TOLERANCE))
    assert less.epsilon(DELTA) > target


def test_evaluations_that_cost_more_than_the_target_are_refused():
    dear = replace(DRAWN, evaluation_noise=1.0, evaluations=10)
    with pytest.raises(SettingsError, match=r"10 evaluations alone cost .*evaluate less often"):
        noise_multiplier_for(4.0, DELTA, dear)


def test_a_target_that_wants_no_noise_is_refused():
    with pytest.raises(SettingsError, match="nearly no noise"):
        noise_multiplier_for(1e6, DELTA, DRAWN)


def test_delta_is_smaller_than_one_device_in_all():
    for num_devices in (2, 943, 10**5, 8_400_000):
        assert default_delta(num_devices) < 1 / num_devices
