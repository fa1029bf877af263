"""The log of decisions: JSON lines that are only appended, each with the hash of the one before.

The state is nowhere but here: replaying the lines (`server.rollout.log_lines`) gives it again, and
every line must be a decision that the state before it allows. A line that was changed, cut off,
swapped or taken out is found and named, and nothing is changed. Lines missing *at the end* cannot
be found from the file alone: keep the last hash elsewhere (`head`) where that matters. Who can
write the whole file can write another one; the chain finds damage, and mending by hand.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.files import write_text
from models.locks import alone_in
from server.rollout.decisions import Decision, RolloutState
from server.rollout.log_lines import corrupt, first_line, hash_of, next_line, play_back
from server.rollout.machine import follow
from server.rollout.settings import RolloutPlan


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """A log as it was read.

    Attributes:
        path: the file.
        plan: of the rollout.
        tiers: names of the fleet's tiers.
        decisions: all of them, the first one first.
        states: state before the first decision and after each.
        head: hash of the last line.
    """

    path: Path
    plan: RolloutPlan
    tiers: tuple[str, ...]
    decisions: tuple[Decision, ...]
    states: tuple[RolloutState, ...]
    head: str

    @property
    def state(self) -> RolloutState:
        """Where the rollout stands."""
        return self.states[-1]

    @classmethod
    def create(
        cls, path: Path, plan: RolloutPlan, tiers: tuple[str, ...], sequence: int
    ) -> "DecisionLog":
        """Begin a log.

        Args:
            path: a new file.
            plan: of the rollout.
            tiers: names of the fleet's tiers.
            sequence: of the manifest in force before the rollout.

        Raises:
            DataError: if there is a file already, or it cannot be written.
        """
        with alone_in(path.parent):
            if path.exists():
                raise DataError(f"{path} is there already: name another file")
            write_text(path, first_line(plan, tiers, sequence) + "\n")
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "DecisionLog":
        """Read a log and play it back.

        Raises:
            DataError: if there is none, or a line is not what was written; it names the line.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read the log {path} ({error.strerror})") from error
        *lines, rest = content.split(b"\n")
        if rest or not lines:
            raise corrupt(str(path), len(lines) + 1, "is cut off")
        read = play_back(lines, str(path))
        return cls(path, read.plan, read.tiers, read.decisions, read.states, read.head)

    def append(self, decision: Decision) -> "DecisionLog":
        """Write a decision at the end.

        Raises:
            DataError: if the state does not allow it, somebody else has written since this log was
                read, or the line cannot be written whole; the file is as it was then.
        """
        state = follow(self.plan, self.state, decision)
        line = next_line(len(self.decisions) + 1, self.head, decision)
        with alone_in(self.path.parent):
            now = DecisionLog.open(self.path).head
            if now != self.head:
                raise DataError(
                    f"{self.path} has grown since it was read: open it again and decide anew"
                )
            _append(self.path, f"{line}\n".encode())
        return DecisionLog(
            self.path,
            self.plan,
            self.tiers,
            (*self.decisions, decision),
            (*self.states, state),
            hash_of(line),
        )


def _append(path: Path, line: bytes) -> None:
    """Append a line and see it on disk; a disk that fills up leaves the file as it was."""
    before = path.stat().st_size
    with path.open("ab", buffering=0) as file:
        try:
            written = file.write(line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(before)
            raise DataError(f"cannot append to {path} ({error}): free some space") from error
