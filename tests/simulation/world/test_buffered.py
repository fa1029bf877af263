from dataclasses import replace

import numpy as np
import pytest

from clients.protocol.messages import TrainTask
from clients.recommender_training import train_cohort
from clients.shard import DeviceShard
from models.errors import SettingsError
from server.cohorts import CohortPlan, Outcome
from server.history import History
from server.settings import Federation
from simulation.engines.inline import run_inline
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.devices import tiers_of
from simulation.world.timeline import RoundCost, Timeline
from tests.tiny_world import ALWAYS, RECOMMENDER, SEED, TIERS, TinyWorld, buffered

POPULATION = 200
# 8 Mbit each way: a high phone needs 0.16 s down, 0.2 s of training and 0.8 s up, a low one ten
# times as long.
TIMELINE = Timeline(TIERS, POPULATION, RoundCost(1_000_000, 1_000_000, 0.2), SEED)


def with_schedule(rounds: int, **changes: object) -> Federation:
    settings = buffered(rounds=rounds)
    return settings.model_copy(update={"schedule": settings.schedule.model_copy(update=changes)})


def busy_s(plan: CohortPlan) -> np.ndarray:
    """How long each device of a plan needs."""
    return np.where(tiers_of(plan.invited, TIERS, SEED) == 0, 11.6, 1.16)


def test_every_step_has_its_reports_and_no_device_twice():
    plan = plan_cohorts(TIMELINE, with_schedule(40))
    for number in range(1, 41):
        cohort = plan.cohort(number)
        assert len(cohort.reported) == 5
        assert len(set(cohort.invited.tolist())) == len(cohort.invited)
        assert (np.diff(cohort.invited) > 0).all()
        staleness = number - 1 - cohort.version
        assert staleness.min() >= 0 and staleness.max() <= 3


def test_the_number_at_work_is_what_was_asked_for():
    """Every phone of a plan was at work from its version's step to its own, give or take a look."""
    schedule = {"concurrency": 12, "look_every_s": 0.01}
    plan = plan_cohorts(TIMELINE, with_schedule(60, **schedule))
    begins = np.append(plan.start_s, plan.start_s[-1] + plan.duration_s[-1])
    step = np.repeat(np.arange(60), np.diff(plan.offsets))
    done = plan.outcome != Outcome.DROPPED
    middle = begins[20] + 1e-6
    at_work = ((begins[plan.version] <= middle) & (begins[step + 1] > middle) & done).sum()
    assert at_work <= 12 + 5  # a version holds until the next step


def test_slow_phones_are_stale_and_too_slow_ones_late():
    plan = plan_cohorts(TIMELINE, with_schedule(80))
    step = np.repeat(np.arange(80), np.diff(plan.offsets))
    slow, reported = busy_s(plan) > 5, plan.outcome == Outcome.REPORTED
    staleness = step - plan.version
    assert staleness[slow & reported].mean() > staleness[~slow & reported].mean()
    assert (plan.outcome == Outcome.LATE).any()
    assert slow[plan.outcome == Outcome.LATE].all()  # older than 3 steps
    early = plan_cohorts(TIMELINE, with_schedule(80, deadline_s=5.0))
    assert not (busy_s(early)[early.outcome == Outcome.REPORTED] > 5).any()


def test_a_longer_plan_begins_with_the_shorter_one():
    short, long = (plan_cohorts(TIMELINE, with_schedule(rounds)) for rounds in (4, 12))
    for number in range(1, 5):
        np.testing.assert_array_equal(short.cohort(number).invited, long.cohort(number).invited)
        np.testing.assert_array_equal(short.cohort(number).version, long.cohort(number).version)


def test_nobody_for_two_weeks_is_said():
    never = TIERS.model_copy(
        update={"habits": ALWAYS.model_copy(update={"idle_at_night": 0, "idle_by_day": 0})}
    )
    with pytest.raises(SettingsError, match="finds no phone for two weeks"):
        plan_cohorts(replace(TIMELINE, world=never), with_schedule(1, retry_s=3600))


def test_the_number_of_nodes_changes_nothing(tiny: TinyWorld):
    finals = []
    for nodes in (1, 3, 8):
        folder = tiny.prepare_run(f"nodes-{nodes}", buffered(nodes))
        run_inline(folder, nodes)
        finals.append(History(folder).read_final())
    plan = CohortPlan.read(folder / "cohorts.npz")
    versions = [set(plan.cohort(number).version.tolist()) for number in range(1, 7)]
    assert max(map(len, versions)) > 1  # else this tests nothing new
    for final in finals[1:]:
        np.testing.assert_allclose(final, finals[0], atol=1e-5)


def test_a_step_is_the_weighted_mean_from_the_versions_that_were_fetched(tiny: TinyWorld):
    """Step by step against the definition: w = 1 / sqrt(1 + staleness), divided by the reports."""
    settings = buffered(1, rounds=4)
    folder = tiny.prepare_run("run", settings)
    plan = CohortPlan.read(folder / "cohorts.npz")
    shard = DeviceShard.open(tiny.world, tiny.phones, tiny.fresh_taste("run/taste.npy"))
    sent = [np.load(folder / "initial.npy").astype(np.float64)]
    for number in range(1, 5):
        cohort, step = plan.cohort(number), np.zeros(tiny.layout.size)
        for device, version in zip(cohort.reported, cohort.version, strict=True):
            start = sent[version].astype(np.float32)
            task = TrainTask(start, np.array([device]), number, settings.training)
            reply = train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED)
            step += reply.update_sum / np.sqrt(number - version)
        shard.personal.settle(number)
        sent.append(sent[-1] + settings.optimizer.rate * step / len(cohort.reported))
    tiny.fresh_taste("run/taste.npy")
    run_inline(folder, 1)
    np.testing.assert_allclose(History(folder).read_final(), sent[-1], atol=1e-5)
