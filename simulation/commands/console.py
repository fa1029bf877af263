"""How a verb speaks: people read stderr and a terminal, machines read one JSON object on stdout.

With `--json` stdout holds exactly one JSON object and nothing else, so it can be piped; progress
and notes go to stderr in either case.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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
            yield self._plain_progress()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._notes, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def report(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total or None)
                bars.update(tasks[what], completed=done, total=total or None)
                if total and done >= total:
                    bars.remove_task(tasks.pop(what))
                    bars.console.print(f"  done: {what}", style="dim", highlight=False)

            yield report

    def _plain_progress(self) -> Report:
        """For logs: the beginning and the end of each piece of work, and a line now and then."""
        last: dict[str, float] = {}
        ended: set[str] = set()

        def report(what: str, done: int, total: int) -> None:
            over = bool(total) and done >= total
            if over and what in ended:
                return
            now = time.monotonic()
            if over or now - last.get(what, float("-inf")) >= PLAIN_EVERY_S:
                last[what] = now
                if over:
                    ended.add(what)
                self.note(f"{what}: {done}/{total}" if total else what)

        return report
