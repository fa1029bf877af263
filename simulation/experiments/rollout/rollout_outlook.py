"""What is known before a rollout starts: what each stage could find, how long the ramp takes.

The ship metric and its spread between devices are those of the days before the start; how quickly
devices come to use a release is asked of some of them.
"""

import math

import numpy as np

from models.errors import SettingsError
from server.rollout.forecast import forecast
from server.rollout.membership import Membership
from simulation.experiments.rollout.delivery import Delivery
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.rollout_model import Before, StageRow, UsersRow

ASKED_DEVICES = 4096
ASKED_DAYS = 7


def outlook(fleet: VirtualFleet, membership: Membership) -> Before:
    """Plan ahead, from what the fleet did before the start.

    The spread is that of clicks a request over `before_days` days and without CUPED: a device that
    has been looked at for fewer days says less, the covariate makes up for some of it.

    Raises:
        SettingsError: if nobody made a request before the start.
    """
    plan = membership.plan
    requests = fleet.requests_before[membership.is_open].astype(np.float64)
    clicks = fleet.clicks_before[membership.is_open].astype(np.float64)
    if clicks.sum() <= 0:
        raise SettingsError(
            f"{fleet.num_devices:,} devices clicked on nothing before the start: take more devices"
        )
    mean = float(clicks.sum() / requests.sum())
    deviation = float(np.std((clicks - mean * requests) / requests.mean()))
    adopted = adopted_per_day(fleet)
    found = forecast(
        plan,
        eligible_devices=int(membership.is_open.sum()),
        mean=mean,
        deviation=deviation,
        adopted_per_day=adopted,
    )
    stages = tuple(
        StageRow(
            name=row.name,
            share=stage.share,
            devices=row.devices,
            smallest=row.smallest if math.isfinite(row.smallest) else None,
            days=row.days,
        )
        for row, stage in zip(found.stages, plan.stages, strict=True)
    )
    metric = plan.ship.metric
    return Before(
        metric=f"{metric.value} per {metric.per or 'device'}",
        margin=metric.margin,
        mean=mean,
        deviation=deviation,
        adopted_per_day=adopted,
        needed=found.needed,
        days=found.days,
        stages=stages,
        users=_users(fleet),
    )


def _users(fleet: VirtualFleet) -> UsersRow | None:
    """What the releases do for the real users, as the experimenter knows and the rule does not."""
    people, model = fleet.people, fleet.app.click_model
    if people is None:
        return None
    hits, clicks = people.hit_rates(model), people.clicks_per_list(model)
    return UsersRow(
        users=people.num_users,
        old=people.names[0],
        new=people.names[1],
        hits_old=hits[0],
        hits_new=hits[1],
        clicks_old=clicks[0],
        clicks_new=clicks[1],
    )


def adopted_per_day(fleet: VirtualFleet) -> float:
    """Share of devices that have not used a release yet, and come to on a day: an average.

    A device first has to fetch it and then to open the app: the mean days of both add up.
    """
    ids = np.arange(min(fleet.num_devices, ASKED_DEVICES))
    delivery, always = Delivery(fleet), np.ones(len(ids))
    fetched = np.mean(
        [
            np.mean(delivery.checks_in(ids, day, always) & delivery.fetches(ids, day))
            for day in range(ASKED_DAYS)
        ]
    )
    opened = float(np.mean(1.0 - np.exp(-fleet.rate[ids])))
    if fetched <= 0 or opened <= 0:
        return 0.0
    return float(1.0 / (1.0 / fetched + 1.0 / opened - 1.0))
