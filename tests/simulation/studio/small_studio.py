"""A studio of a few phones, quick to live through."""

import time
from collections.abc import Callable
from pathlib import Path

from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.scenarios import load_scenario
from simulation.studio.driver import Studio
from simulation.studio.rollout_session import RolloutSession
from simulation.studio.rollout_setup import RolloutSetup
from simulation.studio.store import Store
from tests.simulation.experiments.rollout.small_fleet import APP, PLAN, WORLD, fleet, members

DEVICES, SEED = 3000, 1


def setup(scenario: str = "healthy", plan: RolloutPlan = PLAN, seed: int = SEED) -> RolloutSetup:
    return RolloutSetup(
        plan=plan,
        scenario=load_scenario(scenario),
        app=APP,
        world=WORLD,
        devices=DEVICES,
        seed=seed,
    )


def session(scenario: str = "healthy") -> RolloutSession:
    return RolloutSession(setup(scenario), fleet(DEVICES, SEED), members(DEVICES, SEED))


def opened(folder: Path, scenario: str = "healthy") -> Studio:
    """A studio that is ready, with a rollout of this scenario if the folder has none."""
    store = Store.open(folder)
    studio = Studio(store)
    if store.current() is None:
        studio.begin(setup(scenario))
    studio.start()
    wait_for(lambda: studio.snapshot["phase"]["name"] != "busy")
    return studio


def wait_for(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.01)


def start(studio: Studio) -> None:
    studio.order("start", "go")
