"""The log of decisions: JSON lines that are only appended, each with the hash of the one before.

    {"number": 0, "previous": "000..", "plan": {...}, "tiers": [...], "sequence": 6, "hash": "a1.."}
    {"number": 1, "previous": "a1..",  "decision": {...},                            "hash": "7c.."}

The state is nowhere but here: replaying the lines gives it again, and every line must be a decision
that the state before it allows. A line that was changed, cut off, swapped or taken out is found and
named, and nothing is changed. Lines missing *at the end* cannot be found from the file alone: keep
the last hash elsewhere (`head`) where that matters. Who can write the whole file can write another
one; the chain finds damage, and mending by hand.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import DataError
from models.files import write_text
from models.locks import alone_in
from server.rollout.decisions import Decision, RolloutState, draft
from server.rollout.machine import follow
from server.rollout.settings import RolloutPlan

NO_HASH = "0" * 64
LONGEST_LINE_BYTES = 200_000
_FIRST_KEYS = {"number", "previous", "plan", "tiers", "sequence", "hash"}
_KEYS = {"number", "previous", "decision", "hash"}


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
            body = {
                "number": 0,
                "previous": NO_HASH,
                "plan": plan.model_dump(mode="json"),
                "tiers": list(tiers),
                "sequence": sequence,
            }
            write_text(path, _line(body))
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
            raise _corrupt(path, len(lines) + 1, "is cut off")
        first = _parsed(path, 1, lines[0], NO_HASH, _FIRST_KEYS)
        try:
            plan = RolloutPlan.model_validate(first["plan"])
            tiers = tuple(str(name) for name in first["tiers"])
            states = [draft(int(first["sequence"]))]
        except (ValidationError, TypeError, ValueError) as error:
            raise _corrupt(path, 1, "holds no plan") from error
        head, decisions = first["hash"], []
        for number, line in enumerate(lines[1:], start=2):
            entry = _parsed(path, number, line, head, _KEYS)
            try:
                decision = Decision.model_validate_json(json.dumps(entry["decision"]))
                states.append(follow(plan, states[-1], decision))
            except ValidationError as error:
                raise _corrupt(path, number, "holds no decision") from error
            except DataError as error:
                raise _corrupt(path, number, f"cannot be: {error}") from error
            decisions.append(decision)
            head = entry["hash"]
        return cls(path, plan, tiers, tuple(decisions), tuple(states), head)

    def append(self, decision: Decision) -> "DecisionLog":
        """Write a decision at the end.

        Raises:
            DataError: if the state does not allow it, somebody else has written since this log was
                read, or the line cannot be written whole; the file is as it was then.
        """
        state = follow(self.plan, self.state, decision)
        body = {
            "number": len(self.decisions) + 1,
            "previous": self.head,
            "decision": decision.model_dump(mode="json"),
        }
        line = _line(body)
        with alone_in(self.path.parent):
            now = DecisionLog.open(self.path).head
            if now != self.head:
                raise DataError(
                    f"{self.path} has grown since it was read: open it again and decide anew"
                )
            _append(self.path, line.encode())
        return DecisionLog(
            self.path,
            self.plan,
            self.tiers,
            (*self.decisions, decision),
            (*self.states, state),
            json.loads(line)["hash"],
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


def _line(body: dict[str, Any]) -> str:
    return json.dumps({**body, "hash": _hash(body)}, sort_keys=True, separators=(",", ":")) + "\n"


def _hash(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _parsed(path: Path, number: int, line: bytes, previous: str, keys: set[str]) -> dict[str, Any]:
    if len(line) > LONGEST_LINE_BYTES:
        raise _corrupt(path, number, f"has more than {LONGEST_LINE_BYTES:,} bytes")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _corrupt(path, number, "is no JSON") from error
    if not isinstance(entry, dict) or set(entry) != keys:
        raise _corrupt(path, number, f"must have exactly the keys {', '.join(sorted(keys))}")
    body = {key: value for key, value in entry.items() if key != "hash"}
    if entry["number"] != number - 1 or entry["previous"] != previous:
        raise _corrupt(path, number, "does not follow the line before it")
    if entry["hash"] != _hash(body):
        raise _corrupt(path, number, "was changed: it does not have the hash that it names")
    return entry


def _corrupt(path: Path, number: int, what: str) -> DataError:
    return DataError(
        f"the log {path}: line {number} {what}; nothing was changed: put back the copy that you "
        "trust, or begin a new log"
    )
