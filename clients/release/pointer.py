"""The one small file that says which of two slots a phone serves from.

It is only ever replaced whole, so a power cut leaves the one before or the one after. What it says
is checked by a hash: a file that was damaged otherwise is no pointer, and the slots themselves are
looked at then.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

SLOTS = ("a", "b")


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a phone stands.

    Attributes:
        active: the slot that is served from, "a" or "b"; "": none yet.
        is_trial: whether it has not passed its self-test yet.
        tries: self-tests of the trial that were begun.
        highest: highest sequence number that was ever installed.
    """

    active: str
    is_trial: bool
    tries: int
    highest: int

    @property
    def other(self) -> str:
        """The slot that the next release goes into."""
        return "b" if self.active == "a" else "a"

    def to_bytes(self) -> bytes:
        """As it is written."""
        body = asdict(self)
        return (json.dumps({**body, "check": _check(body)}, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Pointer | None":
        """Read one; None if it is damaged."""
        try:
            body = json.loads(content)
            check = body.pop("check")
            pointer = cls(**body)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return pointer if check == _check(body) and pointer.active in (*SLOTS, "") else None


NOWHERE = Pointer(active="", is_trial=False, tries=0, highest=0)
"""A phone that has nothing yet."""


def _check(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
