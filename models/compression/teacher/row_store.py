"""Long work kept on disk as it goes: a table of vectors that is filled chunk by chunk.

```
rows.npy       (n, width) float32, memory-mapped     chunk 0 | chunk 1 | chunk 2 | ...
journal.npz    chunks done, and the sums over them   written whole, after each chunk
sums.npz       the sums over all chunks              written last: it marks a whole table
```

A stop at any moment, kill -9 as well, loses at most the chunk that was being worked on. The chunks
are cut at fixed places and the sums are added in their order, so a table that was made in two goes
is the same bytes as one that was made in one. Memory holds one chunk, not the table.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from models.errors import DataError
from models.files import write_whole
from models.locks import alone_in

Sums = dict[str, np.ndarray]
"""What adds up over the rows, by name; each of one shape and dtype in all chunks."""

Compute = Callable[[range], tuple[np.ndarray, Sums]]
"""Given the numbers of some rows, returns the rows (len, width) float32, and their sums."""

_ROWS, _JOURNAL, _SUMS = "rows.npy", "journal.npz", "sums.npz"
_CHUNKS_DONE = "chunks_done"


@dataclass(frozen=True, slots=True)
class RowTable:
    """A whole table.

    Attributes:
        rows: (n, width) float32, memory-mapped, for reading.
        sums: what added up over the rows.
    """

    rows: np.ndarray
    sums: Sums


def fill(folder: Path, shape: tuple[int, int], chunk_size: int, compute: Compute) -> RowTable:
    """Return the table in this folder; what is missing of it is computed first.

    Args:
        folder: of this table alone; made if it is not there. Its name must stand for all that the
            rows depend on, the chunk size too.
        shape: n rows, n >= 1, and their width.
        chunk_size: rows that are computed at once and that a stop may lose, >= 1.
        compute: called once per chunk, in order.

    Raises:
        DataError: if the disk is full or the folder cannot be written.
    """
    if not is_whole(folder, shape):
        with alone_in(folder):
            if not is_whole(folder, shape):  # else another process has just made it
                _go_on(folder, shape, chunk_size, compute)
    return RowTable(np.load(folder / _ROWS, mmap_mode="r"), _load_sums(folder / _SUMS) or {})


def is_whole(folder: Path, shape: tuple[int, int]) -> bool:
    """Say whether the table in this folder is complete and of this shape."""
    return _load_sums(folder / _SUMS) is not None and _has_rows(folder, shape)


def chunks(num_rows: int, chunk_size: int) -> list[range]:
    """Return the row numbers of each chunk.

    >>> chunks(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    starts = range(0, num_rows, chunk_size)
    return [range(start, min(start + chunk_size, num_rows)) for start in starts]


def add_sums(total: Sums, more: Sums) -> Sums:
    """Return the sums over both; an empty total is nothing yet."""
    return {name: total[name] + more[name] for name in more} if total else dict(more)


def _go_on(folder: Path, shape: tuple[int, int], chunk_size: int, compute: Compute) -> None:
    done, total = _read_journal(folder, shape)
    if done == 0:
        _make_rows(folder / _ROWS, shape)
    for number, chunk in enumerate(chunks(shape[0], chunk_size)):
        if number < done:
            continue
        rows, sums = compute(chunk)
        _write_rows(folder / _ROWS, chunk, rows)  # on the disk before the journal says so
        total = add_sums(total, sums)
        _save(folder / _JOURNAL, total | {_CHUNKS_DONE: np.asarray(number + 1)})
    _save(folder / _SUMS, total)
    for left_over in (*folder.glob(f".{_JOURNAL}-*"), folder / _JOURNAL):
        left_over.unlink(missing_ok=True)


def _read_journal(folder: Path, shape: tuple[int, int]) -> tuple[int, Sums]:
    """Return how many chunks are done, and their sums; a table begins anew if it is not sound."""
    sums = _load_sums(folder / _JOURNAL)
    if sums is None or _CHUNKS_DONE not in sums or not _has_rows(folder, shape):
        return 0, {}
    return int(sums.pop(_CHUNKS_DONE)), sums


def _make_rows(path: Path, shape: tuple[int, int]) -> None:
    """Make a table of zeros; they take no space on the disk yet."""
    try:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    except OSError as error:
        raise _refusal(path, error) from error


def _write_rows(path: Path, chunk: range, rows: np.ndarray) -> None:
    """Write some rows through the file: a full disk is an error here, through the map a crash."""
    table = np.load(path, mmap_mode="r")
    if rows.shape != (len(chunk), table.shape[1]):
        raise ValueError(f"rows {chunk} of width {table.shape[1]} were made as {rows.shape}")
    try:
        with path.open("r+b") as file:
            file.seek(table.offset + chunk.start * table.shape[1] * table.itemsize)
            file.write(np.ascontiguousarray(rows, np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _refusal(path, error) from error


def _has_rows(folder: Path, shape: tuple[int, int]) -> bool:
    try:
        rows = np.load(folder / _ROWS, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(rows.shape == shape and rows.dtype == np.float32)


def _load_sums(path: Path) -> Sums | None:
    """Return the arrays of a file, or None if it is not there or damaged."""
    try:
        with np.load(path) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None


def _save(path: Path, sums: Sums) -> None:
    with write_whole(path) as file:
        np.savez(file, **sums)  # type: ignore[arg-type]


def _refusal(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write {path} ({error.strerror or error}): free some space or name another cache "
        "folder"
    )
