"""Personal parameters on disk: what a round changes is changed whole, or not at all.

    taste.npy                     (U, dim) float32, as the last settled round left it; a sparse file
    taste.rounds/
      00000012-00004200.npz       what round 12 made of devices of the node that begins at 4200

A phone that trains in a round writes its new values beside the file first (`stage`). They count
only when the cloud has the round on its disk: the next message says so, and the node then moves
them into the file (`settle`). A run that is killed in the middle of a round therefore finds all
phones as they were before it, and plays it again to the same end. To settle twice changes nothing.

Nothing here has a codec: no message can carry it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.files import write_whole

_NAME = re.compile(r"(\d{8})-(\d{8,})\.npz")


@dataclass(frozen=True, slots=True)
class PersonalStore:
    """The personal parameters of devices `first` .. `end - 1`.

    Attributes:
        path: of the file, of the whole population or of the devices that a node holds.
        first: the node's first device.
        end: one more than its last.
        settled: (end - first, dim) the file's rows of these devices, mapped read-write.
    """

    path: Path
    first: int
    end: int
    settled: NDArray[np.float32]

    @classmethod
    def create(cls, path: Path, num_devices: int, dim: int) -> None:
        """Write zeros for everybody, without filling the disk; older values are gone."""
        for staged in _staged(path):
            staged.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            mapped = np.lib.format.open_memmap(path, "w+", np.float32, (num_devices, dim))
            mapped.flush()
        except OSError as error:
            raise DataError(f"cannot write the personal parameters {path}: {error}") from error

    @classmethod
    def open(cls, path: Path, first: int, end: int, start: int = 0) -> "PersonalStore":
        """Map the rows of some devices.

        Args:
            path: of the file.
            first: the first device.
            end: one more than the last.
            start: the device in the file's first row.

        Raises:
            DataError: if the file is missing or damaged, or has too few rows.
        """
        try:
            mapped = np.lib.format.open_memmap(path, mode="r+")
        except (OSError, ValueError) as error:
            raise DataError(f"cannot open the personal parameters {path}: {error}") from error
        if mapped.ndim != 2 or len(mapped) < end - start:
            raise DataError(
                f"the personal parameters {path} have shape {mapped.shape}, devices {first} .. "
                f"{end - 1} are wanted: prepare the run again"
            )
        return cls(path, first, end, mapped[first - start : end - start])

    def stage(
        self, round_number: int, rows: NDArray[np.integer], values: NDArray[np.float32]
    ) -> None:
        """Write what a round made of some devices, beside what it has made of others.

        Staged again, the later one counts. A device whose training went astray, so that not all of
        its numbers are finite, keeps what it had: it could never serve with them again.

        Args:
            round_number: counted from 1.
            rows: (n,) local rows.
            values: (n, dim) float32.
        """
        sound = np.isfinite(values).all(axis=1)
        rows, values = np.asarray(rows)[sound], values[sound]
        name = f"{round_number:08d}-{self.first:08d}.npz"
        path = _folder(self.path) / name
        ids = np.asarray(rows, dtype=np.int64) + self.first
        if path.is_file():
            before_ids, before = _read(path)
            ids, values = np.concatenate([before_ids, ids]), np.concatenate([before, values])
        with write_whole(path) as file:
            np.savez(file, device_ids=ids, values=np.asarray(values, dtype=np.float32))

    def settle(self, last_round: int) -> None:
        """Move what this node staged up to a round into the file; what is of later rounds stays."""
        for path in _staged(self.path):
            round_number, first = _numbers(path)
            if first == self.first and round_number <= last_round:
                self._take(path)

    def _take(self, path: Path) -> None:
        ids, values = _read(path)
        self.settled[ids - self.first] = values
        path.unlink()


def settle_all(path: Path, last_round: int, num_devices: int) -> None:
    """Before a run goes on: settle what is of rounds up to `last_round`, forget what is later.

    Args:
        path: file of the personal parameters.
        last_round: that the cloud has on its disk.
        num_devices: the population.
    """
    for staged in _staged(path):
        round_number, first = _numbers(staged)
        if round_number > last_round:
            staged.unlink()
        else:
            PersonalStore.open(path, first, num_devices)._take(staged)


def _read(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Device ids and values of a staged file, in the order in which they were staged."""
    try:
        with np.load(path, allow_pickle=False) as staged:
            return staged["device_ids"], staged["values"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error}): run anew, without --resume") from error


def _folder(path: Path) -> Path:
    return path.with_suffix(".rounds")


def _staged(path: Path) -> list[Path]:
    """Staged files, the oldest round first."""
    folder = _folder(path)
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if _NAME.fullmatch(each.name))


def _numbers(path: Path) -> tuple[int, int]:
    round_number, first = path.stem.split("-")
    return int(round_number), int(first)
