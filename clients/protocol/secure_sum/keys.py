"""The cryptography of a secure sum; every primitive is the `cryptography` library's.

    agree on a key       X25519, then HKDF-SHA256 with the session as salt and the purpose as info
    seal, open           AES-256-GCM: who alters a letter, or hands it to another, is found out
    expand a seed        AES-256 in counter mode: 32 bytes become a mask as long as the vector
    commit               SHA-256 over session, purpose and secret

A party's private keys come from seeds of 16 bytes (HKDF), which is what Shamir's scheme over
GF(2^128) can share. A key serves one session, one purpose and one pair in one direction, so that
nothing is ever encrypted twice under the same key and nonce.
"""

import hashlib

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clients.protocol.secure_sum.ring import Elements, Ring
from models.errors import EngineError

SEED_BYTES = 16
KEY_BYTES = 32
TAG_BYTES = 16
_NONCE = bytes(12)  # a key seals one letter


def public_key(seed: bytes, purpose: str) -> bytes:
    """The public half, 32 bytes, of the key that this seed stands for."""
    return _private(seed, purpose).public_key().public_bytes_raw()


def _private(seed: bytes, purpose: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(_derived(seed, b"", f"private key, {purpose}"))


def agreed_key(seed: bytes, other: bytes, purpose: str, session: bytes, about: str) -> bytes:
    """The key that both ends of a pair arrive at, 32 bytes.

    Args:
        seed: of the one end's private key.
        other: the public key of the other end.
        purpose: of both keys.
        session: of the sum.
        about: what the agreed key is for, the same words at both ends.

    Raises:
        EngineError: if the other's public key is none.
    """
    try:
        shared = _private(seed, purpose).exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise EngineError(f"a public key of a secure sum is none ({error})") from error
    return _derived(shared, session, about)


def _derived(secret: bytes, salt: bytes, info: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt or None, info.encode()).derive(secret)


def seal(key: bytes, plain: bytes, about: bytes) -> bytes:
    """Encrypt, and bind to what the letter is about; `TAG_BYTES` longer than what is in it."""
    return AESGCM(key).encrypt(_NONCE, plain, about)


def unseal(key: bytes, sealed: bytes, about: bytes, sender: int) -> bytes:
    """Decrypt.

    Raises:
        EngineError: if the letter was altered, or is about something else.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, about)
    except InvalidTag as error:
        raise EngineError(
            f"the shares of party {sender} were altered on the way, or are of another session"
        ) from error


def mask_of(key: bytes, ring: Ring, length: int, session: bytes) -> Elements:
    """Expand a key of 16 or 32 bytes to uniform elements, (length,)."""
    whole = _derived(key, session, "mask")
    stream = Cipher(algorithms.AES(whole), modes.CTR(bytes(16))).encryptor()
    return ring.unpack(stream.update(bytes(length * ring.bytes_per_number)))


def commitment(session: bytes, purpose: str, secret: bytes) -> bytes:
    """What is told of a secret beforehand, 32 bytes, so that it cannot be another one later."""
    return hashlib.sha256(session + hashlib.sha256(purpose.encode()).digest() + secret).digest()


def zeros(length: int) -> Elements:
    """The neutral vector."""
    return np.zeros(length, dtype=np.uint32)
