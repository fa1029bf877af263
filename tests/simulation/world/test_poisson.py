"""Poisson sampling: what amplification by sampling rests on."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.seeds import generator
from server.cohorts import CohortPlan, Outcome
from server.settings import Federation
from simulation.world.availability import HOUR_S, Availability
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.devices import tiers_of
from simulation.world.poisson import _play, drawn_devices
from simulation.world.timeline import RoundCost, Timeline
from tests.tiny_world import ALWAYS, SEED, TIERS, TinyWorld, private

POPULATION, ROUNDS = 200, 2000
COST = RoundCost(bytes_down=1_000_000, bytes_up=1_000_000, train_s=0.2)
TIMELINE = Timeline(TIERS, POPULATION, COST, SEED)
HALF_THERE = replace(
    TIMELINE,
    world=TIERS.model_copy(update={"habits": ALWAYS.model_copy(update={"night_share": 0.5})}),
)
Q = 15 / POPULATION
DAY_S = 24 * HOUR_S
LOOK_S = HOUR_S


def scheduled(rounds: int = 1, **of_schedule: float) -> Federation:
    """A private run with another schedule."""
    settings = private(rounds=rounds)
    return settings.model_copy(
        update={"schedule": settings.schedule.model_copy(update={"retry_s": LOOK_S} | of_schedule)}
    )


def drawn_table(num_devices: int, probability: float, rounds: int) -> np.ndarray:
    """Whether each device is drawn in each round, (rounds, N)."""
    table = np.zeros((rounds, num_devices), dtype=bool)
    for number in range(rounds):
        table[number, drawn_devices(num_devices, probability, SEED, number + 1)] = True
    return table


def sorted_plan(plan: CohortPlan) -> list[list[int]]:
    return [
        plan.invited[plan.offsets[number] : plan.offsets[number + 1]].tolist()
        for number in range(plan.num_rounds)
    ]


def test_sampling_is_independent_of_the_data(tiny: TinyWorld):
    """Who is drawn follows from (N, q, seed, round): not from data, habits, phones or bytes."""
    plan = plan_cohorts(TIMELINE, private(rounds=20))
    slow = replace(TIMELINE, cost=RoundCost(10**8, 10**8, 50.0))
    for other in (HALF_THERE, slow):
        assert sorted_plan(plan_cohorts(other, private(rounds=20))) == sorted_plan(plan)
    first = tiny.prepare_run("first", private())
    taste = np.load(first / "taste.npy")
    np.save(first / "taste.npy", taste * 1e3)
    (tiny.world / "held_out.npy").unlink()
    second = tiny.prepare_run("second", private())
    drawn = [sorted_plan(CohortPlan.read(each / "cohorts.npz")) for each in (first, second)]
    assert drawn[0] == drawn[1]


def test_every_device_is_drawn_as_often():
    counts = drawn_table(POPULATION, Q, ROUNDS).sum(axis=0)
    spread = ((counts - ROUNDS * Q) ** 2).sum() / (ROUNDS * Q * (1 - Q))
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], POPULATION)
    assert low < spread < high


def test_how_many_are_drawn_is_binomial_and_not_fixed():
    sizes = drawn_table(POPULATION, Q, ROUNDS).sum(axis=1)
    variance = POPULATION * Q * (1 - Q)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], ROUNDS)
    assert low < ((sizes - POPULATION * Q) ** 2).sum() / variance < high


def test_devices_and_rounds_are_not_coupled():
    """Pairs of devices in a round, and a device in one round and the next."""
    table = drawn_table(40, 0.3, 4000)
    pairs = np.corrcoef(table.T)[np.triu_indices(40, 1)]
    assert abs(pairs).max() < 5.5 / np.sqrt(4000)
    next_round = [np.corrcoef(table[:-1, device], table[1:, device])[0, 1] for device in range(40)]
    assert np.abs(next_round).max() < 5 / np.sqrt(4000)


@settings(max_examples=30)
@given(st.integers(0, 2**20), st.floats(0, 1), st.sampled_from([0.0, 6 * HOUR_S, 3 * DAY_S]))
def test_what_becomes_of_a_device_depends_on_itself_alone(
    number: int, share: float, window_s: float
):
    """The same devices with fewer others beside them: nobody's outcome changes."""
    timeline = replace(HALF_THERE, seed=number)
    devices = drawn_devices(POPULATION, 0.4, number, 1)
    kept = generator(number, "kept").random(len(devices)) < share
    schedule = scheduled(deadline_s=5.0, window_s=window_s).schedule
    everybody, _ = _play(timeline, devices, 3600.0, schedule, 1)
    fewer, _ = _play(timeline, devices[kept], 3600.0, schedule, 1)
    np.testing.assert_array_equal(everybody[kept], fewer)


def test_within_a_window_a_drawn_phone_begins_when_it_is_first_there():
    """Half of them are there on a day, another half of the rest on the next, and so on."""
    at_once = plan_cohorts(HALF_THERE, scheduled(rounds=60))
    three_days = plan_cohorts(HALF_THERE, scheduled(rounds=60, window_s=3 * DAY_S))
    assert sorted_plan(at_once) == sorted_plan(three_days)
    absent = [float(np.mean(plan.outcome == Outcome.ABSENT)) for plan in (at_once, three_days)]
    assert absent[0] == pytest.approx(1 / 2, abs=0.05)
    assert absent[1] == pytest.approx(1 / 16, abs=0.03)  # it touches four days
    devices = np.arange(0, POPULATION, 5)
    first_s = HALF_THERE.first_there(devices, 3600.0, 3 * DAY_S, LOOK_S)
    for place, device in enumerate(devices):
        looks = 3600.0 + LOOK_S * np.arange(3 * 24 + 1)
        there = Availability(HALF_THERE.world.habits, SEED).available(
            np.full(len(looks), device), looks
        )
        assert first_s[place] == (looks[there.argmax()] if there.any() else np.inf)


def test_a_round_waits_for_its_window_if_a_drawn_phone_does_not_come():
    plan = plan_cohorts(HALF_THERE, scheduled(rounds=40, window_s=DAY_S))
    absent = np.add.reduceat(plan.outcome == Outcome.ABSENT, plan.offsets[:-1]) > 0
    assert absent.any()
    assert (plan.duration_s[absent] >= DAY_S).all()
    assert (plan.duration_s <= DAY_S + 60).all()  # the deadline of one that came last


def test_a_window_is_for_phones_that_are_drawn_and_send_what_the_cloud_may_see():
    with pytest.raises(ValueError, match="only a phone that is drawn by itself is waited for"):
        type(private().schedule).model_validate(
            private().schedule.model_dump() | {"sampling": "available", "window_s": 60}
        )
    hidden = private().model_dump()
    hidden["secure_sum"]["enabled"] = True
    hidden["schedule"]["window_s"] = 60
    with pytest.raises(ValueError, match="must be there together; set window_s to 0"):
        type(private()).model_validate(hidden)


def test_absent_late_and_interrupted_devices_are_drawn_and_count_as_nothing():
    plan = plan_cohorts(HALF_THERE, scheduled(rounds=60, deadline_s=5.0))
    tier = tiers_of(plan.invited, TIERS, SEED)
    for outcome in Outcome:
        assert (plan.outcome == outcome).any()
    assert (tier[plan.outcome == Outcome.LATE] == 0).all()  # 11.6 s, the others 1.16
    assert (tier[plan.outcome == Outcome.REPORTED] == 1).all()
    absent = float(np.mean(plan.outcome == Outcome.ABSENT))
    assert absent == pytest.approx(0.5, abs=0.1)
    cohort = plan.cohort(1)
    inside = slice(plan.offsets[0], plan.offsets[1])
    assert len(cohort.invited) + cohort.num_absent == len(plan.invited[inside])
    gone = plan.invited[inside][plan.outcome[inside] == Outcome.ABSENT]
    assert not np.isin(gone, cohort.invited).any()


def test_a_round_lasts_until_its_last_report_or_the_deadline():
    plan = plan_cohorts(TIMELINE, private(rounds=40))
    tier = tiers_of(np.arange(POPULATION), TIERS, SEED)
    for number in range(1, 41):
        cohort = plan.cohort(number)
        slowest = 11.6 if (tier[cohort.invited] == 0).any() else 1.16
        assert cohort.duration_s == pytest.approx(60 if cohort.num_dropped else slowest)
    np.testing.assert_allclose(plan.start_s[1:], np.cumsum(plan.duration_s)[:-1])


def test_a_phone_that_cannot_hold_the_app_is_drawn_and_absent():
    """The high tier of these has 83 MB for the app, the low one 125."""
    reference = TIERS.reference.model_copy(update={"serving_mb": 100.0})
    heavy = replace(TIMELINE, world=TIERS.model_copy(update={"reference": reference}))
    plan = plan_cohorts(heavy, private(rounds=20))
    tier = tiers_of(plan.invited, TIERS, SEED)
    assert (plan.outcome[tier == 1] == Outcome.ABSENT).all() and (tier == 1).any()
    assert not (plan.outcome[tier == 0] == Outcome.ABSENT).any()


def test_a_cohort_of_millions_costs_what_the_cohort_costs():
    tracemalloc.start()
    drawn = drawn_devices(8_400_000, 10_000 / 8_400_000, SEED, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert abs(len(drawn) - 10_000) < 500  # standard deviation 100
    assert peak < 4e6  # a byte for each phone would be 8.4e6


def test_everybody_is_drawn_with_probability_one_and_nobody_with_zero():
    assert drawn_devices(50, 1.0, SEED, 1).tolist() == list(range(50))
    assert len(drawn_devices(50, 0.0, SEED, 1)) == 0
