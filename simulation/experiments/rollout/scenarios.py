"""What is wrong with a release, as a small set of named effects by arm, tier, region and day.

    what            factor                          plus
    clicks          of the chance of a click
    random lists    share of the lists (`share`)
    latency         of the time of a request
    bytes, joules   of what a request takes
    crash, out_of_memory, opt_out                   chance on a day of use
    check in        of the chance to fetch
    report          chance that a day is reported

A factor holds from `first_day` to `last_day` and grows by `growth` a day: factor * (1 + growth)^n,
n = 1 on the first day. Effects of the same kind multiply, and their chances add up.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import SettingsError
from simulation.experiments.rollout.rollout_plan import FOLDER

What = Literal[
    "clicks",
    "random lists",
    "latency",
    "bytes",
    "joules",
    "crash",
    "out_of_memory",
    "opt_out",
    "check in",
    "report",
]
FACTORS: tuple[What, ...] = ("clicks", "latency", "bytes", "joules", "check in", "report")
CHANCES: tuple[What, ...] = ("random lists", "crash", "out_of_memory", "opt_out")
MOST_EFFECTS = 50
"""Of one scenario, with the faults that an operator adds to it."""

OLD, NEW = 0, 1
"""First axis of strengths: what the release before does, and the new one."""


class Effect(BaseModel):
    """One thing that a release, or the world, does to some devices.

    Defaults are neutral elements, not settings: what an effect does not name does not change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: What = Field(description="what changes")
    factor: float = Field(default=1.0, ge=0, le=100, description="what it is multiplied by")
    growth: float = Field(default=0.0, gt=-1, le=10, description="of the factor, a day")
    plus: float = Field(default=0.0, ge=0, le=0.5, description="chance on a day of use, added")
    share: float = Field(default=0.0, ge=0, le=1, description="of the lists that are random")
    tiers: tuple[str, ...] = Field(default=(), description="names of tiers; none: all")
    regions: tuple[str, ...] = Field(default=(), description="names of time zones; none: all")
    arms: Literal["treated", "both"] = Field(
        default="treated", description="devices with the release, or all of them"
    )
    first_day: int = Field(default=0, ge=0, description="of the rollout")
    last_day: int = Field(default=10_000, ge=0, description="of the rollout")

    @model_validator(mode="after")
    def _says_what_it_can(self) -> "Effect":
        in_factors = self.factor != 1.0 or self.growth != 0.0
        if self.what in CHANCES and in_factors:
            raise ValueError(f"'{self.what}' has a plus or a share, no factor and no growth")
        if self.what in FACTORS and (self.plus or self.share):
            raise ValueError(f"'{self.what}' has a factor and a growth, no plus and no share")
        if (self.what == "random lists") != (self.share > 0) or (
            self.plus > 0 and self.what not in CHANCES[1:]
        ):
            raise ValueError("'random lists' has a share, failures have a plus")
        if self.what in ("check in", "report") and self.factor > 1:
            raise ValueError(f"'{self.what}' is a chance: a factor from 0 to 1")
        if self.last_day < self.first_day:
            raise ValueError(f"an effect from day {self.first_day} to {self.last_day} never is")
        return self


class Scenario(BaseModel):
    """What is tried on the fleet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="of the scenario")
    title: str = Field(min_length=1, max_length=120, description="what is wrong, in a few words")
    harm: str = Field(max_length=40, description='what a good rule sees; "": it should not halt')
    effects: tuple[Effect, ...] = Field(max_length=MOST_EFFECTS)

    def strengths(
        self, day: int, tiers: Sequence[str], regions: Sequence[str]
    ) -> dict[What, NDArray[np.float64]]:
        """What holds on a day, each (2, T, Z): old or new release, tier, region.

        Raises:
            SettingsError: if an effect names a tier or region that the fleet does not have.
        """
        shape = (2, len(tiers), len(regions))
        found: dict[What, NDArray[np.float64]] = {name: np.ones(shape) for name in FACTORS}
        found |= {name: np.zeros(shape) for name in CHANCES}
        for effect in self.effects:
            places = _places(effect, tiers, regions)
            if not effect.first_day <= day <= effect.last_day:
                continue
            if effect.what in FACTORS:
                grown = (1.0 + effect.growth) ** (day - effect.first_day + 1)
                found[effect.what][places] *= effect.factor * grown
            else:
                found[effect.what][places] += effect.plus + effect.share
        return {
            name: np.minimum(each, 1) if name in CHANCES else each for name, each in found.items()
        }


def _places(
    effect: Effect, tiers: Sequence[str], regions: Sequence[str]
) -> tuple[NDArray[np.intp], ...]:
    chosen: list[list[int]] = []
    for name, wanted, known in (
        ("tiers", effect.tiers, tiers),
        ("regions", effect.regions, regions),
    ):
        unknown = [each for each in wanted if each not in known]
        if unknown:
            raise SettingsError(
                f"an effect on {effect.what} names {name} '{unknown[0]}', the fleet has "
                f"{', '.join(known)}: name some of these"
            )
        chosen.append([known.index(each) for each in wanted or known])
    return np.ix_([OLD, NEW] if effect.arms == "both" else [NEW], *chosen)


def load_scenario(name: str) -> Scenario:
    """Read a scenario of the product by name, or a .toml file.

    Raises:
        SettingsError: if there is none, or a key or value is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in own_scenarios():
            raise SettingsError(
                f"there is no scenario '{name}': choose one of {', '.join(own_scenarios())}, or "
                "give the path of a .toml file"
            )
        path = _folder() / f"{name}.toml"
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the scenario {path} ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        told = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"scenario {path.name}: {where}: {told}") from error


def with_releases(
    scenario: Scenario, names: tuple[str, str], clicks_old: float, clicks_new: float
) -> Scenario:
    """A scenario on real users: two real releases, and whatever else is wrong with the new one.

    Args:
        scenario: that is tried with them.
        names: of the release before, and of the new one.
        clicks_old: a list, that the ranks of the release before come to.
        clicks_new: those of the new one; fewer are a harm that a good rule sees.
    """
    title = f"{names[1]} in place of {names[0]}, on real users"
    if scenario.effects:
        title += f"; {scenario.title}"
    harm = scenario.harm or ("clicks" if clicks_new < clicks_old else "")
    return scenario.model_copy(update={"title": title[:120], "harm": harm})


def own_scenarios() -> list[str]:
    """Names of the scenarios that come with the product."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    return Path(str(resources.files("simulation.presets"))) / FOLDER / "scenarios"
