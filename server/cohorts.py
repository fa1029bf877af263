"""Who takes part in which round: a plan written before training, which the cloud plays back.

    round   invited            outcome                            version   start_s   duration_s
    1       12 40 77 310       reported late dropped reported     0 0 0 0   0         64.2
    2       ...

`version` counts the rounds that were done when a device fetched the parameters: the round before
its own in a synchronous run, an older one too where reports are buffered.

The virtual clock of the simulator writes it (`simulation.world.timeline`); nothing in it depends on
a gradient, so every engine and every number of nodes sees the same cohorts. `CohortSource` is the
seam for a selection that does depend on training.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.files import write_whole


class Outcome(IntEnum):
    """What becomes of an invited device.

    Only Poisson sampling knows an absent one: drawn, but not there or without the app, so that it
    never fetched anything and counts as a zero update.
    """

    REPORTED = 0
    LATE = 1
    DROPPED = 2
    ABSENT = 3


@dataclass(frozen=True, slots=True)
class Cohort:
    """The devices of one round.

    Attributes:
        invited: (I,) int64 device ids that download the parameters, ascending.
        reported: (R,) int64 device ids that train and report, a subset of the invited.
        version: (R,) rounds that were done when each of these fetched the parameters.
        num_late: invited devices whose report came when the round was over.
        num_dropped: invited devices that were interrupted.
        num_absent: devices that were drawn and not there; they are not among the invited.
        start_s: virtual time at which the round starts.
        duration_s: virtual time until the last report.
    """

    invited: NDArray[np.int64]
    reported: NDArray[np.int64]
    version: NDArray[np.int64]
    num_late: int
    num_dropped: int
    num_absent: int
    start_s: float
    duration_s: float


class CohortSource(Protocol):
    """Anything that names the cohort of a round, counted from 1."""

    def cohort(self, round_number: int) -> Cohort:
        """The cohort of this round."""
        ...


@dataclass(frozen=True, slots=True)
class CohortPlan:
    """The cohorts of all rounds, as columns.

    Attributes:
        offsets: (rounds + 1,) int64 into `invited`.
        invited: (I,) int64 device ids, ascending within a round, absent ones among them.
        outcome: (I,) int8, an `Outcome` for each of these.
        version: (I,) int64 rounds that were done when each was invited.
        start_s: (rounds,) float64.
        duration_s: (rounds,) float64.
    """

    offsets: NDArray[np.int64]
    invited: NDArray[np.int64]
    outcome: NDArray[np.int8]
    version: NDArray[np.int64]
    start_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]

    @property
    def num_rounds(self) -> int:
        """How many rounds are planned."""
        return len(self.offsets) - 1

    def cohort(self, round_number: int) -> Cohort:
        """The cohort of a round.

        Raises:
            DataError: if the round is not planned.
        """
        if not 1 <= round_number <= self.num_rounds:
            raise DataError(f"round {round_number} is outside the plan, 1 .. {self.num_rounds}")
        inside = slice(self.offsets[round_number - 1], self.offsets[round_number])
        invited, outcome = self.invited[inside], self.outcome[inside]
        reported = outcome == Outcome.REPORTED
        return Cohort(
            invited[outcome != Outcome.ABSENT],
            invited[reported],
            self.version[inside][reported],
            int((outcome == Outcome.LATE).sum()),
            int((outcome == Outcome.DROPPED).sum()),
            int((outcome == Outcome.ABSENT).sum()),
            float(self.start_s[round_number - 1]),
            float(self.duration_s[round_number - 1]),
        )

    def write(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        with write_whole(path) as file:
            np.savez_compressed(
                file,
                offsets=self.offsets,
                invited=self.invited,
                outcome=self.outcome,
                version=self.version,
                start_s=self.start_s,
                duration_s=self.duration_s,
            )

    @classmethod
    def read(cls, path: Path) -> "CohortPlan":
        """Read a plan.

        Raises:
            DataError: if there is none, or a column is missing.
        """
        try:
            with np.load(path, allow_pickle=False) as columns:
                return cls(**{name: columns[name] for name in cls.__slots__})
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"cannot read the cohort plan {path}: {error}") from error
