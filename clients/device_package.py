"""What is installed on a phone: encoder bundle + recommender + cached item vectors, <= 4,000,000 B.

    package/
      bundle/            the encoder bundle, with its own manifest and budget (1,910,000 B)
      recommender.npz    shared parameters by name, float32, no pickle
      item_text.npy      (C, text_dim) float16 raw text vectors of the first C items
      package.json       counts, the items that are cached, sha256 of the two files above

Vectors that do not fit the budget are left out, least popular items first, and the phone encodes
those items when it loads the package.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import PACKAGE_BUDGET_BYTES
from models.errors import BudgetError, DataError
from models.files import replace_folder

BUNDLE = "bundle"
RECOMMENDER = "recommender.npz"
ITEM_TEXT = "item_text.npy"
MANIFEST = "package.json"
MANIFEST_RESERVE_BYTES = 16_384
"""Set aside for the manifest and the array headers before vectors are fitted in."""

PACKAGE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class DevicePackage:
    """An installed package.

    Attributes:
        folder: where it lies.
        num_items: N, the catalogue it was made for.
        num_cached: C, how many items have their vector in it.
        byte_table: part -> bytes; adds up to all files of the folder.
    """

    folder: Path
    num_items: int
    num_cached: int
    byte_table: dict[str, int]

    @property
    def num_bytes(self) -> int:
        """All of it."""
        return sum(self.byte_table.values())

    @classmethod
    def open(cls, folder: Path) -> "DevicePackage":
        """Open a package and check its hashes.

        Raises:
            DataError: if it is not a whole, undamaged package.
        """
        content = _manifest(folder)
        if content.get("format") != PACKAGE_FORMAT:
            found = content.get("format")
            raise DataError(f"{folder / MANIFEST} has format {found}, wanted {PACKAGE_FORMAT}")
        for name, wanted in content["sha256"].items():
            path = folder / name
            if not path.is_file() or _sha256(path) != wanted:
                raise DataError(f"{path} is missing or damaged: install the package again")
        return cls(folder, content["num_items"], content["num_cached"], _byte_table(folder))

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """The recommender's shared parameters by name."""
        with np.load(self.folder / RECOMMENDER, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def cached_vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Item indices (C,) and their raw text vectors (C, text_dim)."""
        content = _manifest(self.folder)
        vectors = np.load(self.folder / ITEM_TEXT, allow_pickle=False)
        cached = content["cached_items"]
        items = np.arange(self.num_cached) if cached == "all" else np.asarray(cached)
        return items.astype(np.int64), vectors.astype(np.float32)


def write_package(
    folder: Path,
    bundle: Path,
    parameters: Mapping[str, NDArray[np.float32]],
    item_text: NDArray[np.float32],
    popularity: NDArray[np.integer],
    *,
    budget_bytes: int = PACKAGE_BUDGET_BYTES,
) -> DevicePackage:
    """Put a package together, whole or not at all.

    Args:
        folder: where; an older package there is replaced.
        bundle: folder of the encoder bundle.
        parameters: shared parameters by name.
        item_text: (N, text_dim) raw text vectors of the catalogue.
        popularity: (N,) how often each item was chosen: the order in which vectors are cached.
        budget_bytes: what the package may have in all.

    Raises:
        BudgetError: if bundle and recommender alone pass the budget.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        staging = Path(name) / folder.name
        shutil.copytree(bundle, staging / BUNDLE)
        with (staging / RECOMMENDER).open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(parameters))
        spent = sum(_byte_table(staging).values()) + MANIFEST_RESERVE_BYTES
        cached = _fitting(item_text, popularity, budget_bytes - spent, budget_bytes)
        np.save(staging / ITEM_TEXT, item_text[cached].astype(np.float16), allow_pickle=False)
        everything = len(cached) == len(item_text)
        content = {
            "format": PACKAGE_FORMAT,
            "num_items": len(item_text),
            "num_cached": len(cached),
            "cached_items": "all" if everything else cached.tolist(),
            "sha256": {name: _sha256(staging / name) for name in (RECOMMENDER, ITEM_TEXT)},
        }
        (staging / MANIFEST).write_text(json.dumps(content) + "\n", encoding="utf-8")
        if folder.exists():
            _manifest(folder)  # only a package is ever replaced
        replace_folder(staging, folder)
    return DevicePackage.open(folder)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} is no device package (no {MANIFEST})")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): install the package again") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fitting(
    item_text: NDArray[np.float32], popularity: NDArray[np.integer], left: int, budget_bytes: int
) -> NDArray[np.int64]:
    """The items whose vectors fit into the bytes left, ascending; most popular ones first."""
    if left < 0:
        raise BudgetError(
            f"bundle and recommender pass the device package's budget of {budget_bytes:,} bytes by "
            f"{-left:,}: use a smaller recommender.dim or a smaller encoder bundle"
        )
    # A cached item costs its vector, and up to 9 bytes of its number in the manifest.
    each = item_text.shape[1] * np.dtype(np.float16).itemsize + 9
    count = min(len(item_text), left // each)
    order = np.argsort(-np.asarray(popularity), kind="stable")
    return np.sort(order[:count]).astype(np.int64)


def _byte_table(folder: Path) -> dict[str, int]:
    """Bytes per part of the package."""
    parts = {"encoder bundle": 0, "recommender": 0, "item vectors": 0, "manifest": 0}
    names = {RECOMMENDER: "recommender", ITEM_TEXT: "item vectors", MANIFEST: "manifest"}
    for path in folder.rglob("*"):
        if path.is_file():
            parts[names.get(path.name, "encoder bundle")] += path.stat().st_size
    return parts
