"""The virtual clock: who is invited to which round, who reports, and how long it takes.

The plan is written before training. Nothing in it depends on a gradient: it is a function of the
population, the tiers, the bytes that travel and the steps that are trained, and every draw has an
address, so the same plan drives every engine.

A round lasts until its slowest reporting device is done:

    download P * 4 bytes, train the local steps, upload P * 4 bytes
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.seeds import generator
from server.cohorts import CohortPlan
from server.settings import Federation
from simulation.world.devices import WorldSettings


@dataclass(frozen=True, slots=True)
class RoundCost:
    """What one device does in a round.

    Attributes:
        bytes_each_way: of parameters down, and of the update up.
        train_s: seconds of local training on one core of the measuring machine.
    """

    bytes_each_way: int
    train_s: float


def plan_cohorts(
    tier: NDArray[np.int8],
    world: WorldSettings,
    federation: Federation,
    cost: RoundCost,
    seed: int,
) -> CohortPlan:
    """Plan all rounds: uniform cohorts without replacement, dropouts by tier.

    Args:
        tier: (U,) tier of each device.
        world: the tiers.
        federation: rounds and cohort size.
        cost: what one device does in a round.
        seed: the run's seed; round r draws at (seed, "cohort", r).

    Raises:
        SettingsError: if the cohort is larger than the population.
    """
    population = len(tier)
    federation.check_population(population)
    busy_s = _busy_s(world, cost)
    dropout = np.array([kind.dropout for kind in world.tiers])
    invited, reported, durations = [], [], []
    for round_number in range(1, federation.rounds + 1):
        rng = generator(seed, "cohort", round_number)
        cohort = np.sort(rng.choice(population, federation.cohort_size, replace=False))
        stays = rng.random(len(cohort)) >= dropout[tier[cohort]]
        invited.append(cohort)
        reported.append(stays)
        durations.append(float(busy_s[tier[cohort[stays]]].max(initial=0.0)))
    ends = np.cumsum(durations)
    return CohortPlan(
        offsets=np.arange(federation.rounds + 1, dtype=np.int64) * federation.cohort_size,
        invited=np.concatenate(invited).astype(np.int64),
        reported=np.concatenate(reported),
        start_s=np.concatenate([[0.0], ends[:-1]]),
        duration_s=np.asarray(durations),
    )


def _busy_s(world: WorldSettings, cost: RoundCost) -> NDArray[np.float64]:
    """How long one round keeps a device of each tier busy, (tiers,)."""
    bits = 8.0 * cost.bytes_each_way
    return np.array(
        [
            bits / (tier.down_mbit_per_s * 1e6)
            + cost.train_s / tier.speed
            + bits / (tier.up_mbit_per_s * 1e6)
            for tier in world.tiers
        ]
    )
