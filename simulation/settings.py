"""Settings of a run: one preset file, overrides on top, checked before anything starts.

    quickstart.toml  <-  extends  <-  a user's my.toml  <-  --set federation.rounds=50
    runs/mine/settings.json, whole, to repeat a run     <-  --set seed=2

Every number a run may change has one home: a preset. The settings classes give types and bounds,
never a second set of defaults; each floor declares its own, and this file puts them together. A
preset may say `extends = "quickstart"` and hold only what differs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.compression.settings import CompressionSettings
from models.errors import SettingsError
from models.recommender import RecommenderSettings
from server.settings import CentralTraining, Federation
from simulation.data.loading import DataSettings
from simulation.data.private_text import PrivateTextSettings
from simulation.data.splits import SplitSettings
from simulation.overrides import put_override
from simulation.preset_files import read_preset
from simulation.world.devices import WorldSettings
from simulation.world.population import PopulationSettings


class TextSettings(BaseModel):
    """Which texts and which teacher the encoder learns from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str = Field(
        min_length=1, description='"all-MiniLM-L6-v2" (fetched), or a Hugging Face folder or id'
    )
    bundle: str = Field(
        description='"" to compress; or the folder of a ready bundle, with its report beside it'
    )
    corpus: Literal["catalogue", "general", "chinese"] = Field(
        description="what the student learns from: item texts and some prose, general English "
        "text, or Chinese reviews"
    )
    prose_sentences: int = Field(ge=0, description="general texts; beside the items, if any")
    threads: int = Field(
        ge=1, le=64, description="torch threads of the compression; the bundle depends on them"
    )


class ComparisonSettings(BaseModel):
    """The arms and how they are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicates: int = Field(ge=100, le=100_000, description="bootstrap replicates over users")
    opted_in_share: float = Field(
        gt=0, lt=1, description="earliest-active users whose data trains the static arm"
    )
    knn_neighbours: int = Field(ge=1, description="neighbours kept per item by item-kNN")
    ease_l2: float = Field(gt=0, description="EASE's regularisation (lambda)")
    examples: int = Field(ge=0, le=100, description="users shown side by side in the report")
    top: int = Field(ge=1, le=50, description="recommendations shown for each of them")
    latency_requests: int = Field(ge=10, description="requests timed for p50 and p95")


class Settings(BaseModel):
    """All settings of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(ge=0, description="the address of every draw begins with it")
    workers: int = Field(ge=1, le=64, description="arms trained at the same time, one core each")
    data: DataSettings
    split: SplitSettings
    private_text: PrivateTextSettings
    text: TextSettings
    compression: CompressionSettings
    world: WorldSettings
    population: PopulationSettings
    recommender: RecommenderSettings
    central: CentralTraining
    static: CentralTraining
    federation: Federation
    comparison: ComparisonSettings


def load_settings(preset: str, overrides: Sequence[str] = ()) -> Settings:
    """Read a preset, put overrides on top, and check the whole.

    Args:
        preset: a name from `preset_names`, the path of a TOML file, or of the settings.json of a
            run that is to be repeated.
        overrides: each "section.key=value", the value in TOML ("3", "0.1", "true"); anything that
            is no TOML value is taken as a string.

    Raises:
        SettingsError: if the preset is missing, unreadable or broken, or a key or value is wrong;
            the message names the key and what is allowed.
    """
    tree = read_preset(preset)
    for override in overrides:
        put_override(tree, override)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    """One line: which key, which value, what is allowed."""
    lines = []
    for problem in error.errors()[:5]:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            siblings = ", ".join(_keys_beside(problem["loc"]))
            lines.append(f"unknown key '{key}', allowed here: {siblings}")
        elif problem["type"] == "missing":
            lines.append(f"'{key}' is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # A section whose parts do not fit each other: the message names them.
            value = "" if isinstance(problem["input"], Mapping) else f" = {problem['input']!r}"
            lines.append(f"{key}{value}: {message[:1].lower()}{message[1:]}")
    more = len(error.errors()) - len(lines)
    return "settings: " + "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a section takes, to help with a misspelled one."""
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        field = model.model_fields.get(str(part))
        model = field.annotation if field else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []
