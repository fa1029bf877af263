"""Integers modulo 2^b: what is masked, sent and added up.

    integer    -3 -2 -1 0 1 2 ...                 a sum within -2^(b-1) .. 2^(b-1) - 1 comes back
    element    2^b - 3 ... 2^b - 1  0 1 2 ...     uniform if a uniform mask was added

Addition forgets nothing as long as the sum fits, whatever it was on the way: masks may wrap as
often as they like. That a sum fits is `capacity`'s matter, before any training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError

RING_BITS = (16, 24, 32)
"""Whole bytes, so that a number costs what it weighs."""

Elements = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo 2^bits.

    Attributes:
        bits: one of `RING_BITS`.

    >>> ring = Ring(16)
    >>> ring.wrap(np.array([-3, 0, 5])).tolist()
    [65533, 0, 5]
    >>> ring.centred(ring.wrap(np.array([-3, 0, 5]))).tolist()
    [-3, 0, 5]
    """

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in RING_BITS:
            raise EngineError(
                f"a ring of {self.bits} bits was asked for: choose one of {RING_BITS}"
            )

    @property
    def bytes_per_number(self) -> int:
        """What a number costs on the wire."""
        return self.bits // 8

    @property
    def largest(self) -> int:
        """The largest |sum| that comes back as it was: 2^(bits - 1) - 1."""
        return (1 << (self.bits - 1)) - 1

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1

    def wrap(self, integers: NDArray[np.int64]) -> Elements:
        """Integers of any size as elements."""
        return np.asarray((integers & self._mask).astype(np.uint32))

    def centred(self, elements: Elements) -> NDArray[np.int64]:
        """The integers around 0 that these elements stand for."""
        wide = elements.astype(np.int64)
        return np.asarray(wide - ((wide > self.largest).astype(np.int64) << self.bits))

    def add(self, left: Elements, right: Elements) -> Elements:
        """Add, modulo 2^bits."""
        return np.asarray((left + right) & np.uint32(self._mask))

    def subtract(self, left: Elements, right: Elements) -> Elements:
        """Subtract, modulo 2^bits."""
        return np.asarray((left - right) & np.uint32(self._mask))

    def pack(self, elements: Elements) -> bytes:
        """Lay elements end to end, `bytes_per_number` each, the lowest byte first."""
        whole = elements.astype("<u4").view(np.uint8).reshape(-1, 4)
        return whole[:, : self.bytes_per_number].tobytes()

    def unpack(self, packed: bytes) -> Elements:
        """Read what `pack` wrote.

        Raises:
            EngineError: if the bytes are no whole number of elements.
        """
        if len(packed) % self.bytes_per_number:
            raise EngineError(
                f"{len(packed)} bytes hold no whole number of {self.bits}-bit numbers"
            )
        narrow = np.frombuffer(packed, dtype=np.uint8).reshape(-1, self.bytes_per_number)
        whole = np.zeros((len(narrow), 4), dtype=np.uint8)
        whole[:, : self.bytes_per_number] = narrow
        return whole.view("<u4").reshape(-1).astype(np.uint32)
