import numpy as np
import pytest

from models.errors import SettingsError
from simulation.world.devices import assign_tiers
from simulation.world.timeline import RoundCost, plan_cohorts
from tests.tiny_world import SEED, TIERS, federation

TIER = assign_tiers(200, TIERS, SEED)
COST = RoundCost(bytes_each_way=1_000_000, train_s=0.2)


def test_a_longer_plan_begins_with_the_shorter_one():
    short = plan_cohorts(TIER, TIERS, federation(rounds=3), COST, SEED)
    long = plan_cohorts(TIER, TIERS, federation(rounds=9), COST, SEED)
    for round_number in (1, 2, 3):
        a, b = short.cohort(round_number), long.cohort(round_number)
        np.testing.assert_array_equal(a.invited, b.invited)
        np.testing.assert_array_equal(a.reported, b.reported)


def test_cohorts_are_uniform_and_only_the_dropping_tier_drops():
    plan = plan_cohorts(TIER, TIERS, federation(rounds=400), COST, SEED)
    invited = np.bincount(plan.invited, minlength=200)
    assert invited.sum() == 400 * 15
    assert abs(invited - 30).max() < 30  # expected 30 each, standard deviation 5.3
    tier = TIER[plan.invited]
    assert plan.reported[tier == 1].all()
    assert plan.reported[tier == 0].mean() == pytest.approx(0.7, abs=0.03)


def test_a_round_lasts_until_its_slowest_report():
    """8 Mbit: low tier 1.6 s down + 2 s training + 8 s up; high tier 0.16 + 0.2 + 0.8 s."""
    plan = plan_cohorts(TIER, TIERS, federation(rounds=40), COST, SEED)
    for round_number in range(1, 41):
        cohort = plan.cohort(round_number)
        slowest = 11.6 if (TIER[cohort.reported] == 0).any() else 1.16
        assert cohort.duration_s == pytest.approx(slowest)
    np.testing.assert_allclose(plan.start_s[1:], np.cumsum(plan.duration_s)[:-1])


def test_a_cohort_larger_than_the_population_is_refused():
    with pytest.raises(SettingsError, match=r"cohort_size is 15, the population has 4 devices"):
        plan_cohorts(TIER[:4], TIERS, federation(), COST, SEED)
