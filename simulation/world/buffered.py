"""The virtual clock of a buffered run: no round waits for anybody.

    time_s   0         1         2         3         4
    phone 7  [v0 ......................]report 1
    phone 9  [v0 .......]report 2 -> step 1
    phone 3            [v0 ....]report 1
    phone 8                    [v1 .......]report 2 -> step 2; its report is 0 steps old, 3's was 1

A number of phones are at work all the time; every `look_every_s` the cloud invites as many as are
missing. When `cohort_size` reports are there the cloud makes a step, whatever versions they began
with; a report that is older than `max_staleness` steps is not used, nor one that comes after
`deadline_s`. Written before training, like every plan: staleness follows from bytes, steps and
habits, never from a gradient.

J. Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.errors import SettingsError
from server.cohorts import CohortPlan, Outcome
from server.settings import Federation
from simulation.world.timeline import LONGEST_WAIT_S, Timeline


@dataclass(slots=True)
class _AtWork:
    """Phones that were invited and have not ended yet, as columns of equal length."""

    device: NDArray[np.int64]
    version: NDArray[np.int64]
    end_s: NDArray[np.float64]
    outcome: NDArray[np.int8]

    @classmethod
    def nobody(cls) -> "_AtWork":
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int8))

    def __len__(self) -> int:
        return len(self.device)

    def taken(self, rows: NDArray[np.generic]) -> "_AtWork":
        return _AtWork(self.device[rows], self.version[rows], self.end_s[rows], self.outcome[rows])

    def joined(self, other: "_AtWork") -> "_AtWork":
        return _AtWork(
            np.concatenate([self.device, other.device]),
            np.concatenate([self.version, other.version]),
            np.concatenate([self.end_s, other.end_s]),
            np.concatenate([self.outcome, other.outcome]),
        )


@dataclass(slots=True)
class _Plan:
    """Steps so far; the last one is still being filled."""

    cohort_size: int
    rounds: int
    max_staleness: int
    start_s: list[float]
    duration_s: list[float] = field(default_factory=list)
    steps: list[list[tuple[int, Outcome, int]]] = field(default_factory=lambda: [[]])
    num_reports: int = 0

    @property
    def version(self) -> int:
        """Steps done."""
        return len(self.duration_s)

    @property
    def over(self) -> bool:
        return self.version == self.rounds

    def end(self, device: int, outcome: Outcome, version: int, time_s: float) -> None:
        """A phone reports, or will not."""
        if outcome is Outcome.REPORTED and self.version - version > self.max_staleness:
            outcome = Outcome.LATE
        self.steps[-1].append((device, outcome, version))
        self.num_reports += outcome is Outcome.REPORTED
        if self.num_reports == self.cohort_size:
            self.duration_s.append(time_s - self.start_s[-1])
            self.start_s.append(time_s)
            self.steps.append([])
            self.num_reports = 0

    def reported_now(self) -> NDArray[np.int64]:
        """Who is in the step that is being filled: a phone is in a step once."""
        return np.array([device for device, _, _ in self.steps[-1]], dtype=np.int64)


def plan_buffered(timeline: Timeline, federation: Federation) -> CohortPlan:
    """Plan all steps of a buffered run; `rounds` counts steps, `cohort_size` reports in each.

    Raises:
        SettingsError: if nobody is available for two weeks of the virtual clock.
    """
    schedule = federation.schedule
    plan = _Plan(
        federation.cohort_size, federation.rounds, schedule.max_staleness, [schedule.start_s]
    )
    work, time_s, last_s, look = _AtWork.nobody(), schedule.start_s, schedule.start_s, 0
    while not plan.over:
        missing = min(schedule.concurrency, timeline.num_devices) - len(work)
        if missing > 0:
            look += 1
            busy = np.concatenate([work.device, plan.reported_now()])
            found = timeline.find(missing, time_s, look, busy)
            work = work.joined(_invited(timeline, found, time_s, look, plan.version, federation))
        time_s += schedule.look_every_s if len(work) else schedule.retry_s
        ended = work.taken(work.end_s <= time_s)
        work = work.taken(work.end_s > time_s)
        last_s = time_s if len(ended) else last_s
        if time_s - last_s > LONGEST_WAIT_S:
            raise SettingsError(
                f"step {plan.version + 1} of the buffered run finds no phone for two weeks: "
                "change world.habits"
            )
        for row in np.lexsort((ended.device, ended.end_s)):
            if not plan.over:
                outcome = Outcome(int(ended.outcome[row]))
                version, end_s = int(ended.version[row]), float(ended.end_s[row])
                plan.end(int(ended.device[row]), outcome, version, end_s)
    return _columns(plan)


def _invited(
    timeline: Timeline,
    found: NDArray[np.int64],
    time_s: float,
    look: int,
    version: int,
    federation: Federation,
) -> _AtWork:
    """What becomes of phones that are invited now."""
    busy_s = timeline.busy_s(found, look)
    deadline_s = federation.schedule.deadline_s
    end_s = time_s + np.minimum(busy_s, deadline_s)
    outcome = np.full(len(found), Outcome.REPORTED, np.int8)
    outcome[busy_s > deadline_s] = Outcome.LATE
    outcome[timeline.interrupted(found, end_s, look)] = Outcome.DROPPED
    return _AtWork(found, np.full(len(found), version), end_s, outcome)


def _columns(plan: _Plan) -> CohortPlan:
    """The steps as columns, the devices of a step in order of their ids."""
    steps = [sorted(step) for step in plan.steps[: plan.rounds]]
    flat = [phone for step in steps for phone in step]
    return CohortPlan(
        offsets=np.concatenate([[0], np.cumsum([len(step) for step in steps])]).astype(np.int64),
        invited=np.array([device for device, _, _ in flat], dtype=np.int64),
        outcome=np.array([outcome for _, outcome, _ in flat], dtype=np.int8),
        version=np.array([version for _, _, version in flat], dtype=np.int64),
        start_s=np.asarray(plan.start_s[: plan.rounds]),
        duration_s=np.asarray(plan.duration_s),
    )
