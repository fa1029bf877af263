"""MovieLens in the four forms people have it: RecBole's copy, and the folders of GroupLens.

    RecBole wheel   ml-100k.inter, ml-100k.item   tabs, header with types, year in its own column
    ml-100k/        u.data, u.item, u.genre       tabs and "|", Latin-1, genres as 19 flags
    ml-1m/          ratings.dat, movies.dat       "::", Latin-1
    ml-25m/         ratings.csv, movies.csv       CSV, UTF-8; ml-latest-small and ml-20m, -32m too

All four give the same title and text for the same film:

    "Quiet Harbour, The (1991)" + Crime, Thriller        (films in this file are made up)
        title  "The Quiet Harbour (1991)"
        text   "The Quiet Harbour (1991). Crime Thriller"

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015. Its terms
forbid redistribution: no row of it may be committed, not even in a test.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.checking import (
    RawTables,
    build_interactions,
    chosen_columns,
    require_columns,
)
from simulation.data.delimited import (
    CSV,
    Format,
    TextTable,
    read_text_blocks,
    read_text_table,
)
from simulation.data.downloads import Download
from simulation.data.interactions import Columns, Interactions
from simulation.data.raw_events import RAW_TIME
from simulation.data.sources import RECBOLE
from simulation.data.wheels import PinnedWheel, fetch_wheel, read_member

_INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
_MAX_MEMBER_BYTES = 4_000_000
_RATING = (Columns.USER, Columns.ITEM, Columns.VALUE, RAW_TIME)
_TABS = Format(delimiter="\t")
_NEWER_TERMS = (
    "GroupLens terms: research use, redistribution only under the same terms (README of the "
    "download)"
)
_NO_GENRES = {"unknown", "(no genres listed)"}

_YEAR = re.compile(r"^(?P<name>.+?)\s*\((?P<year>\d{4})\)(?:\s*\(V\))?$")  # (V): made for video
_IS_YEAR = re.compile(r"\d{4}|V")
_ARTICLES = r"The|An|A|La|Le|Les|L'|Il|El|Los|Las|Das|Der|Die|Un|Une|Det|Den|O|Os"
_AT_END = re.compile(rf"^(?P<name>.+?), (?P<article>{_ARTICLES})(?P<rest>(?: \(.*\))?)$")
_IN_BRACKETS = re.compile(rf"\((?P<name>[^()]+), (?P<article>{_ARTICLES})(?P<rest>)\)")


def load_movielens_100k(
    cache: Path, progress: Progress = silent, *, wheel: PinnedWheel = RECBOLE
) -> Interactions:
    """Load MovieLens-100K out of the RecBole wheel.

    Args:
        cache: the cache folder.
        progress: told when a download begins and ends.
        wheel: where the files come from; tests give a small one with made-up rows.

    Raises:
        DataError: if the wheel cannot be had as pinned, or does not hold the two tables.
    """
    path = fetch_wheel(wheel, cache, progress)
    ratings = _read_typed(path, "inter", ("user_id", "item_id", "rating", "timestamp"))
    films = _read_typed(path, "item", ("item_id", "movie_title", "release_year", "class"))
    rows = [
        (film, f"{name} ({year})" if _IS_YEAR.fullmatch(year) else name, genres)
        for film, name, year, genres in films.cells.itertuples(index=False)
    ]
    events = ratings.cells.set_axis(list(_RATING), axis=1)
    return _build("MovieLens-100K", [replace(ratings, cells=events)], rows, films)


def readable_title(raw: str) -> str:
    """Return a MovieLens title as a person would write it: article first, then the year.

    >>> readable_title("Quiet Harbour, The (1991)")
    'The Quiet Harbour (1991)'
    >>> readable_title("Lantern, The (Lanterne, La) (1988)")
    'The Lantern (La Lanterne) (1988)'
    >>> readable_title("Orage, L' (1994)")
    "L'Orage (1994)"
    """
    found = _YEAR.match(raw.strip())
    name = found["name"] if found else raw.strip()
    name = _IN_BRACKETS.sub(lambda inner: f"({_article_first(inner)})", name)
    name = _AT_END.sub(_article_first, name)
    return f"{name} ({found['year']})" if found else name


def _article_first(found: re.Match[str]) -> str:
    gap = "" if found["article"].endswith("'") else " "
    return f"{found['article']}{gap}{found['name']}{found['rest']}"


def load_100k(download: Download, folder: str) -> Interactions:
    """Load ml-100k as GroupLens packs it: u.data, u.item, u.genre.

    Raises:
        DataError: if a file is missing or unreadable, or holds nothing usable.
    """
    form = Format("\t", header=_RATING)
    ratings = read_text_table(download.stream(folder, "u.data"), "u.data", form)
    form = Format("|", header=("name", "number"))
    genres = read_text_table(download.stream(folder, "u.genre"), "u.genre", form)
    names = [str(name) for name in genres.cells["name"]]
    before = ("item", "title", "released", "on_video", "address")
    flags = tuple(f"genre {number}" for number in range(len(names)))
    form = Format("|", header=before + flags, encoding="latin-1")
    films = read_text_table(download.stream(folder, "u.item"), "u.item", form)
    rows = [
        (film, title, " ".join(itertools.compress(names, (flag == "1" for flag in flagged))))
        for film, title, _, _, _, *flagged in films.cells.itertuples(index=False)
    ]
    return _build("MovieLens-100K", [ratings], rows, films)


def load_1m(download: Download, folder: str) -> Interactions:
    """Load ml-1m as GroupLens packs it: ratings.dat and movies.dat.

    Raises:
        DataError: if a file is missing or unreadable, or holds nothing usable.
    """
    ratings = _read_double_colons(download, folder, "ratings.dat", _RATING)
    films = _read_double_colons(download, folder, "movies.dat", ("item", "title", "genres"))
    return _build("MovieLens-1M", [ratings], _with_words(films.cells), films)


def load_csv(download: Download, folder: str) -> Interactions:
    """Load ml-latest-small, ml-20m, ml-25m or ml-32m: ratings.csv and movies.csv, in a stream.

    Raises:
        DataError: if a file is missing or unreadable, or holds nothing usable.
    """
    films = read_text_table(download.stream(folder, "movies.csv"), "movies.csv", CSV)
    columns = {"movieId": Columns.ITEM, "title": Columns.TITLE, "genres": "genres"}
    (films,) = chosen_columns([films], columns, "movies.csv")
    blocks = read_text_blocks(download.stream(folder, "ratings.csv"), "ratings.csv", CSV)
    names = dict(zip(("userId", "movieId", "rating", "timestamp"), _RATING, strict=True))
    ratings = chosen_columns(blocks, names, "ratings.csv")
    name = folder.rpartition("/")[2] or download.name
    title = f"MovieLens {name}" if name.startswith("ml-") else "MovieLens"
    return _build(title, ratings, _with_words(films.cells), films, licence=_NEWER_TERMS)


def _with_words(films: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [
        (film, title, genres.replace("|", " "))
        for film, title, genres in films.itertuples(index=False)
    ]


def _read_typed(wheel: Path, ending: str, columns: tuple[str, ...]) -> TextTable:
    """Read columns of a RecBole table, whose header gives each a type: "user_id:token"."""
    name = f"ml-100k.{ending}"
    table = read_text_table(
        read_member(wheel, f"{_INSIDE}.{ending}", _MAX_MEMBER_BYTES), name, _TABS
    )
    cells = table.cells.rename(columns=lambda column: str(column).partition(":")[0])
    require_columns(cells.columns, columns, name)
    return replace(table, cells=cells[list(columns)])


def _read_double_colons(
    download: Download, folder: str, name: str, header: tuple[str, ...]
) -> TextTable:
    """Read a table with "::" between cells, which no parser of single delimiters takes."""
    try:
        with download.stream(folder, name) as stream:
            content = stream.read()
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from error
    form = Format("\t", header=header, encoding="latin-1")
    return read_text_table(content.replace(b"::", b"\t"), name, form)


def _build(
    name: str,
    ratings: Iterable[TextTable],
    films: list[tuple[str, str, str]],
    film_table: TextTable,
    licence: str = RECBOLE.licence,
) -> Interactions:
    """Check the events and the films, each film being (id, raw title, genres)."""
    rows = []
    for film, raw_title, genres in films:
        title = readable_title(raw_title)
        rows.append((film, title, title if genres in _NO_GENRES else f"{title}. {genres}"))
    return build_interactions(
        RawTables(
            name=name,
            events=ratings,
            items=pd.DataFrame(rows, columns=list(Columns.ITEMS), dtype="str"),
            broken_item_rows=film_table.broken_rows,
            replaced_characters=film_table.replaced_characters,
            licence=licence,
            citation=RECBOLE.citation,
        )
    )
