"""The plan of a study: its question, what is run for it, and what is shown of it.

    title, question, kind        what is asked, and which function answers for one cell
    preset + overrides           settings that all cells share
    [study]                      settings of the kind
    [[arms]]  [grid]             what differs; see `study_grid`
    metric, slices, reference    what the table, the plot and the reading speak of

One `--set` serves all: a key that begins with "study." or names a part of the plan goes there,
others to the settings of every cell.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import SettingsError
from simulation.experiments.plans import load_plan
from simulation.experiments.studies.study_grid import (
    Design,
    Value,
    Variant,
    check_distinct,
    parse_grid,
    parse_seeds,
    variants_of,
)
from simulation.overrides import put_override
from simulation.settings import Settings, load_settings

FOLDER = "studies"
STUDY = "study."
"""Keys of overrides that go to the settings of the kind."""


class StudyArm(BaseModel):
    """One way of doing it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9@.-]+$", description="in files and tables of numbers")
    title: str = Field(min_length=1, description="of its row")
    overrides: tuple[str, ...] = Field(description='each "section.key=value" or "study.key=value"')


class StudyPlan(BaseModel):
    """A study, as the file says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1, description="of the page")
    question: str = Field(min_length=1, description="that it answers, one sentence")
    kind: str = Field(description="the function that measures a cell")
    preset: str = Field(description="name or path of the settings that cells share")
    overrides: tuple[str, ...] = Field(description="on them, for all cells")
    seeds: tuple[int, ...] = Field(min_length=1, description="each a run of its own")
    encoder_seed: int = Field(ge=0, description="the encoder is made once, with this seed")
    metric: str = Field(description="that plot and reading speak of")
    shown: tuple[str, ...] = Field(min_length=1, description="metrics in the table")
    slices: tuple[str, ...] = Field(min_length=1, description="with a table of their own")
    reference: str = Field(description='arm that others are held against; "": the first row')
    against: Literal["reference", "previous"] = Field(
        description="what a row's difference is to: the reference, or the row above"
    )
    replicates: int = Field(ge=100, le=100_000, description="of the bootstrap")
    design: Design = Field(description="of the grid")
    grid: dict[str, tuple[Value, ...]] = Field(description="key -> values")
    study: dict[str, Any] = Field(description="settings of the kind")
    arms: tuple[StudyArm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named(self) -> "StudyPlan":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arms have names of their own, got {', '.join(names)}")
        if self.reference and self.reference not in names:
            raise ValueError(f"reference '{self.reference}' is none of {', '.join(names)}")
        if self.metric not in self.shown:
            raise ValueError(f"metric '{self.metric}' is not shown: add it to {list(self.shown)}")
        return self


@dataclass(frozen=True, slots=True)
class Resolved:
    """A variant with the settings that its cells have.

    Attributes:
        variant: it.
        settings: with the seed of the plan's preset; a cell puts its own there.
        options: of the kind, checked.
    """

    variant: Variant
    settings: Settings
    options: BaseModel


def study_names() -> list[str]:
    """Names of the studies that come with the product."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_study(
    name: str, overrides: Sequence[str] = (), grid: Sequence[str] = (), seeds: str = ""
) -> StudyPlan:
    """Read a plan, with what the command line changes in it.

    Args:
        name: of one that comes with the product, or the path of a TOML file.
        overrides: each "key=value"; those that are not the plan's are put on all cells.
        grid: each "key=v1,v2"; any at all take the place of the plan's own grid, crossed.
        seeds: such as "0-4"; "" leaves the plan's.

    Raises:
        SettingsError: if there is no such study, or a key or value is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _own(name)
    plan, others = load_plan(StudyPlan, FOLDER, path, overrides)
    for other in others:
        if other.partition("=")[0].strip() == "seed":
            raise SettingsError(f"--set {other}: a study has seeds of its own, use --seeds 0-4")
    changes: dict[str, Any] = {"overrides": (*plan.overrides, *others)}
    if grid:
        changes |= {"grid": parse_grid(grid), "design": "cross"}
    if seeds:
        changes |= {"seeds": parse_seeds(seeds)}
    return plan.model_copy(update=changes)


def resolve(plan: StudyPlan, options: type[BaseModel]) -> list[Resolved]:
    """All variants of a plan with their settings, in the order of the table.

    One-at-a-time, a point that changes nothing is left out; the arm as it is stands for it.

    Args:
        plan: of the study.
        options: the class of the kind's settings.

    Raises:
        SettingsError: if a key or value is wrong, or two variants are the same.
    """
    for key, values in plan.grid.items():
        check_distinct(key, values)
    arms = [(arm.name, arm.title, arm.overrides) for arm in plan.arms]
    found: list[Resolved] = []
    for variant in variants_of(arms, plan.grid, plan.design):
        made = _resolved(plan, variant, options)
        same = [old for old in found if _is_same(old, made)]
        if not same:
            found.append(made)
        elif plan.design == "cross":
            raise SettingsError(
                f"'{variant.name}' and '{same[0].variant.name}' are the same settings: leave one "
                "out"
            )
    return found


def _resolved(plan: StudyPlan, variant: Variant, options: type[BaseModel]) -> Resolved:
    everything = (*plan.overrides, *variant.overrides)
    try:
        tree: dict[str, Any] = {"study": copy.deepcopy(plan.study)}
        for override in everything:
            if override.startswith(STUDY):
                put_override(tree, override)
        ours = options.model_validate(tree["study"])
        rest = [override for override in everything if not override.startswith(STUDY)]
        return Resolved(variant, load_settings(plan.preset, rest), ours)
    except ValidationError as error:
        raise SettingsError(f"{variant.name}: {_explain(error, options)}") from error
    except SettingsError as error:
        raise SettingsError(f"{variant.name}: {error}") from error


def _explain(error: ValidationError, options: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(f"{STUDY}{name}" for name in options.model_fields) or "none"
        return f"unknown key '{STUDY}{key}', this study has: {allowed}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{STUDY}{key} = {first['input']!r}: {message[:1].lower()}{message[1:]}"


def _is_same(one: Resolved, other: Resolved) -> bool:
    return one.settings == other.settings and one.options == other.options


def reference_of(plan: StudyPlan, variants: Sequence[Variant]) -> dict[str, str]:
    """What each variant is held against, by name: "" where it is the reference.

    With several arms that is the reference arm at the same point, else the first variant.
    """
    arm = plan.reference or variants[0].arm
    at_point: Mapping[tuple[tuple[str, str], ...], str] = {
        variant.point: variant.name for variant in variants if variant.arm == arm
    }
    first = next(variant.name for variant in variants if variant.arm == arm)
    several = len(plan.arms) > 1 and plan.design == "cross"
    against: dict[str, str] = {}
    previous = ""
    for variant in variants:
        wanted = at_point.get(variant.point, first) if several else first
        if plan.against == "previous":
            wanted = previous
        against[variant.name] = "" if wanted == variant.name else wanted
        previous = variant.name
    return against


def _own(name: str) -> Path:
    if name not in study_names():
        raise SettingsError(
            f"there is no study '{name}': choose one of {', '.join(study_names())}, or give the "
            "path of a .toml file"
        )
    return _folder() / f"{name}.toml"


def _folder() -> Path:
    return Path(str(resources.files("simulation.presets"))) / FOLDER
