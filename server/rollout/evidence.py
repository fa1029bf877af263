"""What the cloud knows of a rollout: sums over devices, by arm and tier.

    admitted   devices that could have used what their arm gives them
    rows       `Moments` of those that did (exposed, from their first use): clicks, bytes, joules
    times      `SlowRequests` of the same devices
    events     by day: devices with their first crash, running out of memory, opting out; at risk

All of it adds up, over nodes and over days: what a day brings is a change (`models.statistics`).
A device of the control arm is exposed when it *would have* used the release: when it had met the
conditions of the download and then opened the app. Otherwise the treated arm would hold only phones
that charge often, and the control arm all of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.statistics.moments import FloatArray, Moments
from models.statistics.slow_requests import SlowRequests
from server.rollout.settings import RolloutPlan

ARMS = 2


@dataclass(frozen=True, slots=True)
class Events:
    """First events of devices, by day.

    Attributes:
        names: the E kinds, e.g. "crash".
        counts: (days, arms, tiers, E) devices with their first event of a kind that day.
        at_risk: (days, arms, tiers, E) exposed devices that used the app that day and had none
            before.
    """

    names: tuple[str, ...]
    counts: FloatArray
    at_risk: FloatArray

    @classmethod
    def on(
        cls, names: Sequence[str], day: int, counts: FloatArray, at_risk: FloatArray
    ) -> "Events":
        """Events of one day, both (arms, tiers, E)."""
        nothing = np.zeros((day, *counts.shape))
        joined = (np.concatenate([nothing, each[None]]) for each in (counts, at_risk))
        return cls(tuple(names), *joined)

    def __add__(self, other: "Events") -> "Events":
        if self.names != other.names or self.counts.shape[1:] != other.counts.shape[1:]:
            raise ValueError(f"events {self.names} and {other.names} do not add up")
        days = max(len(self.counts), len(other.counts))
        counts, at_risk = (
            _padded(one, days) + _padded(two, days)
            for one, two in ((self.counts, other.counts), (self.at_risk, other.at_risk))
        )
        return Events(self.names, counts, at_risk)


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """All that has been seen in one window, or the change of a day.

    Attributes:
        admitted: (arms, tiers) devices of each arm.
        rows: (arms, tiers) sums over exposed devices.
        times: (arms, tiers) of the same devices.
        events: of the same devices, by day since the window opened.
        internal_exposed: internal devices that have used the release.
        internal_failed: those of them that had an event of any guardrail.
    """

    admitted: NDArray[np.int64]
    rows: Moments
    times: SlowRequests
    events: Events
    internal_exposed: int
    internal_failed: int

    @classmethod
    def nothing(
        cls, plan: RolloutPlan, columns: Sequence[str], num_tiers: int
    ) -> "RolloutEvidence":
        """Nothing seen yet.

        Args:
            plan: its guardrails say which events there are, and the edges of times.
            columns: names of the devices' columns.
            num_tiers: T.

        Raises:
            DataError: if a guardrail or `ship` reads a column that is not among them.
        """
        _check_columns(plan, columns)
        names = [rail.value for rail in plan.guardrails if rail.kind == "event"]
        shape = (ARMS, num_tiers)
        none = np.zeros((0, *shape, len(names)))
        return cls(
            np.zeros(shape, dtype=np.int64),
            Moments.nothing(columns, shape),
            SlowRequests.nothing(plan.evidence.edges_ms, shape),
            Events(tuple(names), none, none.copy()),
            0,
            0,
        )

    def __add__(self, other: "RolloutEvidence") -> "RolloutEvidence":
        return RolloutEvidence(
            self.admitted + other.admitted,
            self.rows + other.rows,
            self.times + other.times,
            self.events + other.events,
            self.internal_exposed + other.internal_exposed,
            self.internal_failed + other.internal_failed,
        )

    @property
    def exposed(self) -> NDArray[np.int64]:
        """(arms, tiers) devices that have used what their arm gives them."""
        return self.rows.count.astype(np.int64)

    def check(self) -> None:
        """Refuse sums that cannot be.

        Raises:
            DataError: if more devices used the release than were admitted, something is below 0 or
                no number, or more devices failed than there are.
        """
        arrays = (self.admitted, self.rows.count, self.events.counts, self.events.at_risk)
        if not all(np.isfinite(each).all() and (each >= 0).all() for each in arrays):
            raise DataError("rollout evidence has counts below 0, or that are no numbers")
        rows, times = self.rows, self.times
        sums = (rows.sums, rows.products, times.requests, times.slower, times.slower_squared)
        if not all(np.isfinite(each).all() for each in sums):
            raise DataError("rollout evidence has sums that are no numbers: a phone sent NaN")
        if (self.exposed > self.admitted).any():
            arm, tier = (int(n) for n in np.argwhere(self.exposed > self.admitted)[0])
            raise DataError(
                f"rollout evidence has {self.exposed[arm, tier]:,} devices that used the release "
                f"and {self.admitted[arm, tier]:,} that could (arm {arm}, tier {tier}): exposure "
                "counts a device once"
            )
        if (self.events.counts > self.events.at_risk).any():
            raise DataError("rollout evidence has more devices with a first event than at risk")
        if not 0 <= self.internal_failed <= self.internal_exposed:
            raise DataError(
                f"rollout evidence has {self.internal_failed} failed internal devices of "
                f"{self.internal_exposed}"
            )

    def digest(self) -> str:
        """SHA-256 of all sums: what a line of the log names, so that it can be judged again."""
        digest = hashlib.sha256()
        rows, times, events = self.rows, self.times, self.events
        arrays = [self.admitted, rows.count, rows.sums, rows.products, times.count, times.requests]
        arrays += [times.requests_squared, times.slower, times.slower_squared]
        arrays += [times.slower_by_requests, events.counts, events.at_risk]
        for each in arrays:
            digest.update(f"{each.shape}".encode() + np.ascontiguousarray(each, "<f8").tobytes())
        names = (*rows.names, "|", *events.names, "|", *map(repr, times.edges_ms))
        digest.update("\0".join(names).encode())
        digest.update(f"{self.internal_exposed} {self.internal_failed}".encode())
        return digest.hexdigest()


def _padded(values: FloatArray, days: int) -> FloatArray:
    missing = np.zeros((days - len(values), *values.shape[1:]))
    return np.concatenate([values, missing])


def _check_columns(plan: RolloutPlan, columns: Sequence[str]) -> None:
    read = [rail for rail in plan.guardrails if rail.kind == "ratio"]
    for metric in (*read, plan.ship.metric):
        asked = (metric.value, metric.per, metric.before, metric.before_per)
        for name in asked:
            if name and name not in columns:
                raise DataError(
                    f"the plan reads '{name}', devices report {', '.join(columns)}: name one of "
                    "these in its guardrails and in ship"
                )
