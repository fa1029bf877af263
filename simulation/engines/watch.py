"""Progress of a run, whoever runs it: the rounds that stand in its history file."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.progress import Progress
from server.history import HISTORY_FILE

POLL_S = 0.3


@contextmanager
def watched(run_folder: Path, rounds: int, what: str, progress: Progress) -> Iterator[None]:
    """Report rounds done while the block runs.

    Args:
        run_folder: where the server writes its history.
        rounds: how many there will be.
        what: what to call the work.
        progress: who is told.
    """
    over = threading.Event()
    path = run_folder / HISTORY_FILE

    def look() -> None:
        while not over.wait(POLL_S):
            if path.is_file():
                # Line 1 is round 0, the evaluation before training.
                done = path.read_bytes().count(b"\n") - 1
                if done >= rounds:
                    return
                progress(what, max(done, 0), rounds)

    thread = threading.Thread(target=look, name=f"watch-{what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    progress(what, rounds, rounds)
