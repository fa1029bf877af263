"""Where a studio's rollouts lie: one SQLite file, every change of it one transaction.

    rollouts  number, created, setup      a rollout and all it depends on; the last is the current
    log       rollout, number, line       its log's lines (server.rollout.log_lines)
    faults    rollout, number, content    what the operator let go wrong
    days      rollout, day, content       what the page shows of a day

A change is on the disk (WAL, synchronous=FULL) before anybody is told of it; killed in the middle,
SQLite takes the half of it back. The file is held alone: a second studio in the folder is refused.
A file that is damaged, or not a studio's, is named and not written to.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from models.errors import DataError
from server.rollout.decisions import Decision, RolloutState
from server.rollout.log_lines import first_line, hash_of, next_line, play_back
from simulation.experiments.rollout.live_rollout import FIRST_SEQUENCE
from simulation.studio.day_record import StudioDay
from simulation.studio.rollout_session import Fault, History
from simulation.studio.rollout_setup import RolloutSetup

FILE = "studio.sqlite3"
APPLICATION_ID = 0x50_46_53_54
"""'PFST', in the header of the file: it is a studio's."""

FORMAT = 1
_TABLES = """
CREATE TABLE rollouts (number INTEGER PRIMARY KEY, created TEXT NOT NULL, setup TEXT NOT NULL);
CREATE TABLE log (
    rollout INTEGER NOT NULL REFERENCES rollouts, number INTEGER NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (rollout, number)
) WITHOUT ROWID;
CREATE TABLE faults (
    rollout INTEGER NOT NULL REFERENCES rollouts, number INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (rollout, number)
) WITHOUT ROWID;
CREATE TABLE days (
    rollout INTEGER NOT NULL REFERENCES rollouts, day INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (rollout, day)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Saved:
    """A rollout as it was read.

    Attributes:
        number: of the rollout in its file; 1 is the first.
        created: when it was begun, UTC.
        setup: all that it depends on.
        history: what happened.
        state: where the log leaves it.
    """

    number: int
    created: datetime
    setup: RolloutSetup
    history: History
    state: RolloutState


class Store:
    """The file of a studio, for several threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open the file of a folder, or begin one.

        Raises:
            DataError: if it is damaged, not a studio's, another version's, or in use.
        """
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                path, timeout=0.2, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot open {path} ({error}): name another folder") from error
        try:
            _prepare(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise _explained(path, error) from error
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def current(self) -> Saved | None:
        """The rollout that was begun last; None: there is none yet.

        Raises:
            DataError: if a line of it is not what was written.
        """
        with self._lock, self._explaining():
            newest = self._connection.execute(
                "SELECT number, created, setup FROM rollouts ORDER BY number DESC LIMIT 1"
            ).fetchone()
            if newest is None:
                return None
            number = int(newest[0])
            lines, faults, days = (
                [str(content) for (content,) in self._connection.execute(query, (number,))]
                for query in (
                    "SELECT line FROM log WHERE rollout = ? ORDER BY number",
                    "SELECT content FROM faults WHERE rollout = ? ORDER BY number",
                    "SELECT content FROM days WHERE rollout = ? ORDER BY day",
                )
            )
        return self._read(number, str(newest[1]), str(newest[2]), lines, faults, days)

    def begin(self, setup: RolloutSetup) -> tuple[int, datetime]:
        """Begin a rollout; the ones before it stay in the file.

        Returns:
            its number, and when it was begun.
        """
        created = datetime.now(UTC)
        tiers = [tier.name for tier in setup.world.tiers]
        with self._change() as connection:
            row = connection.execute(
                "INSERT INTO rollouts (created, setup) VALUES (?, ?) RETURNING number",
                (created.isoformat(), setup.model_dump_json()),
            ).fetchone()
            line = first_line(setup.plan, tiers, FIRST_SEQUENCE)
            connection.execute("INSERT INTO log VALUES (?, 0, ?)", (row[0], line))
        return int(row[0]), created

    def add_decision(self, rollout: int, decision: Decision) -> None:
        """Write an operator's decision at the end of the log."""
        with self._change() as connection:
            _append(connection, rollout, decision)

    def add_day(self, rollout: int, day: StudioDay, decision: Decision | None) -> None:
        """Write a day, and what the rule decided the morning after, both or neither."""
        with self._change() as connection:
            if decision:
                _append(connection, rollout, decision)
            connection.execute(
                "INSERT INTO days VALUES (?, ?, ?)", (rollout, day.row.day, day.model_dump_json())
            )

    def add_fault(self, rollout: int, number: int, fault: Fault) -> None:
        """Write a fault, the first one as number 1."""
        with self._change() as connection:
            connection.execute(
                "INSERT INTO faults VALUES (?, ?, ?)", (rollout, number, fault.model_dump_json())
            )

    def log_of(self, rollout: int) -> str:
        """The log of a rollout as a file has it: `server.rollout.log` opens it."""
        with self._lock, self._explaining():
            rows = self._connection.execute(
                "SELECT line FROM log WHERE rollout = ? ORDER BY number", (rollout,)
            ).fetchall()
        return "".join(f"{line}\n" for (line,) in rows)

    def _read(
        self,
        number: int,
        created: str,
        setup: str,
        lines: list[str],
        faults: list[str],
        days: list[str],
    ) -> Saved:
        log = play_back([line.encode() for line in lines], f"of rollout {number} in {self.path}")
        try:
            read = Saved(
                number,
                datetime.fromisoformat(created),
                RolloutSetup.model_validate_json(setup),
                History(
                    log.decisions,
                    tuple(Fault.model_validate_json(each) for each in faults),
                    tuple(StudioDay.model_validate_json(each) for each in days),
                ),
                log.states[-1],
            )
        except (ValidationError, ValueError) as error:
            raise DataError(
                f"{self.path}: rollout {number} holds what no studio wrote, nothing was changed: "
                "put back a copy, or name another folder"
            ) from error
        if read.setup.plan != log.plan:
            raise DataError(
                f"{self.path}: the log of rollout {number} is of another plan than its setup, "
                "nothing was changed: put back a copy, or name another folder"
            )
        return read

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        with self._lock, self._explaining():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is ours before anything is written, and take it for ourselves."""
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_schema",
        )
    )
    is_new = (application, version, tables) == (0, 0, 0)
    if not is_new:
        if application != APPLICATION_ID:
            raise DataError(f"{path} is not a studio's, it was left alone: name another folder")
        if version != FORMAT:
            raise DataError(
                f"{path} has format {version}, this studio reads {FORMAT}: name another folder"
            )
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DataError(f"{path} is damaged ({found}): put back a copy, or name another folder")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    if is_new:
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _append(connection: sqlite3.Connection, rollout: int, decision: Decision) -> None:
    last = connection.execute(
        "SELECT number, line FROM log WHERE rollout = ? ORDER BY number DESC LIMIT 1", (rollout,)
    ).fetchone()
    number = int(last[0]) + 1
    line = next_line(number, hash_of(str(last[1])), decision)
    connection.execute("INSERT INTO log VALUES (?, ?, ?)", (rollout, number, line))


def _explained(path: Path, error: sqlite3.Error) -> DataError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DataError(f"{path} is in use: another studio has this folder; name another one")
    if name == "SQLITE_FULL":
        return DataError(f"the disk is full while writing {path}: free some space")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return DataError(
            f"{path} is damaged or no studio's ({error}), nothing was changed: put back a copy, or "
            "name another folder"
        )
    return DataError(f"cannot use {path} ({error}): check the disk, or name another folder")
