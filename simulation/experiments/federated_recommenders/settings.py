"""The plan of the study: which methods, trained how, under which sampler, with which seeds.

presets/recommenders/ml-100k.toml   <-  a user's my.toml  <-  --set rounds=50
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clients.protocol.messages import LocalTraining
from models.errors import SettingsError
from models.recommenders.settings import MethodSettings
from server.settings import ServerOptimizerSettings
from simulation.data.loading import DataSettings
from simulation.data.splits import SplitSettings
from simulation.overrides import put_override

FOLDER, DEFAULT = "recommenders", "ml-100k"


class RecommenderRun(BaseModel):
    """One method, trained once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$", description="by which a study asks for it")
    title: str = Field(min_length=1, description="of its row")
    rounds: int = Field(ge=1, le=100_000, description="federated rounds")
    evaluate_every: int = Field(ge=1, description="rounds between evaluations of all phones")
    cohort_share: float = Field(gt=0, le=1, description="of all phones, in each round")
    num_nodes: int = Field(ge=1, le=1024, description="shards of phones; changes no figure")
    method: MethodSettings
    training: LocalTraining
    optimizer: ServerOptimizerSettings

    @model_validator(mode="after")
    def _what_methods_read(self) -> "RecommenderRun":
        if self.training.trained != "all" or self.training.dynamic or self.training.proximal:
            raise ValueError(
                'these methods know no partial training, FedProx or FedDyn: trained = "all", '
                "proximal = 0, dynamic = false"
            )
        return self


class RecommenderStudy(BaseModel):
    """The whole study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: tuple[int, ...] = Field(min_length=1, description="one training of each run for each")
    replicates: int = Field(ge=100, le=100_000, description="bootstrap replicates over users")
    data: DataSettings
    split: SplitSettings
    runs: tuple[RecommenderRun, ...] = Field(min_length=1)

    def run(self, name: str) -> RecommenderRun:
        """The run of this name.

        Raises:
            SettingsError: if there is none.
        """
        found = [run for run in self.runs if run.name == name]
        if not found:
            names = ", ".join(run.name for run in self.runs)
            raise SettingsError(f"there is no run '{name}' of a recommender: choose one of {names}")
        return found[0]

    @model_validator(mode="after")
    def _split_is_for_the_test(self) -> "RecommenderStudy":
        if self.split.target != "test":
            raise ValueError(
                'split.target is not "test": the study holds a validation item back beside the '
                'test item by itself; set it to "test"'
            )
        return self


def load_study(name: str = DEFAULT, overrides: Sequence[str] = ()) -> RecommenderStudy:
    """Read a study.

    Args:
        name: of one that comes with the product, or the path of a TOML file.
        overrides: each "key=value"; those of a run are "runs.key=value" and are put on all runs.

    Raises:
        SettingsError: if there is no such study, or a key or value is wrong.
    """
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"cannot read the study {name} ({error}): give one of {', '.join(own_studies())}, or "
            "the path of a TOML file"
        ) from error
    for override in overrides:
        key, _, _ = override.partition(".")
        if key == "runs":
            for run in tree.get("runs", []):
                put_override(run, override.removeprefix("runs."))
        else:
            put_override(tree, override)
    try:
        return RecommenderStudy.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"study {name}: {where}: {first['msg']}") from error


def own_studies() -> list[str]:
    """Names of the studies that come with the product."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    return Path(str(resources.files("simulation.presets"))) / FOLDER
