"""Before the start: what each stage could find, and how long the ramp takes.

A stage of share s has min(s, 1 - s) of the eligible devices outside the holdout in each arm, of
which `adopted_per_day` of those that have not yet are exposed each day: 1 - (1 - a)^days.
"""

from dataclasses import dataclass
from math import ceil, inf, log

from models.statistics.sample_size import (
    devices_per_arm,
    drift_for,
    even_looks,
    smallest_effect,
)
from server.rollout.settings import LARGEST_MEASURED_SHARE, RolloutPlan


@dataclass(frozen=True, slots=True)
class StageForecast:
    """One stage, ahead of time.

    Attributes:
        name: of the stage.
        devices: in each arm, exposed by the end of its minimum days.
        smallest: relative change of the ship metric that would be found; infinity: none.
        days: from the start of the rollout to its end at the earliest.
    """

    name: str
    devices: int
    smallest: float
    days: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The whole ramp, ahead of time.

    Attributes:
        stages: one row each.
        needed: devices in each arm that the ship decision is planned for.
        ship_days: days of the last measured stage until it has them; None: never.
        days: until the end of the last stage; None: never.
    """

    stages: tuple[StageForecast, ...]
    needed: int
    ship_days: int | None
    days: int | None


def forecast(
    plan: RolloutPlan,
    *,
    eligible_devices: int,
    mean: float,
    deviation: float,
    adopted_per_day: float,
) -> Forecast:
    """Plan ahead, from the ship metric as it is today.

    Args:
        plan: of the rollout.
        eligible_devices: that the rule and the lane admit, holdout included.
        mean: of the ship metric.
        deviation: of the metric between devices: sd of its linear part, after CUPED.
        adopted_per_day: share of admitted devices not yet exposed that are so a day later.
    """
    drift = drift_for(plan.ship.power, even_looks(plan.ship.looks), plan.ship.alpha)
    needed = devices_per_arm(plan.ship.metric.margin * mean, deviation, drift)
    outside = eligible_devices * (1.0 - plan.holdout.share)
    rows, begun = [], 0
    for stage in plan.stages:
        arm = outside * min(stage.share, 1.0 - stage.share)
        if stage.share > LARGEST_MEASURED_SHARE:
            last = plan.stages[plan.last_measured].share
            arm = eligible_devices * plan.holdout.share * (stage.share - last)
        devices = int(arm * (1.0 - (1.0 - adopted_per_day) ** stage.min_days))
        begun += stage.min_days
        smallest = smallest_effect(devices, deviation, drift) / mean if devices else inf
        rows.append(StageForecast(stage.name, devices, smallest, begun))
    measured = plan.stages[plan.last_measured]
    ship_days = _days_until(needed, outside * measured.share, adopted_per_day)
    total = None
    if ship_days is not None:
        total = begun + max(0, ship_days - measured.min_days)
    return Forecast(tuple(rows), needed, ship_days, total)


def _days_until(needed: int, arm: float, adopted_per_day: float) -> int | None:
    """Days until this many devices of an arm are exposed; None: never."""
    if needed >= arm or adopted_per_day <= 0:
        return None
    if adopted_per_day >= 1:
        return 1
    return ceil(log(1.0 - needed / arm) / log(1.0 - adopted_per_day))
