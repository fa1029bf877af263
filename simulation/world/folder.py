"""The folder of a world appears whole or not at all, and replaces nothing but a world."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from clients.shard import WORLD_FORMAT, WorldManifest
from models.errors import DataError
from models.files import replace_folder

MANIFEST_FILE = "manifest.json"


@contextmanager
def replacing_world(folder: Path, manifest: WorldManifest) -> Iterator[Path]:
    """Give a folder to write columns into; it takes the place of `folder` when the block ends well.

    Raises:
        DataError: if the folder exists and holds no world, or cannot be written.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).is_file():
        raise DataError(f"{folder} exists and is no world: name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        staging = Path(name) / folder.name
        staging.mkdir()
        try:
            yield staging
        except OSError as error:
            raise DataError(f"cannot write the world {folder}: {error}") from error
        content = {"format": WORLD_FORMAT, **asdict(manifest)}
        (staging / MANIFEST_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        replace_folder(staging, folder)
