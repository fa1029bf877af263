"""Messages as bytes: fixed widths, checked lengths, nothing left over.

Every message begins with its kind (1 byte) and the session (32 bytes), so that one of another
stage, round or run is never read as if it were of this one. Numbers are little-endian.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from models.errors import EngineError

SESSION_BYTES = 32
HEADER_BYTES = 1 + SESSION_BYTES


@dataclass(slots=True)
class Writer:
    """Lays fields end to end."""

    parts: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, kind: int, session: bytes) -> "Writer":
        """A message's beginning."""
        return cls([struct.pack("<B", kind), session])

    def numbers(self, layout: str, *values: float) -> "Writer":
        """Add numbers, `layout` as in `struct`."""
        self.parts.append(struct.pack("<" + layout, *values))
        return self

    def block(self, content: bytes) -> "Writer":
        """Add bytes whose length the reader knows."""
        self.parts.append(content)
        return self

    def bytes(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)


@dataclass(slots=True)
class Reader:
    """Takes fields off the front.

    Attributes:
        content: the message.
        what: its name, for errors.
        place: how far it has been read.
    """

    content: bytes
    what: str
    place: int = 0

    @classmethod
    def of(cls, content: bytes, kind: int, what: str) -> tuple["Reader", bytes]:
        """Read the beginning; return the session too.

        Raises:
            EngineError: if it is a message of another kind.
        """
        reader = cls(content, what)
        (found,) = reader.numbers("B")
        if found != kind:
            raise EngineError(f"a message of kind {found} came in the place of {what} ({kind})")
        return reader, reader.block(SESSION_BYTES)

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Take integers."""
        return struct.unpack("<" + layout, self.block(struct.calcsize("<" + layout)))

    def real(self) -> float:
        """Take a float64."""
        (value,) = struct.unpack("<d", self.block(8))
        return float(value)

    def block(self, length: int) -> bytes:
        """Take bytes.

        Raises:
            EngineError: if there are too few.
        """
        end = self.place + length
        if end > len(self.content):
            raise EngineError(
                f"{self.what} has {len(self.content)} bytes and ends in the middle of a field"
            )
        taken = self.content[self.place : end]
        self.place = end
        return taken

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.block(len(self.content) - self.place)

    def end(self) -> None:
        """Say that nothing may be left.

        Raises:
            EngineError: if something is.
        """
        if self.place != len(self.content):
            raise EngineError(
                f"{self.what} has {len(self.content) - self.place} bytes more than it should"
            )


def check_session(found: bytes, wanted: bytes, what: str) -> None:
    """Refuse a message of another session.

    Raises:
        EngineError: if it is one.
    """
    if found != wanted:
        raise EngineError(f"{what} is of another session: it was replayed, or came too late")


def bits_of(members: Collection[int], among: Sequence[int]) -> bytes:
    """Which of `among` are members, a bit each.

    >>> bits_of({3, 9}, [1, 3, 5, 9]).hex()
    '0a'
    """
    bits = sum(1 << place for place, each in enumerate(among) if each in members)
    return bits.to_bytes((len(among) + 7) // 8, "little")


def members_of(bits: bytes, among: Sequence[int]) -> tuple[int, ...]:
    """What `bits_of` was made of."""
    number = int.from_bytes(bits, "little")
    if number >> len(among):
        raise EngineError("a list of parties names one that does not exist")
    return tuple(each for place, each in enumerate(among) if number >> place & 1)
