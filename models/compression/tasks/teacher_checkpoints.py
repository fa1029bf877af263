"""Files of a task teacher: what cannot be read is named, with the cure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from models.errors import DataError


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Say which file it was that could not be read, and the cure."""
    try:
        yield
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"task teacher {path} is damaged ({type(error).__name__}): delete its folder, and it "
            "is made again"
        ) from error


def note_of(path: Path) -> dict[str, str]:
    """Return the metadata that stands in the head of a safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        note: dict[str, str] = json.loads(file.read(size))["__metadata__"]
    return note
