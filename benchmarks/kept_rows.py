"""Rows of a long measurement, kept as they are done: killed and started again, it goes on.

A file of JSON lines, one for each measured thing. A row counts for the settings that it was
measured with: its key holds a hash of them. A line that was cut by the end of the process is
measured again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class KeptRows:
    """Rows by key, in memory, and in a file if there is one.

    Args:
        path: of the file; None keeps nothing beyond this process.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, Row] = {}
        if path is not None and path.exists():
            content = path.read_bytes()
            for row in _readable(content.splitlines()):
                self._rows[row["key"]] = row
            if content and not content.endswith(b"\n"):
                with path.open("ab") as file:
                    file.write(b"\n")

    def get(self, key: str) -> Row | None:
        """The row of a key, if it was measured."""
        return self._rows.get(key)

    def add(self, key: str, row: Row) -> None:
        """Keep a row; it is in the file when this returns."""
        self._rows[key] = {"key": key, **row}
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._rows[key]) + "\n")


def hash_of(settings: object) -> str:
    """Sixteen hexadecimal digits of settings that JSON can say.

    >>> hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _readable(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "key" in row:
            yield row
