"""The one entry to interactions: settings in, checked table out.

source = "ml-100k"            the RecBole wheel, fetched if need be
source = "movielens-folder"   path = a folder or zip of GroupLens: 100K, 1M, small, 20M, 25M, 32M
source = "mind"               path = a folder with the train part of MIND, and perhaps its dev part
source = "book-crossing"      path = a folder or zip with BX-Book-Ratings.csv and BX-Books.csv
source = "goodbooks-10k"      path = a folder or zip with ratings.csv and books.csv
source = "auto"               path = any of these four; its files tell which
source = "table"              path = interactions, items_path = items, CSV or Parquet
"""

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.progress import Progress, silent
from simulation.data.catalogues import CatalogueSource, load_catalogue
from simulation.data.interactions import Interactions
from simulation.data.movielens import load_movielens_100k
from simulation.data.tables import load_tables

SourceName = Literal["ml-100k", CatalogueSource, "table"]


class DataSettings(BaseModel):
    """Where the interactions come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: SourceName = Field(description="which loader: " + ", ".join(get_args(SourceName)))
    path: str = Field(
        description="table: the interactions file; ml-100k: empty; else a folder or zip"
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
    if settings.source != "ml-100k":
        return load_catalogue(settings.source, path)
    return load_movielens_100k(cache, progress)


def _check_paths(settings: DataSettings) -> None:
    needs = {
        "path": settings.source != "ml-100k",
        "items_path": settings.source == "table",
    }
    for key, needed in needs.items():
        given = getattr(settings, key)
        if needed and not given:
            raise SettingsError(f"data.source={settings.source} needs data.{key}: give a path")
        if given and not needed:
            raise SettingsError(
                f"data.{key}={given} is not used by data.source={settings.source}: leave it "
                "empty, or choose another data.source: auto finds out what a folder holds"
            )
