"""How a verb speaks: people read stderr and a terminal, machines read one JSON object on stdout.

With `--json` stdout holds exactly one JSON object and nothing else, so it can be piped; progress
and notes go to stderr in either case.
"""

import json
import shlex
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from models.progress import Progress as Report
from models.progress import name_and_state

PLAIN_EVERY_S = 15.0


@dataclass(slots=True)
class Voice:
    """Where a verb's words go.

    Attributes:
        machine: whether stdout is for a machine.
    """

    machine: bool
    _notes: Console = field(default_factory=lambda: Console(stderr=True))

    def show(self, content: RenderableType) -> None:
        """Show a result to people: on stdout, or nowhere when that is for a machine."""
        if not self.machine:
            Console().print(content)

    def show_lines(self, text: str) -> None:
        """Show text as it is, lines unbroken however long they are: it is to be copied."""
        if not self.machine:
            Console(soft_wrap=True).print(text, highlight=False, markup=False, end="")

    def note(self, text: str) -> None:
        """Say something in passing, on stderr."""
        self._notes.print(text, style="dim", highlight=False, markup=False)

    def result(self, content: dict[str, Any]) -> None:
        """Give the machine its object."""
        if self.machine:
            sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Progress bars in a terminal; a line now and then where there is none."""
        if not self._notes.is_terminal:
            yield _Lines(self.note)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._notes, transient=True) as bars:
            yield _Bars(bars)


class _Listener(ABC):
    """Hears several threads, one at a time, and tells the end of each piece of work once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        name, state = name_and_state(what)
        with self._lock:
            if not total or done < total:
                self._show(name, state, done, total)
                return
            self._close(name)
            if name not in self._ended:
                self._ended.add(name)
                self._tell_end(name, total)

    @abstractmethod
    def _show(self, what: str, state: str, done: int, total: int) -> None:
        """Work goes on."""

    @abstractmethod
    def _close(self, what: str) -> None:
        """Work has ended, perhaps not for the first time: show no more of it."""

    @abstractmethod
    def _tell_end(self, what: str, total: int) -> None:
        """Work has ended for the first time."""


class _Bars(_Listener):
    """For terminals: a bar for each piece of work that goes on, a line for each that has ended."""

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def _show(self, what: str, state: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total or None)
        told = f"{what} · {state}" if state else what
        self._bars.update(self._tasks[what], description=told, completed=done, total=total or None)

    def _close(self, what: str) -> None:
        if what in self._tasks:
            self._bars.remove_task(self._tasks.pop(what))

    def _tell_end(self, what: str, total: int) -> None:
        self._bars.console.print(f"  done: {what}", style="dim", highlight=False, markup=False)


class _Lines(_Listener):
    """For logs: the beginning and the end of each piece of work, and a line now and then."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note
        self._last: dict[str, float] = {}

    def _show(self, what: str, state: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last.get(what, float("-inf")) >= PLAIN_EVERY_S:
            self._last[what] = now
            told = f"{what}: {done}/{total}" if total else what
            self._note(f"{told} · {state}" if state else told)

    def _close(self, what: str) -> None:
        """Nothing is on show."""

    def _tell_end(self, what: str, total: int) -> None:
        self._note(f"{what}: {total}/{total}")


def command_line() -> str:
    """The command as it was given, ready to be pasted into a shell."""
    return shlex.join(["pocketfleet", *click.get_current_context().obj])
