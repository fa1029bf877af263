"""Poisson sampling on the virtual clock: every phone is drawn by itself, there or not.

    drawn    12         40         77        91        95      q = cohort_size / N, each by itself
    there    yes        no         yes       yes       in 3 h
    outcome  reported   absent     dropped   late      with a window of 3 h or more: reported
                                                       all but "reported": a zero update

Formal guarantees, which amplification by sampling rests on [1]:

* Each device is drawn with probability q in each round, whatever it holds, whether it is there,
  and whoever else is drawn: Binomial(N, q) many, then a uniform subset of that size.
* What becomes of a drawn device depends on itself alone: it is there or not, it is interrupted or
  not, its own time is within the deadline or not. Nobody is too late because others were faster,
  and no round waits until enough phones are there.

At any moment few phones charge, are idle and on a network that costs nothing, and each of the
others is a zero update under the same noise. So a round may have a window: a drawn device begins
when it is first there, and its deadline counts from then. Within a day nearly all of them are.

A round lasts until its last report; where one is missing, to that device's deadline or the end of
the window. Without a window a device that is not there, or cannot hold the app, is known to be
absent at once.

[1] I. Mironov, K. Talwar, L. Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism",
    arXiv 1908.10530.
"""

import numpy as np
from numpy.typing import NDArray

from models.seeds import generator
from server.cohorts import CohortPlan, Outcome
from server.settings import Federation, Schedule
from simulation.world.timeline import Timeline


def drawn_devices(
    num_devices: int, probability: float, seed: int, round_number: int
) -> NDArray[np.int64]:
    """Draw each device by itself; return those drawn, ascending.

    The time and memory are those of the devices drawn, not of the population, as long as they are
    few of it.

    Args:
        num_devices: the population, N.
        probability: q.
        seed: the run's seed.
        round_number: part of the address.
    """
    rng = generator(seed, "poisson sampling", round_number)
    count = rng.binomial(num_devices, probability)
    drawn = rng.choice(num_devices, count, replace=False, shuffle=False)
    return np.sort(drawn).astype(np.int64)


def plan_poisson(timeline: Timeline, federation: Federation) -> CohortPlan:
    """Plan all rounds of a run with Poisson sampling.

    Args:
        timeline: the population.
        federation: rounds, devices a round draws on average, and schedule.
    """
    schedule, num_devices = federation.schedule, timeline.num_devices
    probability = federation.cohort_size / num_devices
    time_s = schedule.start_s
    drawn, outcomes, starts, durations = [], [], [], []
    for round_number in range(1, federation.rounds + 1):
        devices = drawn_devices(num_devices, probability, timeline.seed, round_number)
        outcome, duration_s = _play(timeline, devices, time_s, schedule, round_number)
        drawn.append(devices)
        outcomes.append(outcome)
        starts.append(time_s)
        durations.append(duration_s)
        time_s += duration_s + schedule.pause_s
    offsets = np.concatenate([[0], np.cumsum([len(devices) for devices in drawn])])
    return CohortPlan(
        offsets=offsets.astype(np.int64),
        invited=np.concatenate(drawn),
        outcome=np.concatenate(outcomes),
        version=np.repeat(np.arange(federation.rounds), np.diff(offsets)),
        start_s=np.asarray(starts),
        duration_s=np.asarray(durations),
    )


def _play(
    timeline: Timeline,
    devices: NDArray[np.int64],
    start_s: float,
    schedule: Schedule,
    round_number: int,
) -> tuple[NDArray[np.int8], float]:
    """Return what becomes of each drawn device, and how long the round takes."""
    outcome = np.full(len(devices), Outcome.ABSENT, np.int8)
    begin_s = timeline.first_there(devices, start_s, schedule.window_s, schedule.retry_s)
    there, deadline_s = np.flatnonzero(np.isfinite(begin_s)), schedule.deadline_s
    begin_s = begin_s[there]
    busy_s = timeline.busy_s(devices[there], round_number)
    outcome[there] = np.where(busy_s <= deadline_s, Outcome.REPORTED, Outcome.LATE)
    # The cloud does not wait beyond the deadline, and a phone does not work on after it.
    end_s = begin_s + np.minimum(busy_s, deadline_s)
    outcome[there[timeline.interrupted(devices[there], end_s, round_number)]] = Outcome.DROPPED
    reported = outcome[there] == Outcome.REPORTED
    known_s = begin_s - start_s + np.where(reported, busy_s, deadline_s)
    if len(there) == 0:
        return outcome, max(deadline_s, schedule.window_s)
    waited_s = schedule.window_s if len(there) < len(devices) else 0.0
    return outcome, max(float(known_s.max()), waited_s)
