from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SettingsError
from server.cohorts import Outcome
from server.settings import Federation
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.devices import WorldSettings, tiers_of
from simulation.world.timeline import RoundCost, Timeline
from tests.tiny_world import ALWAYS, SCHEDULE, SEED, TIERS, federation

POPULATION = 200
COST = RoundCost(bytes_down=1_000_000, bytes_up=1_000_000, train_s=0.2)
TIMELINE = Timeline(TIERS, POPULATION, COST, SEED)
TIER = tiers_of(np.arange(POPULATION), TIERS, SEED)


def scheduled(rounds: int = 3, **changes) -> Federation:
    schedule = SCHEDULE.model_copy(update=changes)
    return federation(rounds=rounds).model_copy(update={"schedule": schedule})


def with_habits(**changes) -> WorldSettings:
    return TIERS.model_copy(update={"habits": ALWAYS.model_copy(update=changes)})


def test_a_longer_plan_begins_with_the_shorter_one():
    short, long = (plan_cohorts(TIMELINE, scheduled(rounds)) for rounds in (3, 9))
    for round_number in (1, 2, 3):
        a, b = short.cohort(round_number), long.cohort(round_number)
        np.testing.assert_array_equal(a.invited, b.invited)
        np.testing.assert_array_equal(a.reported, b.reported)


def test_cohorts_are_uniform_and_only_the_dropping_tier_drops():
    plan = plan_cohorts(TIMELINE, scheduled(400))
    invited = np.bincount(plan.invited, minlength=POPULATION)
    assert invited.sum() == 400 * 15
    assert abs(invited - 30).max() < 30  # expected 30 each, standard deviation 5.3
    tier = TIER[plan.invited]
    assert (plan.outcome[tier == 1] == Outcome.REPORTED).all()
    assert np.mean(plan.outcome[tier == 0] == Outcome.DROPPED) == pytest.approx(0.3, abs=0.03)


def test_a_round_lasts_until_its_last_report():
    """8 Mbit: low tier 1.6 s down + 2 s training + 8 s up; high tier 0.16 + 0.2 + 0.8 s.

    Without over-selection a phone that drops is missed, and the round waits to its deadline.
    """
    plan = plan_cohorts(TIMELINE, scheduled(40))
    for round_number in range(1, 41):
        cohort = plan.cohort(round_number)
        slowest = 11.6 if (TIER[cohort.invited] == 0).any() else 1.16
        assert cohort.duration_s == pytest.approx(60 if cohort.num_dropped else slowest)
    np.testing.assert_allclose(plan.start_s[1:], np.cumsum(plan.duration_s)[:-1])


def test_with_over_selection_the_fastest_end_the_round():
    plan = plan_cohorts(TIMELINE, scheduled(40, over_selection=2.0))
    for round_number in range(1, 41):
        cohort = plan.cohort(round_number)
        assert (len(cohort.invited), len(cohort.reported)) == (30, 15)
        assert cohort.num_late + cohort.num_dropped == 15
        fast = int((TIER[cohort.invited] == 1).sum())
        assert int((TIER[cohort.reported] == 1).sum()) == min(15, fast)
        assert cohort.duration_s == pytest.approx(1.16 if fast >= 15 else 11.6)


def test_what_comes_after_the_deadline_is_late():
    plan = plan_cohorts(TIMELINE, scheduled(20, deadline_s=5.0))
    assert set(TIER[plan.invited[plan.outcome == Outcome.REPORTED]]) == {1}
    assert set(TIER[plan.invited[plan.outcome == Outcome.LATE]]) == {0}
    assert plan.duration_s.max() == pytest.approx(5.0)


def test_a_round_waits_until_enough_phones_are_there():
    """Everybody is there from midnight to noon; the first round looks at one o'clock p.m."""
    plan = plan_cohorts(TIMELINE, scheduled(1, start_s=13 * 3600.0, retry_s=1800))
    assert plan.start_s.tolist() == [24 * 3600.0]


def test_a_phone_that_leaves_is_interrupted():
    """A round that would end after noon finds all its phones gone."""
    plan = plan_cohorts(TIMELINE, scheduled(1, start_s=12 * 3600.0 - 0.5))
    assert set(plan.outcome.tolist()) == {Outcome.DROPPED}


def test_phones_that_are_never_there_at_once_are_one_clear_line():
    nobody = replace(TIMELINE, world=with_habits(night_share=0.0))
    with pytest.raises(SettingsError, match=r"round 1 wants 15 phones at once, and of 200 never"):
        plan_cohorts(nobody, scheduled(retry_s=3600.0))


def test_a_cohort_larger_than_the_population_is_refused():
    with pytest.raises(SettingsError, match=r"cohort_size is 15, the population has 4 devices"):
        plan_cohorts(replace(TIMELINE, num_devices=4), scheduled())


@settings(max_examples=40)
@given(st.integers(1, 700), st.integers(1, 90), st.integers(0, 1000))
def test_phones_are_asked_in_a_random_order_each_once(population, at_a_time, round_number):
    timeline = replace(TIMELINE, num_devices=population)
    blocks = list(timeline._in_random_order(at_a_time, round_number))
    assert sorted(np.concatenate(blocks).tolist()) == list(range(population))
    assert all(len(block) <= at_a_time for block in blocks)


def test_only_those_who_are_there_are_found_and_all_are_as_likely():
    timeline = replace(TIMELINE, world=with_habits(night_share=0.5), num_devices=300)
    there = timeline._availability.available(np.arange(300), 3600.0)
    found = np.concatenate([timeline.find(20, 3600.0, number) for number in range(600)])
    counts = np.bincount(found, minlength=300)
    assert not counts[~there].any()
    expected = 600 * 20 / there.sum()  # about 80, standard deviation 8.5
    assert abs(counts[there] - expected).max() < 45
    assert len(timeline.find(299, 3600.0, 1)) == there.sum()


def test_a_cohort_of_millions_is_found_without_looking_at_all_of_them(monkeypatch):
    asked = []
    real = Timeline._availability.fget(TIMELINE).available
    million = replace(TIMELINE, num_devices=8_400_000)
    monkeypatch.setattr(
        "simulation.world.availability.Availability.available",
        lambda self, ids, time_s: (asked.append(len(ids)), real(ids, time_s))[1],
    )
    assert len(million.find(5_000, 3600.0, 1)) == 5_000
    assert sum(asked) == 5_000


def test_a_tier_that_cannot_hold_the_package_is_never_asked():
    """The high tier of these has 83 MB for the app, the low one 125."""
    reference = TIERS.reference.model_copy(update={"serving_mb": 100.0})
    heavy = replace(TIMELINE, world=TIERS.model_copy(update={"reference": reference}))
    plan = plan_cohorts(heavy, scheduled(20))
    assert (TIER[plan.invited] == 0).all()
    assert (TIER[plan_cohorts(TIMELINE, scheduled(20)).invited] == 1).any()
