"""Lines of a log of decisions, each with the hash of the one before; where they lie is another's.

    {"number": 0, "previous": "000..", "plan": {...}, "tiers": [...], "sequence": 6, "hash": "a1.."}
    {"number": 1, "previous": "a1..",  "decision": {...},                            "hash": "7c.."}

A file has them (`server.rollout.log`), or a table of a database has one in a row. Playing them back
checks every hash, and that each line is a decision that the state before it allows.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from models.errors import DataError
from server.rollout.decisions import Decision, RolloutState, draft
from server.rollout.machine import follow
from server.rollout.settings import RolloutPlan

NO_HASH = "0" * 64
LONGEST_LINE_BYTES = 200_000
_FIRST_KEYS = {"number", "previous", "plan", "tiers", "sequence", "hash"}
_KEYS = {"number", "previous", "decision", "hash"}


@dataclass(frozen=True, slots=True)
class PlayedBack:
    """What the lines of a log say.

    Attributes:
        plan: of the rollout.
        tiers: names of the fleet's tiers.
        decisions: all of them, the first one first.
        states: state before the first decision and after each.
        head: hash of the last line.
    """

    plan: RolloutPlan
    tiers: tuple[str, ...]
    decisions: tuple[Decision, ...]
    states: tuple[RolloutState, ...]
    head: str


def first_line(plan: RolloutPlan, tiers: Sequence[str], sequence: int) -> str:
    r"""The line that a log begins with, without its line feed.

    Args:
        plan: of the rollout.
        tiers: names of the fleet's tiers.
        sequence: of the manifest in force before the rollout.
    """
    body = {
        "number": 0,
        "previous": NO_HASH,
        "plan": plan.model_dump(mode="json"),
        "tiers": list(tiers),
        "sequence": sequence,
    }
    return hashed(body)


def next_line(number: int, previous: str, decision: Decision) -> str:
    """The line of a decision, without its line feed.

    Args:
        number: of decisions before it, and one.
        previous: hash of the line before it.
        decision: what was decided.
    """
    decided = decision.model_dump(mode="json")
    return hashed({"number": number, "previous": previous, "decision": decided})


def hash_of(line: str) -> str:
    """The hash that a line carries, of our own making."""
    return str(json.loads(line)["hash"])


def play_back(lines: Sequence[bytes], where: str) -> PlayedBack:
    """Read the lines of a log.

    Args:
        lines: without line feeds, the first one first.
        where: the log, as errors name it.

    Raises:
        DataError: if a line is not what was written; it names the line.
    """
    if not lines:
        raise corrupt(where, 1, "is cut off")
    first = _parsed(where, 1, lines[0], NO_HASH, _FIRST_KEYS)
    try:
        plan = RolloutPlan.model_validate(first["plan"])
        tiers = tuple(str(name) for name in first["tiers"])
        states = [draft(int(first["sequence"]))]
    except (ValidationError, TypeError, ValueError) as error:
        raise corrupt(where, 1, "holds no plan") from error
    head, decisions = str(first["hash"]), []
    for number, line in enumerate(lines[1:], start=2):
        entry = _parsed(where, number, line, head, _KEYS)
        try:
            decision = Decision.model_validate_json(json.dumps(entry["decision"]))
            states.append(follow(plan, states[-1], decision))
        except ValidationError as error:
            raise corrupt(where, number, "holds no decision") from error
        except DataError as error:
            raise corrupt(where, number, f"cannot be: {error}") from error
        decisions.append(decision)
        head = str(entry["hash"])
    return PlayedBack(plan, tiers, tuple(decisions), tuple(states), head)


def corrupt(where: str, number: int, what: str) -> DataError:
    """The error of a line that is not what was written."""
    return DataError(
        f"the log {where}: line {number} {what}; nothing was changed: put back the copy that you "
        "trust, or begin a new log"
    )


def hashed(body: dict[str, Any]) -> str:
    """A line: the body, and its hash."""
    return json.dumps({**body, "hash": _hash(body)}, sort_keys=True, separators=(",", ":"))


def _hash(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _parsed(where: str, number: int, line: bytes, previous: str, keys: set[str]) -> dict[str, Any]:
    if len(line) > LONGEST_LINE_BYTES:
        raise corrupt(where, number, f"has more than {LONGEST_LINE_BYTES:,} bytes")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise corrupt(where, number, "is no JSON") from error
    if not isinstance(entry, dict) or set(entry) != keys:
        raise corrupt(where, number, f"must have exactly the keys {', '.join(sorted(keys))}")
    body = {key: value for key, value in entry.items() if key != "hash"}
    if entry["number"] != number - 1 or entry["previous"] != previous:
        raise corrupt(where, number, "does not follow the line before it")
    if entry["hash"] != _hash(body):
        raise corrupt(where, number, "was changed: it does not have the hash that it names")
    return entry
