"""Runs in which something is killed: what to wait for, whom to kill, who was left behind."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from server.history import HISTORY_FILE
from server.settings import Federation
from tests.tiny_world import federation

PATIENCE_S = 600.0  # far beyond what anything takes; a test that waits so long has failed


def who_names(*folders: Path) -> list[list[str]]:
    """Command lines of processes that name one of the folders there or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:  # it has ended, or is another user's
            continue
        if any(str(folder) in word for word in words for folder in folders):
            found.append(process.cmdline())
    return found


def wait_for(look: Callable[[], object], what: str) -> None:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def ray_workers(scratch: Path) -> list[psutil.Process]:
    """Workers of a run's own Ray that are at work; idle ones have another title."""
    found = []
    for process in psutil.process_iter():
        try:
            at_work = process.cmdline()[:1] == ["ray::ClientAppActor.run"]
            if at_work and str(scratch) in " ".join(process.parent().cmdline()):
                found.append(process)
        except (psutil.Error, AttributeError):  # it has ended, or its parent has
            continue
    return found


def long_rounds(num_nodes: int, rounds: int) -> Federation:
    """Rounds that take long enough for something to happen in the middle of one."""
    settings = federation(num_nodes, rounds)
    slow = {"local_epochs": 100, "rate": 0.005, "personal_rate": 0.001}
    training = settings.training.model_copy(update=slow)
    return settings.model_copy(update={"training": training, "evaluate_every": rounds})


def rounds_done(folder: Path) -> int:
    """Rows of the history: 1 stands for the evaluation before round 1."""
    path = folder / HISTORY_FILE
    return path.read_bytes().count(b"\n") if path.is_file() else 0
