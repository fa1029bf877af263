"""The one entry to interactions: settings in, checked table out.

source = "ml-100k"            the RecBole wheel, fetched if need be
source = "movielens-folder"   path = a folder of GroupLens, 100K or 1M
source = "table"              path = interactions, items_path = items, CSV or Parquet
"""

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.progress import Progress, silent
from simulation.data.interactions import Interactions
from simulation.data.movielens import load_movielens_100k, load_movielens_folder
from simulation.data.tables import load_tables

SourceName = Literal["ml-100k", "movielens-folder", "table"]


class DataSettings(BaseModel):
    """Where the interactions come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: SourceName = Field(description="which loader: " + ", ".join(get_args(SourceName)))
    path: str = Field(
        description="movielens-folder: its folder; table: the interactions file; else empty"
    )
    items_path: str = Field(description="table: the file of item texts; else empty")


def load_interactions(
    settings: DataSettings, cache: Path, progress: Progress = silent
) -> Interactions:
    """Load and check the interactions that the settings name.

    Args:
        settings: which source, and its paths.
        cache: the cache folder; only fetched sources use it.
        progress: told when a download begins and ends.

    Raises:
        SettingsError: if a path is missing that the source needs, or given where none is used.
        DataError: if the data cannot be had, read or used.
    """
    _check_paths(settings)
    path = Path(settings.path).expanduser()
    if settings.source == "table":
        return load_tables(path, Path(settings.items_path).expanduser())
    if settings.source == "movielens-folder":
        return load_movielens_folder(path)
    return load_movielens_100k(cache, progress)


def _check_paths(settings: DataSettings) -> None:
    needs = {
        "path": settings.source in ("movielens-folder", "table"),
        "items_path": settings.source == "table",
    }
    for key, needed in needs.items():
        given = getattr(settings, key)
        if needed and not given:
            raise SettingsError(f"data.source={settings.source} needs data.{key}: give a path")
        if given and not needed:
            raise SettingsError(
                f"data.{key}={given} is not used by data.source={settings.source}: leave it "
                "empty, or choose data.source=movielens-folder or table"
            )
