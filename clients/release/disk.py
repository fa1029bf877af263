"""The four things that installing does to a disk, each whole before the next one begins.

What is written is on the disk when the call returns (fsync of the file, and of its folder where a
name changed), so a power cut loses at most the call that it cuts. Tests cut every one of them.
"""

import os
import shutil
from pathlib import Path


class Disk:
    """A real disk."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file that nobody reads yet; cut, it is there in part."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync(path.parent)

    def replace(self, path: Path, content: bytes) -> None:
        """Put another content in the place of a file; cut, it is the old one or the new one."""
        beside = path.with_name(f".{path.name}.new")
        self.write(beside, content)
        self.rename(beside, path)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, over the file that has it."""
        source.replace(target)
        _sync(target.parent)

    def clear(self, folder: Path) -> None:
        """Delete a folder that nobody reads; cut, a part of it is left."""
        if folder.exists():
            shutil.rmtree(folder)
            _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
