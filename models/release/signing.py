"""Signatures of manifests: Ed25519 (RFC 8032), keys in PEM files.

The private key signs where releases are made and never lies in a release; phones hold the public
one. What is signed is a name for the purpose and the manifest's bytes as they are: a signature of
anything else by the same key is none of a release.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.errors import DataError

PURPOSE = b"pocketfleet release manifest 1\n"
SIGNATURE_BYTES = 64
KEY_LIMIT_BYTES = 10_000
PRIVATE_MARK = b"PRIVATE KEY-----"


def make_keys(private: Path, public: Path) -> None:
    """Write a new pair of keys; the private one is readable by its owner alone.

    Raises:
        DataError: if one of the files is there already: a key is never written over.
    """
    for path in (private, public):
        if path.exists():
            raise DataError(f"{path} is there already, and a key is not written over: name another")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private.parent.mkdir(parents=True, exist_ok=True)
    public.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read the key that signs.

    Raises:
        DataError: if the file is not an Ed25519 private key without a password.
    """
    try:
        key = load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DataError(
            f"{path} is no private key in PEM without a password: make one with "
            "`pocketfleet release keys`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path} holds a key of another kind: Ed25519 is wanted")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read the key that verifies.

    Raises:
        DataError: if the file is not an Ed25519 public key.
    """
    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError(
            f"{path} is no public key in PEM: give the public one of the two"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise DataError(f"{path} holds a key of another kind: Ed25519 is wanted")
    return key


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """Sign a manifest's bytes, 64 bytes."""
    return key.sign(PURPOSE + manifest)


def verify(manifest: bytes, signature: bytes, key: Ed25519PublicKey) -> None:
    """Refuse a manifest that the key's owner did not sign.

    Raises:
        DataError: if the signature is not of these bytes by this key.
    """
    try:
        if len(signature) != SIGNATURE_BYTES:
            raise InvalidSignature
        key.verify(signature, PURPOSE + manifest)
    except InvalidSignature as error:
        raise DataError(
            "the release is not signed by the key that is trusted here: it was changed, cut off, "
            "or is somebody else's"
        ) from error


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > KEY_LIMIT_BYTES:
            raise DataError(f"{path} is too large for a key")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the key {path} ({error.strerror})") from error
