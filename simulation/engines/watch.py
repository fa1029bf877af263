"""Progress of a run, whoever runs it: the rounds that stand in its history file.

rounds of federated · 812 devices/s · 1.2 GB up · HR@10 20.1 % · 3 lost   ━━━━━╸━━━ 37/80
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.progress import Progress
from server.history import HISTORY_FILE

POLL_S = 0.3
Listener = Callable[[dict[str, Any]], None]
"""Told about each row of the history once, in order."""


@dataclass(slots=True)
class _Reader:
    """Reads the history as it grows."""

    path: Path
    place: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def new_rows(self) -> list[dict[str, Any]]:
        """Rows since the last look; a line that is still being written waits."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.place)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        found = [json.loads(line) for line in whole.splitlines()]
        self.rows += found
        return found


@contextmanager
def watched(
    run_folder: Path,
    rounds: int,
    what: str,
    progress: Progress,
    listeners: Sequence[Listener] = (),
) -> Iterator[None]:
    """Report rounds done while the block runs.

    Args:
        run_folder: where the server writes its history.
        rounds: how many there will be.
        what: what to call the work.
        progress: who is told.
        listeners: told about each row; all of them by the end of the block.
    """
    over, reader = threading.Event(), _Reader(run_folder / HISTORY_FILE)

    def look() -> None:
        for row in reader.new_rows():
            for listener in listeners:
                listener(row)
        if reader.rows:
            done = int(reader.rows[-1]["round_number"])
            progress(f"{what}\n{state_of(reader.rows)}", min(done, rounds - 1), rounds)

    def keep_looking() -> None:
        while not over.wait(POLL_S):
            look()

    thread = threading.Thread(target=keep_looking, name=f"watch-{what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
    progress(what, rounds, rounds)


def state_of(rows: Sequence[dict[str, Any]]) -> str:
    """How a run goes, in a few words: speed, bytes, accuracy so far, and what was lost.

    >>> row = {"num_reported": 90, "seconds": 0.5, "bytes_up": 3e6, "num_lost": 0, "metrics": None}
    >>> state_of([row | {"epsilon": None}])
    '180 devices/s · 3.0 MB up'
    """
    seconds = sum(row["seconds"] for row in rows)
    parts = []
    if seconds:
        parts.append(f"{sum(row['num_reported'] for row in rows) / seconds:,.0f} devices/s")
    parts.append(f"{_bytes(sum(row['bytes_up'] for row in rows))} up")
    evaluated = [row for row in rows if row["metrics"]]
    if evaluated:
        parts.append(f"HR@10 {100 * evaluated[-1]['metrics']['full']['hr@10']:.1f} %")
    if rows[-1]["epsilon"] is not None:
        parts.append(f"epsilon {rows[-1]['epsilon']:.2f}")
    if lost := sum(row["num_lost"] for row in rows):
        parts.append(f"{lost:,} lost")
    return " · ".join(parts)


def _bytes(count: float) -> str:
    """A number of bytes in the unit that people read.

    >>> _bytes(0), _bytes(2.5e9)
    ('0 MB', '2.5 GB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count else "0 MB"
