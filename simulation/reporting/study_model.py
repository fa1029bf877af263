"""What a study has to say, as one checked tree: the machine-readable twin of its page.

    StudyReport
    ├── title, question, reading                what was asked, and what the numbers say
    ├── tables ── rows ── metrics               one table for each slice, a row for each variant
    └── command, seeds, commits, hashes         how to repeat it

Metrics are fractions from 0 to 1. `None` means "not measured" or "no such thing", never zero.
"""

from pydantic import AwareDatetime, Field, JsonValue, NonNegativeInt

from simulation.reporting.model import Interval
from simulation.reporting.node import Node


class StudyEstimate(Node):
    """A mean over users and seeds."""

    found: Interval
    spread: float = Field(ge=0, description="standard deviation over seeds; 0 for one seed")
    difference: Interval | None = Field(
        description="paired, to what the row is held against; None for the reference"
    )


class StudyRow(Node):
    """A variant: an arm at a point of the grid."""

    name: str
    title: str
    against: str = Field(description='title of what it is held against, "" for the reference')
    metrics: dict[str, StudyEstimate]
    worst_slice: str = Field(description='with the lowest mean of the main metric; "": no others')
    worst: Interval | None
    num_users: NonNegativeInt
    figures: dict[str, float] = Field(description="numbers without an interval: bytes, times")


class StudyTable(Node):
    """The rows of one slice."""

    part: str
    rows: tuple[StudyRow, ...] = Field(min_length=1)


class StudyReport(Node):
    """Everything that the page of a study shows."""

    name: str
    title: str
    question: str
    metric: str = Field(description="the main one")
    shown: tuple[str, ...]
    tables: tuple[StudyTable, ...] = Field(min_length=1)
    reading: tuple[str, ...] = Field(description="sentences that follow from the numbers")
    created: AwareDatetime
    command: str
    seeds: tuple[int, ...]
    commits: tuple[str, ...]
    data_sha256: tuple[str, ...]
    bundle_sha256: tuple[str, ...]
    plan: dict[str, JsonValue]

    @property
    def notes(self) -> tuple[str, ...]:
        """What stands under every table."""
        seeds = ", ".join(map(str, self.seeds))
        notes: tuple[str, ...] = (
            f"Percent, with 95 % intervals over users and seeds ({seeds}); differences are paired "
            "over users.",
        )
        if len(self.commits) > 1:
            told = ", ".join(self.commits)
            notes += (f"Cells of several commits: {told}; --fresh makes all anew.",)
        if any(commit.endswith("+") for commit in self.commits):
            notes += ("Some cells were made by code that no commit holds.",)
        return notes
