"""One cell of a study: a variant under a seed. What it found lies in one file, whole or not at all.

    cells/3-9f86d081884c7d65.npz
          |  what it depends on, as a hash: settings, data, encoder bundle
          seed
      header                     names, hashes, commit, seconds, figures; JSON in UTF-8
      users/SLICE                (U,) int64
      values/SLICE/PROTOCOL/METRIC   (U,) float64, a value of each of these users

A cell that is there under its hash is not made again. Code is not in the hash: the commit that made
a cell stands in it, and a table says so when its cells are of several. The files hold what every
user's held-out item was ranked at, so they stay on the machine that made them.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import DataError
from models.files import write_whole

KEY_LENGTH = 16
DAMAGE = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, ValidationError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zip raise when a file is not whole, or is another thing."""

LARGEST_CELL_BYTES = 2_000_000_000
"""A cell of 10 M users and ten metrics is below this."""


class CellHeader(BaseModel):
    """What a cell is.

    Attributes:
        study: its name.
        variant: its name.
        seed: of all draws.
        key: hash of all that it depends on.
        settings_sha256: of settings and the kind's own.
        data_sha256: of the interactions and item texts.
        bundle_sha256: of the encoder bundle, "" where none is used.
        commit: of the code that made it.
        seconds: that it took.
        figures: name -> a number without an interval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    variant: str
    seed: int
    key: str
    settings_sha256: str
    data_sha256: str
    bundle_sha256: str
    commit: str
    seconds: float
    figures: dict[str, float]


FULL, SAMPLED = "full", "sampled-99"
AMONG_99 = ", 99 negatives"
"""The end of a slice's name that is ranked by the sampled protocol; others are ranked in full."""


def protocol_of(part: str) -> str:
    """The protocol that the tables show of a slice.

    >>> protocol_of("last round"), protocol_of("last round, 99 negatives")
    ('full', 'sampled-99')
    """
    return SAMPLED if part.endswith(AMONG_99) else FULL


@dataclass(frozen=True, slots=True)
class Slice:
    """Metrics of some users.

    Attributes:
        name: which users, or which items they were asked for.
        protocol: "full" or "sampled-99".
        users: (U,) int64, ascending.
        values: metric -> (U,) float64.
    """

    name: str
    protocol: str
    users: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a cell found.

    Attributes:
        slices: metrics per user.
        figures: name -> a number without an interval: bytes, milliseconds.
    """

    slices: tuple[Slice, ...]
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """A cell that was made.

    Attributes:
        header: what it is.
        slices: what it found.
    """

    header: CellHeader
    slices: tuple[Slice, ...]


def digest_of(*parts: object) -> str:
    """SHA-256 of parts that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cell_file(folder: Path, seed: int, key: str) -> Path:
    """Where a cell is in the folder of a study."""
    return folder / "cells" / f"{seed}-{key[:KEY_LENGTH]}.npz"


def write_cell(path: Path, header: CellHeader, slices: tuple[Slice, ...]) -> None:
    """Write a cell, whole or not at all.

    Raises:
        DataError: if the folder cannot be written.
        ValueError: if a name has a "/", or a slice's values are not of its users.
    """
    arrays: dict[str, NDArray] = {
        "header": np.frombuffer(header.model_dump_json().encode(), dtype=np.uint8)
    }
    for part in slices:
        if any("/" in name for name in (part.name, part.protocol, *part.values)):
            raise ValueError(f"slice {part.name}: its names may have no '/'")
        arrays[f"users/{part.name}"] = part.users
        for metric, values in part.values.items():
            if values.shape != part.users.shape:
                raise ValueError(
                    f"{part.name} {metric}: {values.shape} values of {part.users.shape} users"
                )
            arrays[f"values/{part.name}/{part.protocol}/{metric}"] = values
    with write_whole(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_cell(path: Path, key: str) -> MeasuredCell | None:
    """A cell of this key; None: it is not there, or of another key.

    Raises:
        DataError: if it is damaged.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > LARGEST_CELL_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            header = CellHeader.model_validate_json(arrays["header"].tobytes())
            slices = _slices({name: arrays[name] for name in arrays.files})
    except DAMAGE as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the cell {path} is damaged ({first}): delete it, and it is made again"
        ) from error
    return MeasuredCell(header, slices) if header.key == key else None


def _slices(arrays: Mapping[str, NDArray]) -> tuple[Slice, ...]:
    """The slices of a file, in the order in which they were written."""
    found: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
    for name in arrays:
        kind, *rest = name.split("/")
        if kind == "values":
            part, protocol, metric = rest
            found.setdefault((part, protocol), {})[metric] = arrays[name]
    return tuple(
        Slice(part, protocol, arrays[f"users/{part}"], values)
        for (part, protocol), values in found.items()
    )
