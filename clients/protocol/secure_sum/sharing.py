"""Secrets in shares: any `threshold` of them give the secret, fewer nothing at all [1].

The arithmetic over GF(2^128) is PyCryptodome's. A share is a point of a polynomial; its place, a
number from 1, is the holder's place in the dealer's neighbourhood, so it need not be sent.

[1] A. Shamir, "How to Share a Secret", CACM 1979.
"""

from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir

from clients.protocol.secure_sum.keys import SEED_BYTES
from models.errors import EngineError


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Cut a secret of 16 bytes into `count` shares of 16 bytes, for the places 1 .. count."""
    if not 1 <= threshold <= count:
        raise EngineError(f"a threshold of {threshold} among {count} shares is out of 1 .. {count}")
    return [bytes(share) for _, share in Shamir.split(threshold, count, secret, ssss=False)]


def recover(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret, from `threshold` of these shares by place.

    Raises:
        EngineError: if there are fewer, or one has another length.
    """
    if len(shares) < threshold:
        raise EngineError(f"{len(shares)} shares of a secret are there, {threshold} are needed")
    if any(len(share) != SEED_BYTES for share in shares.values()):
        raise EngineError(f"a share of a secret does not have {SEED_BYTES} bytes")
    some = sorted(shares.items())[:threshold]
    return bytes(Shamir.combine(some, ssss=False))
