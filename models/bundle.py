"""The encoder bundle: one small folder that a phone can run, and the bytes of each of its parts.

    bundle/
      encoder.onnx     the graph with its int8 weights          ~ 1.83 MB
      vocab.txt        one piece per line                       ~ 0.06 MB
      tokenizer.json   case, accents, longest text              < 100 bytes
      manifest.json    size and SHA-256 of the three, the graph's parts, where it came from

The bundle is measured whole: these four files together have at most 1,910,000 bytes, and writing a
larger one raises. Opening one checks the file set, every size and every hash. The hashes find
damage, not malice: who can write the folder can write the manifest too.

Nothing here imports torch, onnx or pydantic: this module runs where the phone runs.
"""

import hashlib
import json
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import BudgetError, DataError
from models.files import replace_folder

ENCODER_BUDGET_BYTES = 1_910_000
"""Most bytes an encoder bundle may have, all four files together (EI-BERT's 1.91 MB)."""

LARGEST_BUNDLE_BYTES = 4_000_000
"""Most bytes of the largest size of an elastic family. Whoever opens a bundle above
`ENCODER_BUDGET_BYTES` must ask for it; a device package has no room for one."""

PACKAGE_BUDGET_BYTES = 4_000_000
"""Most bytes a device package may have: bundle, recommender and cached item vectors."""

GRAPH, VOCABULARY, TOKENIZER, MANIFEST = (
    "encoder.onnx",
    "vocab.txt",
    "tokenizer.json",
    "manifest.json",
)
CONTENT_FILES = (GRAPH, VOCABULARY, TOKENIZER)

FORMAT = "pocketfleet-encoder-bundle/1"
MANIFEST_LIMIT_BYTES = 16_384
_MANIFEST_KEYS = {"format", "files", "graph_parts", "vector_size", "origin"}


@dataclass(frozen=True, slots=True)
class PartBytes:
    """One row of the byte table: a part of the bundle and what it weighs."""

    part: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class EncoderBundle:
    """A checked bundle folder.

    Attributes:
        folder: where its four files are.
        manifest: the parsed `manifest.json`.
        manifest_bytes: size of `manifest.json` itself.
    """

    folder: Path
    manifest: Mapping[str, Any]
    manifest_bytes: int

    @classmethod
    def open(cls, folder: Path, budget_bytes: int = ENCODER_BUDGET_BYTES) -> "EncoderBundle":
        """Open a folder and check that it is a whole, undamaged bundle within the budget.

        Args:
            folder: the bundle.
            budget_bytes: most bytes it may have; more than the default only where a device has
                room for more, as for the largest size of an elastic family.

        Raises:
            DataError: if a file is missing, unknown, of another size, or of another hash.
            BudgetError: if the files together pass the budget.
        """
        sizes = _file_sizes(folder)
        content = (folder / MANIFEST).read_bytes()
        bundle = cls(folder, _parse_manifest(folder, content), len(content))
        _check_budget(bundle.byte_table(), budget_bytes)
        for name in CONTENT_FILES:
            if sizes[name] != bundle.manifest["files"][name]["bytes"]:
                raise _damaged(folder, name, f"has {sizes[name]} bytes, not those of its manifest")
            bundle.read(name)
        return bundle

    def read(self, name: str) -> bytes:
        """Return the content of one of `CONTENT_FILES`, checked against its hash.

        Raises:
            DataError: if the file changed since the bundle was written.
        """
        content = (self.folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.manifest["files"][name]["sha256"]:
            raise _damaged(self.folder, name, "does not have the SHA-256 of its manifest")
        return content

    @property
    def num_bytes(self) -> int:
        """Bytes of the four files together."""
        return sum(row.num_bytes for row in self.byte_table())

    @property
    def vector_size(self) -> int:
        """Numbers per encoded text."""
        return int(self.manifest["vector_size"])

    def byte_table(self) -> tuple[PartBytes, ...]:
        """Return what every part weighs; the rows add up to the sizes of the files exactly."""
        files = self.manifest["files"]
        rows = [PartBytes(part, size) for part, size in self.manifest["graph_parts"].items()]
        rows.append(PartBytes("vocabulary", files[VOCABULARY]["bytes"]))
        rows.append(PartBytes("tokenizer settings", files[TOKENIZER]["bytes"]))
        rows.append(PartBytes("manifest", self.manifest_bytes))
        return tuple(rows)


def write_bundle(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    graph_parts: Mapping[str, int],
    vector_size: int,
    origin: Mapping[str, Any],
    budget_bytes: int,
) -> EncoderBundle:
    """Write a bundle folder in one step: it is there whole, or not at all.

    Args:
        folder: where it goes; an older bundle there is replaced.
        files: content of each of `CONTENT_FILES`.
        graph_parts: bytes of the graph by part; they must add up to the graph.
        vector_size: numbers per encoded text.
        origin: hashes, seed, shape and bits that made it. No paths and no times, so that the same
            run writes the same bytes anywhere.
        budget_bytes: most bytes the four files may have.

    Raises:
        BudgetError: if they have more; nothing is written then.
        ValueError: if the files or the graph's parts are not what they should be (a bug).
    """
    if set(files) != set(CONTENT_FILES) or sum(graph_parts.values()) != len(files[GRAPH]):
        raise ValueError(
            f"need {CONTENT_FILES} and parts that add up to the graph, got {set(files)}"
        )
    manifest = {
        "format": FORMAT,
        "vector_size": vector_size,
        "origin": dict(origin),
        "graph_parts": dict(graph_parts),
        "files": {
            name: {"bytes": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
            for name in CONTENT_FILES
        },
    }
    content = (json.dumps(manifest, separators=(",", ":")) + "\n").encode()
    bundle = EncoderBundle(folder, manifest, len(content))
    _check_budget(bundle.byte_table(), budget_bytes)
    _replace_folder(folder, {**files, MANIFEST: content})
    return bundle


def _check_budget(table: tuple[PartBytes, ...], budget_bytes: int) -> None:
    total = sum(row.num_bytes for row in table)
    if total > budget_bytes:
        parts = ", ".join(f"{row.part} {row.num_bytes:,}" for row in table)
        raise BudgetError(
            f"encoder bundle has {total:,} bytes, {total - budget_bytes:,} over its budget of "
            f"{budget_bytes:,} ({parts}): take fewer words or a narrower student"
        )


def _replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files beside the target and rename: a broken run leaves no half a bundle."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        staging.chmod(0o755)  # mkdtemp gives 0700
        for name, content in files.items():
            (staging / name).write_bytes(content)
        if folder.exists():
            # Only a bundle is ever replaced, of whatever size, not a folder of a user's.
            EncoderBundle.open(folder, sys.maxsize)
        replace_folder(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _file_sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of the four files.

    Raises:
        DataError: if the folder holds other names, or one of them is no plain file.
    """
    expected = {*CONTENT_FILES, MANIFEST}
    if not folder.is_dir():
        raise DataError(f"no encoder bundle at {folder}: run `pocketfleet compress` to make one")
    found = {entry.name: entry.lstat() for entry in folder.iterdir()}
    if set(found) != expected:
        missing, unknown = sorted(expected - set(found)), sorted(set(found) - expected)[:10]
        raise DataError(
            f"{folder} is not an encoder bundle: missing {missing}, unknown {unknown}; "
            "run `pocketfleet compress` again"
        )
    for name, status in found.items():
        if not stat.S_ISREG(status.st_mode):
            raise _damaged(folder, name, "is not a plain file")
    if found[MANIFEST].st_size > MANIFEST_LIMIT_BYTES:
        raise _damaged(folder, MANIFEST, f"has more than {MANIFEST_LIMIT_BYTES:,} bytes")
    return {name: status.st_size for name, status in found.items()}


def _parse_manifest(folder: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise _damaged(folder, MANIFEST, f"is not JSON ({error})") from error
    if not isinstance(manifest, dict) or set(manifest) != _MANIFEST_KEYS:
        raise _damaged(folder, MANIFEST, f"must have exactly the keys {sorted(_MANIFEST_KEYS)}")
    if manifest["format"] != FORMAT:
        raise _damaged(folder, MANIFEST, f"has format {manifest['format']!r}, expected {FORMAT!r}")
    if not _sizes_agree(manifest):
        raise _damaged(folder, MANIFEST, "has sizes that are missing or do not add up")
    return manifest


def _sizes_agree(manifest: dict[str, Any]) -> bool:
    """Say whether the manifest names the three files and its graph parts add up to the graph."""
    files, parts = manifest["files"], manifest["graph_parts"]
    if (
        not isinstance(files, dict)
        or set(files) != set(CONTENT_FILES)
        or not isinstance(parts, dict)
    ):
        return False
    sizes = [entry.get("bytes") for entry in files.values() if isinstance(entry, dict)]
    hashes = [entry.get("sha256") for entry in files.values() if isinstance(entry, dict)]
    numbers = [*sizes, *parts.values(), manifest["vector_size"]]
    if not all(type(number) is int and number >= 0 for number in numbers):
        return False
    whole = len(sizes) == len(CONTENT_FILES) and all(isinstance(text, str) for text in hashes)
    return whole and sum(parts.values()) == files[GRAPH]["bytes"]


def _damaged(folder: Path, name: str, what: str) -> DataError:
    return DataError(f"encoder bundle {folder}: {name} {what}; run `pocketfleet compress` again")
