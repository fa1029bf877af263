"""Everything that a rollout of the studio depends on, beside what its operator does."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import SettingsError
from server.rollout.settings import RolloutPlan
from simulation.experiments.plans import explain
from simulation.experiments.rollout.app_settings import AppSettings, load_app
from simulation.experiments.rollout.rollout_plan import load_rollout
from simulation.experiments.rollout.scenarios import Scenario, load_scenario
from simulation.overrides import put_override
from simulation.preset_files import read_preset
from simulation.world.devices import WorldSettings

FEWEST_DEVICES, MOST_DEVICES = 1_000, 10_000_000


class RolloutSetup(BaseModel):
    """A plan, what is wrong with the release, and a fleet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: RolloutPlan
    scenario: Scenario
    app: AppSettings
    world: WorldSettings
    devices: int = Field(ge=FEWEST_DEVICES, le=MOST_DEVICES, description="of the virtual fleet")
    seed: int = Field(ge=0, description="of the fleet and of all draws")


def load_setup(
    scenario: str, plan: str, devices: int, seed: int, overrides: Sequence[str] = ()
) -> RolloutSetup:
    """Read presets and put overrides on top.

    Args:
        scenario: a name, or the path of a .toml file.
        plan: likewise.
        devices: of the fleet.
        seed: of all draws.
        overrides: each "section.key=value", of the plan, the app or the world.

    Raises:
        SettingsError: if there is no such preset, or a key or value is wrong.
    """
    if not FEWEST_DEVICES <= devices <= MOST_DEVICES:
        raise SettingsError(
            f"{devices:,} devices: the studio takes {FEWEST_DEVICES:,} to {MOST_DEVICES:,}"
        )
    loaded, others = load_rollout(plan, overrides)
    app, others = load_app(others)
    return RolloutSetup(
        plan=loaded,
        scenario=load_scenario(scenario),
        app=app,
        world=_world(others),
        devices=devices,
        seed=seed,
    )


class _WorldPart(BaseModel):
    """The part of a preset that a rollout needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    world: WorldSettings


def _world(overrides: Sequence[str]) -> WorldSettings:
    """The world of the default job; to read all of its settings would load torch."""
    tree = {"world": read_preset("quickstart")["world"]}
    for override in overrides:
        put_override(tree, override)
    try:
        return _WorldPart.model_validate(tree).world
    except ValidationError as error:
        raise SettingsError(
            f"settings of plan, app or world of a rollout: {explain(error)}"
        ) from error
