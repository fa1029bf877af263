"""The plan of a trade-off: one training, and the promises it is run under.

preset + overrides                      what all arms share: data, start, rounds, rates
[[arms]]  name, overrides               what each promises
[attacks]                               sizes of what each arm is attacked with
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import SettingsError
from simulation.experiments.plans import load_plan
from simulation.settings import load_settings

FOLDER = "tradeoff"


class TradeoffArm(BaseModel):
    """One promise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$", description="of its folder and its file")
    title: str = Field(min_length=1, description="of its row")
    overrides: tuple[str, ...] = Field(description='on the run, each "section.key=value"')


class Attacks(BaseModel):
    """Sizes of what each arm is attacked with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: int = Field(ge=2, description="phones whose history is read off what the cloud sees")
    sum_of: int = Field(ge=2, description="phones in the sum that a cloud sees of hidden updates")
    canaries: int = Field(
        ge=0, description="devices that are canaries, for epsilon from below; 0: none"
    )
    local_rounds: int = Field(ge=1, description="messages of a canary under local noise")
    confidence: float = Field(gt=0, lt=1, description="of epsilon from below")
    guess_shares: tuple[float, ...] = Field(description="guesses / canaries, settled beforehand")


class TradeoffPlan(BaseModel):
    """A trade-off, as the file says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = Field(description="name or path of the run's settings")
    overrides: tuple[str, ...] = Field(description="on them, for all arms")
    evaluated: int = Field(ge=0, description="devices behind each interval; 0: all of them")
    attacks: Attacks
    arms: tuple[TradeoffArm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "TradeoffPlan":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arms have names of their own, got {', '.join(names)}")
        return self


def load_tradeoff(name: str, overrides: Sequence[str] = ()) -> TradeoffPlan:
    """Read a plan, and check the settings of all its arms before anything starts.

    Args:
        name: of one that comes with the product, or the path of a TOML file.
        overrides: each "section.key=value"; those that are not the plan's are put on all arms.

    Raises:
        SettingsError: if there is no such plan, or a key or value is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _own(name)
    plan, others = load_plan(TradeoffPlan, FOLDER, path, overrides)
    plan = plan.model_copy(update={"overrides": (*plan.overrides, *others)})
    for arm in plan.arms:
        load_settings(plan.preset, [*plan.overrides, *arm.overrides])
    return plan


def own_plans() -> list[str]:
    """Names of the plans that come with the product."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _own(name: str) -> Path:
    if name not in own_plans():
        raise SettingsError(
            f"there is no trade-off '{name}': choose one of {', '.join(own_plans())}, or give the "
            "path of a .toml file"
        )
    return _folder() / f"{name}.toml"


def _folder() -> Path:
    return Path(str(resources.files("simulation.presets"))) / FOLDER
