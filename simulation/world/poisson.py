"""Poisson sampling on the virtual clock: every phone is drawn by itself, there or not.

    drawn    12         40         77        91                q = cohort_size / N, each by itself
    there    yes        no         yes       yes
    outcome  reported   absent     dropped   late              all but the first: a zero update

Formal guarantees, which amplification by sampling rests on [1]:

* Each device is drawn with probability q in each round, whatever it holds, whether it is there,
  and whoever else is drawn: Binomial(N, q) many, then a uniform subset of that size.
* What becomes of a drawn device depends on itself alone: it is there or not, it is interrupted or
  not, its own time is within the deadline or not. Nobody is too late because others were faster,
  and no round waits until enough phones are there.

A round lasts until its last report; where one is missing, to the deadline. A device that was drawn
and is not there, or cannot hold the app, is absent and known to be so at once.

[1] I. Mironov, K. Talwar, L. Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism",
    arXiv 1908.10530.
"""

import numpy as np
from numpy.typing import NDArray

from models.seeds import generator
from server.cohorts import CohortPlan, Outcome
from server.settings import Federation
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
        outcome, duration_s = _play(timeline, devices, time_s, schedule.deadline_s, round_number)
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
    deadline_s: float,
    round_number: int,
) -> tuple[NDArray[np.int8], float]:
    """Return what becomes of each drawn device, and how long the round takes."""
    outcome = np.full(len(devices), Outcome.ABSENT, np.int8)
    there = np.flatnonzero(timeline.there(devices, start_s))
    busy_s = timeline.busy_s(devices[there], round_number)
    outcome[there] = np.where(busy_s <= deadline_s, Outcome.REPORTED, Outcome.LATE)
    # The cloud does not wait beyond the deadline, and a phone does not work on after it.
    end_s = start_s + np.minimum(busy_s, deadline_s)
    outcome[there[timeline.interrupted(devices[there], end_s, round_number)]] = Outcome.DROPPED
    all_report = len(there) > 0 and (outcome[there] == Outcome.REPORTED).all()
    return outcome, float(busy_s.max()) if all_report else deadline_s
