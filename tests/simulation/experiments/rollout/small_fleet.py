"""A small fleet under the standard plan, quick to live through."""

from functools import cache

import numpy as np

from server.rollout.decisions import Decision, RolloutState, draft
from server.rollout.membership import Membership
from simulation.experiments.rollout.app_settings import load_app
from simulation.experiments.rollout.rollout_plan import load_rollout
from simulation.experiments.rollout.scenarios import load_scenario
from simulation.experiments.rollout.virtual_app import VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.experiments.rollout.virtual_rollout import roll_out
from simulation.reporting.rollout_model import DayRow
from simulation.settings import load_settings

PLAN, _ = load_rollout("standard")
APP, _ = load_app()
WORLD = load_settings("quickstart").world
HALF = PLAN.last_measured


@cache
def fleet(devices: int = 3000, seed: int = 1) -> VirtualFleet:
    return VirtualFleet.build(devices, APP, WORLD, seed)


@cache
def members(devices: int = 3000, seed: int = 1) -> Membership:
    return Membership.of(PLAN, np.arange(devices), fleet(devices, seed).attributes())


def app(scenario: str = "healthy", devices: int = 3000, **how: int) -> VirtualApp:
    return VirtualApp(fleet(devices), members(devices), load_scenario(scenario), **how)


def state(status: str = "running", stage: int = HALF) -> RolloutState:
    return draft(1).model_copy(update={"status": status, "stage": stage})


def rolled_out(
    scenario: str, devices: int = 20_000, seed: int = 1, days: int = 16
) -> tuple[list[DayRow], list[Decision]]:
    made: list[Decision] = []
    rows = roll_out(
        PLAN,
        fleet(devices, seed),
        members(devices, seed),
        load_scenario(scenario),
        made.append,
        most_days=days,
    )
    return list(rows), made
