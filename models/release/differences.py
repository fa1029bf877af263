"""The new bytes as differences from the old ones: weights change little, and so do their bits.

    way       the difference                                      for
    NEW       the new bytes                                       what has no like in the old file
    BYTES     new - old, modulo 256                               int8 weights, the rest
    NIBBLES   the same in each half of a byte                     4-bit weights, two in a byte
    PAIRS     new - old of 16-bit words, folded, in byte planes   float16
    WORDS     new - old of 32-bit words, folded, in byte planes   float32

A float that moved a little keeps its sign, its exponent and its first bits, so the difference of
the *integers* that its bits are is small; folding (0, -1, 1, -2, ... -> 0, 1, 2, 3, ...) makes its
upper bytes zero on either side, and planes lay these zeros together for the compressor behind. All
of it is exact: the new bytes come back to the last bit.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Way(IntEnum):
    """How a run of bytes is told."""

    NEW = 0
    BYTES = 1
    NIBBLES = 2
    PAIRS = 3
    WORDS = 4


_WORDS: dict[Way, np.dtype[Any]] = {Way.PAIRS: np.dtype("<u2"), Way.WORDS: np.dtype("<u4")}


def ways_for(item_bytes: int, length: int) -> tuple[Way, ...]:
    """Ways that could suit numbers of this size; the shortest is found by trying."""
    wide = {2: (Way.PAIRS,), 4: (Way.WORDS,)}.get(item_bytes, (Way.NIBBLES,))
    return (Way.NEW, Way.BYTES, *wide) if length % item_bytes == 0 else (Way.NEW, Way.BYTES)


def difference(old: bytes, new: bytes, way: Way) -> bytes:
    r"""Tell the new bytes by the old ones.

    Raises:
        ValueError: if they have different lengths.

    >>> difference(bytes([7, 250]), bytes([9, 1]), Way.BYTES)
    b'\x02\x07'
    """
    if way is Way.NEW:
        return new
    if len(old) != len(new):
        raise ValueError(f"{len(old)} old bytes beside {len(new)} new ones")
    if way in _WORDS:
        kind = _WORDS[way]
        apart = np.frombuffer(new, kind) - np.frombuffer(old, kind)
        return _planes(_folded(apart))
    one, two = (np.frombuffer(each, np.uint8) for each in (old, new))
    if way is Way.BYTES:
        return (two - one).tobytes()
    low = (two - one) & 0x0F
    high = ((two >> 4) - (one >> 4)) & 0x0F
    return (low | (high << 4)).astype(np.uint8).tobytes()


def restored(old: bytes, told: bytes, way: Way) -> bytes:
    """The new bytes again.

    Raises:
        ValueError: if the lengths do not fit.

    >>> list(restored(bytes([7, 250]), bytes([2, 7]), Way.BYTES))
    [9, 1]
    """
    if way is Way.NEW:
        return told
    if len(old) != len(told):
        raise ValueError(f"{len(old)} old bytes beside {len(told)} of differences")
    if way in _WORDS:
        kind = _WORDS[way]
        planes = np.frombuffer(told, np.uint8).reshape(kind.itemsize, -1)
        apart = _unfolded(np.ascontiguousarray(planes.T).view(kind).ravel())
        return bytes((np.frombuffer(old, kind) + apart).astype(kind).tobytes())
    one, two = (np.frombuffer(each, np.uint8) for each in (old, told))
    if way is Way.BYTES:
        return (one + two).tobytes()
    low = (one + two) & 0x0F
    high = ((one >> 4) + (two >> 4)) & 0x0F
    return (low | (high << 4)).astype(np.uint8).tobytes()


def _folded(apart: NDArray[Any]) -> NDArray[Any]:
    top = 8 * apart.dtype.itemsize - 1
    negative = (apart >> np.asarray(top, apart.dtype)).astype(bool)
    doubled = apart << np.asarray(1, apart.dtype)
    return np.asarray(np.where(negative, ~doubled, doubled))


def _unfolded(folded: NDArray[Any]) -> NDArray[Any]:
    half = folded >> np.asarray(1, folded.dtype)
    return np.asarray(np.where((folded & np.asarray(1, folded.dtype)).astype(bool), ~half, half))


def _planes(words: NDArray[Any]) -> bytes:
    """All first bytes, all second bytes, ..."""
    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, words.dtype.itemsize).T).tobytes()
