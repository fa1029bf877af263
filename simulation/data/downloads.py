"""What a person downloaded: a folder, or a zip of one, read as it lies there and never unpacked.

    ml-25m/ratings.csv          books.zip                    MIND/
    ml-25m/movies.csv             BX-CSV/BX-Books.csv          MINDsmall_train/news.tsv
                                  BX-CSV/BX-Book-Ratings.csv   MINDsmall_dev.zip: news.tsv

Files are known by their path inside, at most three folders deep; a zip inside a folder is a folder.
A zip is not trusted: a member has a plain path, is not encrypted, stands in the zip once, and says
how long it is; more than that, or more than `MAX_INPUT_BYTES`, is never read out of it. Nothing is
written, so there is no place that a path could lead out of.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from models.errors import DataError
from simulation.data.delimited import MAX_INPUT_BYTES, checked_file

MAX_FILES = 10_000
MAX_DEPTH = 3
MAX_TIMES_PACKED = 200
"""Text shrinks to a tenth, a file of one letter to a thousandth: that is no catalogue."""

_SMALL_BYTES = 1 << 20
_JUNK = ("__MACOSX", ".")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file lies: in a folder, or in a zip."""

    path: Path
    member: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """The files of a folder or a zip.

    Attributes:
        path: the folder or zip.
        places: path inside, with "/" between folders -> where it lies.
    """

    path: Path
    places: dict[str, _Place]

    @classmethod
    def open(cls, path: Path) -> "Download":
        """List the files of a folder or a zip.

        Raises:
            DataError: if there is none, it cannot be read, or it has more files than we look at.
        """
        try:
            if path.is_dir():
                return cls(path, _listed(_in_folder(path), path))
            if not path.exists():
                raise DataError(f"there is no folder {path} and no such zip: check data.path")
            if path.suffix.lower() == ".zip":
                return cls(path, _listed(_in_zip(path, ""), path))
        except OSError as error:
            raise DataError(f"cannot look into {path}: {error.strerror or error}") from error
        raise DataError(f"{path} is no folder and no zip: give the folder that you downloaded")

    @property
    def name(self) -> str:
        """What people call it: the name of the folder or zip, without its ending."""
        return self.path.stem if self.path.suffix.lower() == ".zip" else self.path.absolute().name

    def folders_with(self, *names: str) -> list[str]:
        """Folders that hold all these files, sorted; "" is the uppermost."""
        folders = {str(PurePosixPath(inside).parent) for inside in self.places}
        found = ("" if folder == "." else folder for folder in sorted(folders))
        return [one for one in found if all(_joined(one, name) in self.places for name in names)]

    def stream(self, folder: str, name: str) -> BinaryIO:
        """Open a file for reading.

        Args:
            folder: of `folders_with`.
            name: of the file in it.

        Raises:
            DataError: if it is missing, too large, or damaged.
        """
        inside = _joined(folder, name)
        place = self.places.get(inside)
        if place is None:
            raise DataError(f"there is no file {inside} in {self.path}: download it again")
        if not place.member:
            return checked_file(place.path).open("rb")
        return _open_member(place)

    def some_names(self) -> str:
        """A few file names for an error message."""
        return ", ".join(sorted(self.places)[:10]) or "nothing"


def _listed(found: Iterator[tuple[str, _Place]], path: Path) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for inside, place in found:
        if inside in places:
            raise DataError(f"{path} holds {inside[:100]!r} twice: not trusted")
        places[inside] = place
        if len(places) > MAX_FILES:
            raise DataError(
                f"{path} holds more than {MAX_FILES:,} files: give the data's own folder"
            )
    return places


def _in_folder(folder: Path, above: str = "", depth: int = 1) -> Iterator[tuple[str, _Place]]:
    for entry in sorted(folder.iterdir()):
        inside = _joined(above, entry.name)
        if entry.name.startswith(_JUNK):
            continue
        if entry.is_dir():
            if depth < MAX_DEPTH:
                yield from _in_folder(entry, inside, depth + 1)
        elif entry.suffix.lower() == ".zip":
            yield from _in_zip(entry, inside.removesuffix(entry.suffix))
        else:
            yield inside, _Place(entry)


def _in_zip(path: Path, above: str) -> Iterator[tuple[str, _Place]]:
    try:
        with zipfile.ZipFile(checked_file(path)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataError(f"{path} is no zip that we can read: {error}: download it again") from error
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if ".." in parts or "\\" in member.filename or member.filename.startswith("/"):
            raise DataError(
                f"{path} holds {member.filename[:100]!r}, a path that leads out of it: not trusted"
            )
        junk = any(part.startswith(_JUNK) for part in parts)
        if not member.is_dir() and not junk and len(parts) <= MAX_DEPTH:
            yield _joined(above, "/".join(parts)), _Place(path, member.filename)


def _open_member(place: _Place) -> BinaryIO:
    """Open a file of a zip. Python reads no more of it than the length that the zip gives."""
    try:
        archive = zipfile.ZipFile(place.path)
        info = archive.getinfo(place.member)
        _check_length(info, place)
        return cast(BinaryIO, _Member(archive, archive.open(info)))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, KeyError) as error:
        raise DataError(f"cannot read {place.member} of {place.path}: {error}") from error


def _check_length(info: zipfile.ZipInfo, place: _Place) -> None:
    length, packed = info.file_size, max(info.compress_size, 1)
    if length > MAX_INPUT_BYTES:
        raise DataError(
            f"{place.member} of {place.path} unpacks to {length:,} bytes, the limit is "
            f"{MAX_INPUT_BYTES:,}: give a part of it"
        )
    if length > _SMALL_BYTES and length > MAX_TIMES_PACKED * packed:
        raise DataError(
            f"{place.member} of {place.path} unpacks {packed:,} bytes to {length:,}, more than "
            f"{MAX_TIMES_PACKED} times as many: not trusted"
        )


class _Member:
    """A file of a zip, which closes the zip with itself and says in one line that it is damaged."""

    def __init__(self, archive: zipfile.ZipFile, member: object) -> None:
        self._archive = archive
        self._member = cast(BinaryIO, member)

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        try:
            return self._member.read(size)
        except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise OSError(f"the zip is damaged: {error}") from error
        except Exception as error:
            if type(error).__module__ in ("zlib", "_lzma", "_bz2"):
                raise OSError(f"the zip is damaged: {error}") from error
            raise

    def __enter__(self) -> "_Member":
        return self

    def __exit__(self, *problem: object) -> None:
        self._member.close()
        self._archive.close()


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
