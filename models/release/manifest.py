"""The manifest of a release: what it holds, what it needs, where it comes from.

    {"format": "pocketfleet-release/1", "name": "recommender", "version": "2.1.0", "sequence": 8,
     "files": {"bundle/encoder.onnx": {"bytes": 1807995, "sha256": "88.."}, ...},
     "min_app_version": "2.0.0", "min_memory_mb": 120, "vocabulary_sha256": "71..",
     "parent": "c0..", "epsilon": 4.0}

`sequence` alone says which of two releases is the later one: phones refuse what is not higher than
the highest they have seen, so nobody can send them back with an old manifest. A rollback is a new
manifest with a higher sequence that names the old files; `parent` is the SHA-256 of the manifest
that it replaces. Whatever is read here may come from anybody: sizes and names are checked first.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from models.errors import DataError

FORMAT = "pocketfleet-release/1"
MANIFEST, SIGNATURE, FILES = "manifest.json", "manifest.sig", "files"
MANIFEST_LIMIT_BYTES = 65_536
MOST_FILES = 64
LARGEST_FILE_BYTES = 64_000_000
LARGEST_SEQUENCE = 2**53
VERSION = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEYS = {
    "format",
    "name",
    "version",
    "sequence",
    "files",
    "min_app_version",
    "min_memory_mb",
    "vocabulary_sha256",
    "parent",
    "epsilon",
}


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file of a release.

    Attributes:
        num_bytes: its size.
        sha256: of its content, in hexadecimal.
    """

    num_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "ReleaseFile":
        """Describe a content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def check(self, name: str, content: bytes) -> None:
        """Refuse another content.

        Raises:
            DataError: if size or hash differ.
        """
        if len(content) != self.num_bytes:
            raise DataError(
                f"{name} has {len(content):,} bytes, its manifest says {self.num_bytes:,}: fetch "
                "the release again"
            )
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(
                f"{name} does not have the SHA-256 of its manifest: fetch the release again"
            )


@dataclass(frozen=True, slots=True)
class ReleaseManifest:
    """A release, as its manifest says it.

    Attributes:
        name: of the product's part, e.g. "recommender".
        version: for people, "2.1.0".
        sequence: rises with every manifest, rollbacks included.
        files: name with "/" between folders -> size and hash.
        min_app_version: oldest app that can run it, "2.0.0".
        min_memory_mb: memory that the app must have, megabytes (1e6 bytes).
        vocabulary_sha256: of the encoder's vocabulary; "" when there is none in it.
        parent: SHA-256 of the manifest that it replaces; "" for the first one.
        epsilon: privacy spent on its users' data by now; None: not private.
    """

    name: str
    version: str
    sequence: int
    files: Mapping[str, ReleaseFile]
    min_app_version: str
    min_memory_mb: float
    vocabulary_sha256: str
    parent: str
    epsilon: float | None

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.num_bytes for file in self.files.values())

    def to_bytes(self) -> bytes:
        """The bytes that are signed: sorted keys, one way to write everything.

        Raises:
            DataError: if a field is not what it may be.
        """
        tree: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "sequence": self.sequence,
            "files": {
                name: {"bytes": file.num_bytes, "sha256": file.sha256}
                for name, file in self.files.items()
            },
            "min_app_version": self.min_app_version,
            "min_memory_mb": self.min_memory_mb,
            "vocabulary_sha256": self.vocabulary_sha256,
            "parent": self.parent,
            "epsilon": self.epsilon,
        }
        _check(tree)
        return (json.dumps(tree, sort_keys=True, separators=(",", ":")) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "ReleaseManifest":
        """Read a manifest; who signed it is another question.

        Raises:
            DataError: if it is not one, or names a file that could lie outside its folder.
        """
        if len(content) > MANIFEST_LIMIT_BYTES:
            raise _wrong(f"has more than {MANIFEST_LIMIT_BYTES:,} bytes")
        try:
            tree = json.loads(content, object_pairs_hook=_each_key_once)
        except (ValueError, RecursionError) as error:
            raise _wrong("is no JSON") from error
        _check(tree)
        files = {
            name: ReleaseFile(entry["bytes"], entry["sha256"])
            for name, entry in tree["files"].items()
        }
        rest = {key: tree[key] for key in _KEYS - {"format", "files"}}
        return cls(files=files, **rest)


def manifest_hash(content: bytes) -> str:
    """What another release names as its parent."""
    return hashlib.sha256(content).hexdigest()


def version_numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that sort as versions do.

    Raises:
        DataError: if it is not three numbers with dots.

    >>> version_numbers("2.9.0") < version_numbers("2.14.0")
    True
    """
    if not VERSION.fullmatch(version):
        raise DataError(f"'{version}' is no version: write three numbers, as 2.14.0")
    return tuple(int(part) for part in version.split("."))


def _check(tree: Any) -> None:
    if not isinstance(tree, dict) or set(tree) != _KEYS:
        raise _wrong(f"must have exactly the keys {', '.join(sorted(_KEYS))}")
    if tree["format"] != FORMAT:
        raise _wrong(f"has format {str(tree['format'])[:40]!r}, wanted {FORMAT!r}")
    if not isinstance(tree["name"], str) or not _PART.fullmatch(tree["name"]):
        raise _wrong("has a name that is not letters, digits, dots, dashes, at most 80")
    for key in ("version", "min_app_version"):
        if not isinstance(tree[key], str) or not VERSION.fullmatch(tree[key]):
            raise _wrong(f"has {key} {str(tree[key])[:40]!r}: write three numbers, as 2.14.0")
    if not _whole(tree["sequence"], 1, LARGEST_SEQUENCE):
        raise _wrong(f"has sequence {str(tree['sequence'])[:40]}: a whole number from 1 on")
    for key, may_be_none in (("min_memory_mb", False), ("epsilon", True)):
        if not _number(tree[key]) and not (may_be_none and tree[key] is None):
            raise _wrong(f"has {key} {str(tree[key])[:40]}: a number from 0 on")
    _check_hashes(tree)
    _check_files(tree["files"])


def _check_hashes(tree: dict[str, Any]) -> None:
    for key in ("vocabulary_sha256", "parent"):
        if not isinstance(tree[key], str) or not (tree[key] == "" or _HASH.fullmatch(tree[key])):
            raise _wrong(f"has a {key} that is no SHA-256")


def _check_files(files: Any) -> None:
    if not isinstance(files, dict) or not 1 <= len(files) <= MOST_FILES:
        raise _wrong(f"names no files, or more than {MOST_FILES}")
    for name, entry in files.items():
        parts = name.split("/")
        if len(parts) > 4 or not all(_PART.fullmatch(part) for part in parts):
            raise _wrong(f"names a file {name[:80]!r}: plain names and folders only")
        if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
            raise _wrong(f"does not say bytes and sha256 of {name}")
        if not _whole(entry["bytes"], 0, LARGEST_FILE_BYTES):
            raise _wrong(f"has a size of {name} that is not from 0 to {LARGEST_FILE_BYTES:,}")
        if not isinstance(entry["sha256"], str) or not _HASH.fullmatch(entry["sha256"]):
            raise _wrong(f"has no SHA-256 of {name}")
    folded = {name.lower() for name in files}
    if len(folded) < len(files):
        raise _wrong("names two files that some disks take for one")
    if any(other.startswith(name + "/") for name in folded for other in folded):
        raise _wrong("names a file that is also a folder")


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value) and value >= 0


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _wrong(what: str) -> DataError:
    return DataError(f"the release's manifest {what}; fetch the release again or make it anew")
