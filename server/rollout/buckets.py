"""Where a device stands in a hash: the same for ever, and for every salt anew.

    bucket(salt, device) in [0, 1)  =  bytes 8 (device mod 8) .. of BLAKE2b(device // 8, key=salt)

A stage admits buckets below its share, so a larger stage holds every smaller one and a device never
flips. One digest of 64 bytes serves eight neighbours, which are eight different stretches of it and
as independent as different digests [1]. No draw and no table is kept: a phone can find its own.

[1] RFC 7693, "The BLAKE2 Cryptographic Hash and Message Authentication Code".
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

DEVICES_PER_DIGEST = 8
_BITS_OF_A_DOUBLE = 53


def bucket(salt: str, device_id: int) -> float:
    """Return the bucket of one device: the slow truth.

    Args:
        salt: at most 64 bytes in UTF-8.
        device_id: >= 0.

    >>> round(bucket("release-7", 12), 6) == round(bucket("release-7", 12), 6)
    True
    """
    block, place = divmod(device_id, DEVICES_PER_DIGEST)
    digest = hashlib.blake2b(block.to_bytes(8, "little"), key=salt.encode()).digest()
    bits = int.from_bytes(digest[8 * place : 8 * place + 8], "little") >> (64 - _BITS_OF_A_DOUBLE)
    return float(bits * 2.0**-_BITS_OF_A_DOUBLE)


def buckets(salt: str, device_ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the buckets of many devices, (n,): once per salt, then kept.

    Args:
        salt: at most 64 bytes in UTF-8.
        device_ids: (n,) each >= 0, in any order.

    Raises:
        ValueError: if an id is below 0.
    """
    if len(device_ids) == 0:
        return np.empty(0)
    if int(device_ids.min()) < 0:
        raise ValueError(f"device ids must be >= 0, got {int(device_ids.min())}")
    blocks, places = np.divmod(np.asarray(device_ids, dtype=np.int64), DEVICES_PER_DIGEST)
    digests, rows = _digests(salt, blocks)
    bits = digests[rows, places] >> np.uint64(64 - _BITS_OF_A_DOUBLE)
    return np.asarray(bits.astype(np.float64) * 2.0**-_BITS_OF_A_DOUBLE)


def _digests(salt: str, blocks: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Digests of the different blocks, (m, 8), and the row of each device."""
    first, last = int(blocks.min()), int(blocks.max())
    if last - first < len(blocks):  # close together, as a whole population is: no sorting
        different, rows = np.arange(first, last + 1), (blocks - first).astype(np.intp)
    else:
        different, rows = np.unique(blocks, return_inverse=True)
    content = different.astype("<u8").tobytes()
    keyed = hashlib.blake2b(key=salt.encode())
    parts = []
    for place in range(0, len(content), 8):
        one = keyed.copy()
        one.update(content[place : place + 8])
        parts.append(one.digest())
    digests = np.frombuffer(b"".join(parts), dtype="<u8").reshape(-1, DEVICES_PER_DIGEST)
    return digests.astype(np.uint64, copy=False), rows
