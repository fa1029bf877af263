"""Which catalogues are known by the files that lie together, and who reads each.

    data.source         name             files that tell it
    movielens-folder    MovieLens 100K   u.data
                        MovieLens 1M     ratings.dat
                        MovieLens CSV    ratings.csv, movies.csv
    mind                MIND             news.tsv, behaviors.tsv
    book-crossing       Book-Crossing    BX-Book-Ratings.csv, BX-Books.csv
    goodbooks-10k       goodbooks-10k    ratings.csv, books.csv
    auto                any of these

The files may lie in the folder itself, in a folder inside of it, or in a zip. Two catalogues in one
folder are an error and not a choice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import DataError
from simulation.data import books, mind, movielens
from simulation.data.downloads import Download
from simulation.data.interactions import Interactions

CatalogueSource = Literal["auto", "movielens-folder", "mind", "book-crossing", "goodbooks-10k"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A form that a download may have.

    Attributes:
        source: what people write as `data.source`.
        name: what it is called.
        files: what must lie together.
        load: reads it from the folders of a download that hold these.
        in_parts: whether it may lie in several folders.
    """

    source: CatalogueSource
    name: str
    files: tuple[str, ...]
    load: Callable[[Download, list[str]], Interactions]
    in_parts: bool = False


def _of_one_folder(
    load: Callable[[Download, str], Interactions],
) -> Callable[[Download, list[str]], Interactions]:
    return lambda download, folders: load(download, folders[0])


CATALOGUES = (
    Catalogue(
        "movielens-folder", "MovieLens 100K", ("u.data",), _of_one_folder(movielens.load_100k)
    ),
    Catalogue(
        "movielens-folder", "MovieLens 1M", ("ratings.dat",), _of_one_folder(movielens.load_1m)
    ),
    Catalogue(
        "movielens-folder",
        "MovieLens CSV",
        ("ratings.csv", "movies.csv"),
        _of_one_folder(movielens.load_csv),
    ),
    Catalogue("mind", "MIND", (mind.NEWS, mind.BEHAVIORS), mind.load_mind, in_parts=True),
    Catalogue(
        "book-crossing",
        "Book-Crossing",
        (books.BX_RATINGS, books.BX_BOOKS),
        _of_one_folder(books.load_book_crossing),
    ),
    Catalogue(
        "goodbooks-10k",
        "goodbooks-10k",
        (books.GOOD_RATINGS, books.GOOD_BOOKS),
        _of_one_folder(books.load_goodbooks),
    ),
)


def load_catalogue(source: CatalogueSource, path: Path) -> Interactions:
    """Load what a person downloaded.

    Args:
        source: which catalogue it should be; "auto" takes what the files tell.
        path: a folder or a zip.

    Raises:
        DataError: if it holds none, or several, or one that cannot be read.
    """
    download = Download.open(path)
    wanted = [one for one in CATALOGUES if source in ("auto", one.source)]
    found = [(one, folders) for one in wanted if (folders := download.folders_with(*one.files))]
    if not found:
        known = "; ".join(f"{one.name} ({', '.join(one.files)})" for one in wanted)
        raise DataError(
            f"{path} holds no catalogue that data.source={source} reads: it must hold one of "
            f"{known}; found {download.some_names()}"
        )
    catalogue, folders = found[0]
    if len(found) > 1 or (len(folders) > 1 and not catalogue.in_parts):
        places = "; ".join(
            f"{one.name} in {', '.join(repr(folder) for folder in some[:3])}" for one, some in found
        )
        raise DataError(f"{path} holds more than one catalogue: {places}: give the folder of one")
    return catalogue.load(download, folders)
