"""Results of the language tasks, one small file each: what was run, with what, and what came out.

    benchmarks/results/language/test/rt-snippets/ei-bert--usual--0.json
                                |    |           |        |      seed
                                split set        arm      variant

A *cell* is one training judged on one split. Its file is written whole and bears the hash of all
that it depends on. A cell that is there with the same hash is not made again, so a run that was
killed goes on where it was, and several processes may fill the same folder: each takes the cells
that no other one is at.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from models.errors import DataError
from models.files import write_json
from simulation.experiments.language.settings import USUAL

SplitName = Literal["validation", "test"]

TEACHER, TF_IDF = "teacher", "tf-idf"
"""Arms that are no student."""

RESULTS = Path("benchmarks/results/language")


@dataclass(frozen=True, slots=True)
class Cell:
    """One training, judged on one split.

    Attributes:
        set_name: a labelled set.
        arm: `TEACHER`, `TF_IDF`, or a start that a student comes from.
        variant: manner of cross-distillation; without meaning for arms that are no student.
        seed: of the training.
        split: what it is judged on; only "test" touches the test texts.
    """

    set_name: str
    arm: str
    variant: str
    seed: int
    split: SplitName

    @property
    def is_student(self) -> bool:
        """Whether a student is trained for it."""
        return self.arm not in (TEACHER, TF_IDF)

    def path_in(self, results: Path) -> Path:
        """Where its result is."""
        name = f"{self.arm}--{self.variant}--{self.seed}.json"
        return results / self.split / self.set_name / name


class CellResult(BaseModel, extra="forbid", frozen=True):
    """What came out of a cell."""

    set_name: str
    arm: str
    variant: str
    seed: int
    split: SplitName
    settings_sha256: str = Field(description="of all that the result depends on")
    score: str = Field(description="accuracy or macro-f1")
    scores: dict[str, float] = Field(description="by format, 0 to 1, on the split")
    num_bytes: dict[str, int] = Field(description="by format, of all that ships")
    notes: dict[str, float] = Field(description="how the training went")
    seconds: float = Field(description="wall clock of training and judging", ge=0)
    date: str = Field(description="UTC, ISO 8601")
    commit: str
    versions: dict[str, str]


def cells_of(
    sets: Iterable[str],
    arms: Iterable[str],
    seeds: Iterable[int],
    split: SplitName,
    variants: Iterable[str] = (USUAL,),
) -> list[Cell]:
    """Return all cells, set by set, so that data and teacher are loaded once for each.

    TF-IDF and the teacher know neither seeds nor variants: one cell each.
    """
    arms, seeds, variants = tuple(arms), tuple(seeds), tuple(variants)
    cells = [
        Cell(name, arm, variant, seed, split)
        for name in sets
        for arm in arms
        for variant in variants
        for seed in seeds
    ]
    once = (c if c.is_student else Cell(c.set_name, c.arm, USUAL, 0, split) for c in cells)
    return list(dict.fromkeys(once))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A result that is not shown beside others.

    Attributes:
        result: it.
        why: in words.
    """

    result: CellResult
    why: str


def read_result(path: Path) -> CellResult:
    """Read a cell's file.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        return CellResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"no result at {path} ({error.strerror}): make this cell first") from error
    except ValidationError as error:
        raise DataError(f"result {path} is damaged: delete it, and it is made again") from error


def is_made(path: Path, settings_sha256: str) -> bool:
    """Say whether a cell is there, made with just these settings."""
    return path.is_file() and read_result(path).settings_sha256 == settings_sha256


def write_result(path: Path, result: CellResult) -> None:
    """Write a cell's file, whole or not at all."""
    write_json(path, result.model_dump(mode="json"))


def results_in(results: Path, split: SplitName) -> list[CellResult]:
    """Return all results of a split, sorted by path."""
    return [read_result(path) for path in sorted((results / split).glob("*/*.json"))]


def digest_of(content: Any) -> str:
    """Return the SHA-256 of something that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def mine_alone(lock: Path) -> Iterator[bool]:
    """Take a lock if nobody has it; it dies with its process.

    Yields:
        whether it was free.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
