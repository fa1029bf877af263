"""Files that are written whole or not at all.

A file is written under a temporary name in the same folder and renamed when it is complete, so a
crash, a full disk or Ctrl-C never leaves a half that looks like a whole.
"""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from models.errors import DataError


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes; it appears under its name only when the block ends well.

    Raises:
        DataError: if the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise DataError(_reason(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def replace_folder(staging: Path, target: Path) -> None:
    """Put a finished folder in the place of another one.

    The old one is moved aside before it is deleted, so there is never a half of one under the name.
    If the new one cannot be put there, the old one comes back.

    Args:
        staging: the finished folder, in the same parent folder as `target` or below it.
        target: the name it takes; what is there goes.
    """
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-old-", dir=target.parent) as aside:
        old = Path(aside) / target.name
        if target.exists():
            target.replace(old)
        try:
            staging.replace(target)
        except BaseException:
            if old.exists():
                old.replace(target)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with write_whole(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while writing {path}: free some space and run again"
    reason = error.strerror or str(error)
    return f"cannot write {path} ({reason}): name a folder that can be written to"
