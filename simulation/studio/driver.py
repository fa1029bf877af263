"""The studio: a rollout, its file and its clock; one change at a time.

    a request   order, inject, step, begin  \
                                             >  lock -> session -> file -> snapshot -> the page
    the clock   a day, while it plays       /

What is slow (to draw a fleet, to live through days again, to play) is done by one thread of the
studio's own. Every change is in the file before a page is told of it. If the file cannot be
written, nothing is told, the session is given up, and the next try lives through the file again.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from models.errors import PocketfleetError, SettingsError
from server.rollout.decisions import Action
from simulation.experiments.rollout.scenarios import Effect
from simulation.studio import snapshot
from simulation.studio.rollout_session import RolloutSession, relive
from simulation.studio.rollout_setup import RolloutSetup
from simulation.studio.snapshot import Clock, Phase
from simulation.studio.store import Saved, Store

SLOWEST, FASTEST = 0.2, 20.0
"""Days a second."""

_BREATH_S = 0.005
"""Between two days: whoever waits for the lock gets it."""

_LAST_MOMENT_S = 0.5

Heard = Callable[[], None]


class Studio:
    """One rollout at a time, and everything that can be done to it."""

    def __init__(self, store: Store, workers: int = 1) -> None:
        self._store, self._workers = store, workers
        self._lock = threading.Lock()  # of session and file
        self._wake = threading.Condition()  # of what the thread is to do
        self._clock = Clock(False, 2.0, "")
        self._phase, self._problem = Phase("empty"), ""
        self._wanted: RolloutSetup | Saved | None = None
        self._session: RolloutSession | None = None
        self._number, self._created = 0, datetime.now(UTC)
        self._kept: dict[str, Any] = {}
        self._listeners: set[Heard] = set()
        self._version = 0
        self._snapshot: dict[str, Any] = {}
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio", daemon=True)
        saved = store.current()
        if saved:
            self._want(saved)
        self._tell()

    # --- what a page does ---------------------------------------------------------------------

    @property
    def snapshot(self) -> dict[str, Any]:
        """All that a page is told; a new one after every change, never changed itself."""
        return self._snapshot

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def say_goodbye(self) -> None:
        """Tell whoever listens that nothing more comes; a signal handler may call it."""
        self.closing.set()
        self._call_listeners()

    def close(self) -> None:
        """Stop the clock, and let go of the file."""
        self.say_goodbye()
        with self._wake:
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(_LAST_MOMENT_S)  # a fleet that is being drawn is not waited for
        with self._lock:
            self._store.close()

    def listen(self, heard: Heard) -> None:
        """Call this after every change, from any thread."""
        self._listeners.add(heard)

    def forget(self, heard: Heard) -> None:
        """Call it no more."""
        self._listeners.discard(heard)

    def begin(self, setup: RolloutSetup) -> None:
        """Begin another rollout. Its fleet is drawn first; until then the old one stays.

        Raises:
            SettingsError: if the studio is busy.
        """
        if self._phase.name == "busy":
            raise SettingsError(f"the studio is busy {self._phase.what}: wait a moment")
        self.play(False)
        self._want(setup)
        self._tell()

    def order(
        self, action: Action, reason: str, seen: tuple[str, int] | None = None
    ) -> dict[str, Any]:
        """Do what an operator decides.

        Args:
            action: what is done.
            reason: why.
            seen: status and stage that the operator looked at; None: whatever they are.

        Raises:
            SettingsError: if the state does not allow it, or is not the one that was seen.
            DataError: if it cannot be written.
        """
        with self._lock:
            session = self._ready()
            state = session.rollout.state
            if seen and seen != (state.status, state.stage):
                raise SettingsError(
                    f"'{action}' was not done: the rollout has moved on to {state.status}, stage "
                    f"{state.stage + 1} of {len(session.setup.plan.stages)}; look again"
                )
            decision = session.order(action, reason)
            self._store.add_decision(self._number, decision)
            session.follow(decision)
            self._keep()
        return self._tell()

    def inject(self, title: str, effects: Sequence[Effect]) -> dict[str, Any]:
        """Let something go wrong from the next day on.

        Raises:
            SettingsError: if it does not fit the fleet, or there is too much of it.
            DataError: if it cannot be written.
        """
        with self._lock:
            session = self._ready()
            fault = session.fault_of(title, effects)
            self._store.add_fault(self._number, len(session.faults) + 1, fault)
            session.suffer(fault)
            self._keep()
        return self._tell()

    def step(self) -> dict[str, Any]:
        """Let one day pass.

        Raises:
            SettingsError: if none can.
            DataError: if it cannot be written.
        """
        with self._lock:
            self._live()
        return self._tell()

    def play(self, is_playing: bool, days_per_second: float | None = None) -> dict[str, Any]:
        """Start or stop the clock.

        Raises:
            SettingsError: if no day can pass.
        """
        if is_playing:
            with self._lock:
                reason = self._ready().why_no_day()
            if reason:
                raise SettingsError(f"the clock cannot run: {reason}")
        with self._wake:
            speed = days_per_second or self._clock.days_per_second
            self._clock = Clock(is_playing, min(max(speed, SLOWEST), FASTEST), "")
            self._wake.notify_all()
        return self._tell()

    def log(self) -> str:
        """The log of the rollout, as a file of JSON lines has it."""
        return self._store.log_of(self._number)

    # --- what the thread does -----------------------------------------------------------------

    def _run(self) -> None:
        while not self.closing.is_set():
            with self._wake:
                self._wake.wait_for(
                    lambda: self.closing.is_set() or self._wanted or self._clock.is_playing
                )
                wanted, self._wanted = self._wanted, None
            if self.closing.is_set():
                return
            if wanted:
                self._open(wanted)
            else:
                self._tick()

    def _tick(self) -> None:
        """A day of a clock that runs, and the time until the next one."""
        begun = time.monotonic()
        try:
            with self._lock:
                if not self._clock.is_playing:
                    return
                self._live()
        except PocketfleetError as error:
            self._stop(str(error))
            return
        self._tell()
        rest = 1.0 / self._clock.days_per_second - (time.monotonic() - begun)
        with self._wake:
            self._wake.wait_for(
                lambda: self.closing.is_set() or not self._clock.is_playing,
                timeout=max(rest, _BREATH_S),
            )

    def _live(self) -> None:
        """A day, written; the clock stops where somebody should look."""
        session = self._ready()
        before, made = session.rollout.state, len(session.decisions)
        day = session.step()
        decision = session.decisions[-1] if len(session.decisions) > made else None
        try:
            self._store.add_day(self._number, day, decision)
        except PocketfleetError as error:
            self._give_up(str(error))
            raise
        self._keep()
        after = session.rollout.state
        if after.status != before.status:
            self._stop(f"the rule decided on day {session.day}: {after.status}")
        elif session.why_no_day():
            self._stop(session.why_no_day())

    def _open(self, wanted: RolloutSetup | Saved) -> None:
        """Draw the fleet of a rollout; a new one is written, an old one lived through again."""
        setup = wanted.setup if isinstance(wanted, Saved) else wanted
        try:
            session = RolloutSession.build(setup, self._workers, self._progress)
            if isinstance(wanted, Saved):
                relive(session, wanted.history, self._progress, lambda: not self.closing.is_set())
        except PocketfleetError as error:
            self._phase = Phase("ready" if self._session else "empty")
            self._problem = str(error)
            self._tell()
            return
        if self.closing.is_set():
            return
        with self._lock:
            try:
                if isinstance(wanted, Saved):
                    self._number, self._created = wanted.number, wanted.created
                else:
                    self._number, self._created = self._store.begin(wanted)
            except PocketfleetError as error:
                self._problem = str(error)
            else:
                self._session, self._problem = session, ""
                self._keep()
            self._phase = Phase("ready" if self._session else "empty")
        self._tell()

    # --- within -------------------------------------------------------------------------------

    def _want(self, wanted: RolloutSetup | Saved) -> None:
        if isinstance(wanted, Saved):
            self._kept = snapshot.of_rollout(
                wanted.number, wanted.created, wanted.setup, wanted.history, wanted.state
            )
        with self._wake:
            self._wanted, self._problem = wanted, ""
            self._phase = Phase("busy", "drawing the fleet")
            self._wake.notify_all()

    def _ready(self) -> RolloutSession:
        if self._session is None or self._phase.name != "ready":
            what = f"it is {self._phase.what}" if self._phase.what else "there is no rollout yet"
            raise SettingsError(f"the studio is not ready: {what}")
        return self._session

    def _stop(self, why: str) -> None:
        with self._wake:
            self._clock = Clock(False, self._clock.days_per_second, why)
        self._tell()

    def _progress(self, what: str, done: int, total: int) -> None:
        self._phase = Phase("busy", what, done, total)
        self._tell()

    def _give_up(self, problem: str) -> None:
        """The session is a day ahead of the file: live through what the file has again."""
        self._session = None
        saved = self._store.current()
        if saved:
            self._want(saved)
        self._problem = problem
        self._tell()

    def _keep(self) -> None:
        """Remember what a page is to be told of the rollout; with the lock held."""
        session = self._session
        if session:
            state = session.rollout.state
            self._kept = {
                **snapshot.of_rollout(
                    self._number, self._created, session.setup, session.history, state
                ),
                **snapshot.of_session(session),
            }

    def _tell(self) -> dict[str, Any]:
        with self._wake:
            self._version += 1
            self._snapshot = {
                "version": self._version,
                "phase": self._phase.as_json(),
                "problem": self._problem,
                "clock": self._clock.as_json(),
                **self._kept,
            }
            told = self._snapshot
        self._call_listeners()
        return told

    def _call_listeners(self) -> None:
        for heard in tuple(self._listeners):
            heard()
