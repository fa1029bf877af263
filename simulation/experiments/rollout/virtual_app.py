"""The virtual app: a day of a fleet in, the change of the rollout's evidence out.

    morning   devices that can use what their arm gives them open the app, or do not
              exposed from here on; clicks, times, failures                       sessions.py
    by night  phones look for a manifest, and fetch what it names                 delivery.py

What is fetched on a day is used from the next one on. A device of the control arm goes the same way
with nothing at the end of it: it is "ready" when it would have fetched. All that is known of a
device stands in columns; a block of devices is worked on at a time. The draws have addresses
(seed, purpose, device, day), and sums are of whole numbers: size of blocks and number of workers
change not one bit. Whoever opts out or crashes goes on opening the app: only the first event of a
kind counts, and a device that died serves nothing more that day.

Times of requests are those of a device's *first* day in the window, so that nobody has to remember
50 numbers a device: a release that becomes slow later is not seen by the p95 guardrail.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.seeds import uniforms
from models.statistics.moments import Moments
from models.statistics.slow_requests import SlowRequests
from server.rollout.decisions import RolloutState
from server.rollout.evidence import ARMS, Events, RolloutEvidence
from server.rollout.membership import CONTROL, Membership, window
from simulation.experiments.rollout.blocks import in_blocks
from simulation.experiments.rollout.delivery import Delivery
from simulation.experiments.rollout.scenarios import NEW, OLD, Scenario, What
from simulation.experiments.rollout.sessions import (
    EVENTS,
    KIB,
    TICKS,
    sessions_of,
    times_of,
    use_of,
)
from simulation.experiments.rollout.tier_bundles import bytes_of_tiers, put_bundles
from simulation.experiments.rollout.virtual_fleet import DEVICES_AT_A_TIME, VirtualFleet

COLUMNS = ("clicks", "requests", "clicks_before", "requests_before", "bytes", "joules")


@dataclass(frozen=True, slots=True)
class Tally:
    """What a day brought beside the evidence.

    Attributes:
        downloads: phones that fetched the release.
        returned: phones that went back to the release before.
        first_used: phones that used the release for the first time in their life.
        fetched_bytes: of the downloads.
    """

    downloads: int
    returned: int
    first_used: int
    fetched_bytes: int

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.downloads + other.downloads,
            self.returned + other.returned,
            self.first_used + other.first_used,
            self.fetched_bytes + other.fetched_bytes,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where devices stand at the end of a day, each (n,) bool.

    Attributes:
        holds: has the release.
        used: has ever used it.
        is_control: in the control arm of the stage.
        is_admitted: may have the release at the stage.
        exposed: has used what its arm gives it, in this window of evidence.
        failed: had an event of some guardrail since.
    """

    holds: NDArray[np.bool_]
    used: NDArray[np.bool_]
    is_control: NDArray[np.bool_]
    is_admitted: NDArray[np.bool_]
    exposed: NDArray[np.bool_]
    failed: NDArray[np.bool_]


class VirtualApp:
    """A fleet on which a rollout is tried, and what its devices have done so far."""

    def __init__(
        self,
        fleet: VirtualFleet,
        membership: Membership,
        scenario: Scenario,
        workers: int = 1,
        block: int = DEVICES_AT_A_TIME,
    ) -> None:
        self.fleet, self.membership, self.scenario = fleet, membership, scenario
        self._workers, self._block = workers, block
        self._delivery = Delivery(fleet)
        self._tier_bytes = bytes_of_tiers(fleet.app.delivery, fleet.tier_names)
        count = fleet.num_devices
        self.holds = np.zeros(count, dtype=bool)  # has the release
        self.used = np.zeros(count, dtype=bool)  # has ever used it
        self._ready = np.zeros(count, dtype=bool)  # of the control: would have it
        self._arm = np.full(count, -1, dtype=np.int8)
        self._admitted = np.zeros(count, dtype=bool)
        self._members = np.zeros(0, dtype=np.int64)
        self._stage, self._window, self._opened = -1, -1, 0
        self._told = np.zeros((ARMS, len(fleet.tier_names)), dtype=np.int64)
        self._forget()

    def day(self, day: int, state: RolloutState) -> tuple[RolloutEvidence, Tally]:
        """Let a day pass.

        Args:
            day: of the rollout, ascending from 0.
            state: of the rollout on that day.

        Returns:
            the change of the evidence of the state's window, and what else happened.
        """
        if state.stage != self._stage:
            self._enter(state.stage, day)
        strengths = self.scenario.strengths(day, self.fleet.tier_names, self.fleet.region_names)
        put_bundles(strengths, self.fleet.app.delivery, self.fleet.tier_names)
        is_back = state.status in ("rolled back", "killed")

        def work(part: slice) -> tuple[RolloutEvidence, Tally]:
            ids = self._members[part]
            used = self._use(ids, day, strengths)
            moved = self._deliver(ids, day, strengths["check in"], state.offers_downloads, is_back)
            return used[0], used[1] + moved

        parts = in_blocks(work, len(self._members), self._block, self._workers)
        total = self._nothing(), Tally(0, 0, 0, 0)
        for change, tally in parts:
            total = total[0] + change, total[1] + tally
        return self._with_admitted(total[0]), total[1]

    def standing(self, devices: slice = slice(None)) -> Standing:
        """Where some devices stand, or all of them."""
        return Standing(
            holds=self.holds[devices].copy(),
            used=self.used[devices].copy(),
            is_control=self._arm[devices] == CONTROL,
            is_admitted=self._admitted[devices].copy(),
            exposed=self._exposed[devices].copy(),
            failed=self._failed[devices] > 0,
        )

    def _enter(self, stage: int, day: int) -> None:
        """A stage begins: arms grow, and in another window all evidence begins anew."""
        self._stage = stage
        self._arm = self.membership.arm(stage)
        self._admitted = self.membership.admitted(stage)
        self._members = np.flatnonzero((self._arm >= 0) | self._admitted)
        if window(self.membership.plan, stage) != self._window:
            self._window, self._opened = window(self.membership.plan, stage), day
            self._told[:] = 0
            self._forget()

    def _forget(self) -> None:
        """Nothing has been seen in this window."""
        count = self.fleet.num_devices
        self._ready[:] = False
        self._exposed = np.zeros(count, dtype=bool)
        self._failed = np.zeros(count, dtype=np.uint8)  # a bit for each kind of event
        self._clicks = np.zeros(count, dtype=np.uint16)
        self._requests = np.zeros(count, dtype=np.uint16)
        self._kib = np.zeros(count, dtype=np.int64)
        self._ticks = np.zeros(count, dtype=np.int64)

    def _nothing(self) -> RolloutEvidence:
        plan = self.membership.plan
        return RolloutEvidence.nothing(plan, COLUMNS, len(self.fleet.tier_names))

    def _with_admitted(self, change: RolloutEvidence) -> RolloutEvidence:
        """The change, with the devices that came into the arms since the last day."""
        num_tiers = len(self.fleet.tier_names)
        inside = self._members[self._arm[self._members] >= 0]
        cells = self._arm[inside].astype(np.int64) * num_tiers + self.fleet.tier[inside]
        now = np.bincount(cells, minlength=ARMS * num_tiers).reshape(ARMS, num_tiers)
        admitted, self._told = now - self._told, now
        return RolloutEvidence(
            admitted,
            change.rows,
            change.times,
            change.events,
            change.internal_exposed,
            change.internal_failed,
        )

    def _use(
        self, ids: NDArray[np.int64], day: int, strengths: Mapping[What, NDArray[np.float64]]
    ) -> tuple[RolloutEvidence, Tally]:
        """Devices that can open the app do so, or not."""
        ids = ids[self.holds[ids] | self._ready[ids]]
        sessions = sessions_of(self.fleet, ids, day)
        ids, sessions = ids[sessions > 0], sessions[sessions > 0]
        first = self.holds[ids] & ~self.used[ids]
        self.used[ids[first]] = True
        strength = self._strength_of(ids, strengths)
        if float(strengths["report"].min()) < 1:
            told = uniforms(self.fleet.seed, "report", ids, day) < strength["report"]
            ids, sessions = ids[told], sessions[told]
            strength = {name: each[told] for name, each in strength.items()}
        seen = (self._arm[ids] >= 0) | self.fleet.internal[ids]
        ids, sessions = ids[seen], sessions[seen]
        strength = {name: each[seen] for name, each in strength.items()}
        change = self._seen(ids, day, sessions, strength)
        return change, Tally(0, 0, int(first.sum()), 0)

    def _strength_of(
        self, ids: NDArray[np.int64], strengths: Mapping[What, NDArray[np.float64]]
    ) -> dict[What, NDArray[np.float64]]:
        where = (
            np.where(self.holds[ids], NEW, OLD),
            self.fleet.tier[ids],
            self.fleet.zone[ids],
        )
        return {name: each[where] for name, each in strengths.items()}

    def _seen(
        self,
        ids: NDArray[np.int64],
        day: int,
        sessions: NDArray[np.int64],
        strength: Mapping[What, NDArray[np.float64]],
    ) -> RolloutEvidence:
        """Add a day of exposed devices to their columns, and say what changed in the sums."""
        num_tiers = len(self.fleet.tier_names)
        use = use_of(self.fleet, ids, day, sessions, self.holds[ids], strength)
        arm = self._arm[ids].astype(np.int64)
        cells = np.where(arm >= 0, arm * num_tiers + self.fleet.tier[ids], -1)
        known = self._exposed[ids]
        before = self._rows(ids[known], cells[known])
        new, failed_before = ids[~known], self._failed[ids]
        self._exposed[new] = True
        for column, values in (
            (self._clicks, use.clicks),
            (self._requests, use.requests),
            (self._kib, use.kib),
            (self._ticks, use.ticks),
        ):
            column[ids] += values.astype(column.dtype)
        bits = (use.failed << np.arange(len(EVENTS))).sum(axis=1).astype(np.uint8)
        self._failed[ids] = failed_before | bits
        internal = self.fleet.internal[ids]
        return RolloutEvidence(
            np.zeros_like(self._told),
            self._rows(ids, cells) - before,
            self._times(new, cells[~known], day, use.requests[~known], strength["latency"][~known]),
            self._events(cells, day, failed_before, use.failed),
            int((internal & ~known).sum()),
            int((internal & (failed_before == 0) & (bits > 0)).sum()),
        )

    def _rows(self, ids: NDArray[np.int64], cells: NDArray[np.int64]) -> Moments:
        columns = (
            self._clicks[ids],
            self._requests[ids],
            self.fleet.clicks_before[ids],
            self.fleet.requests_before[ids],
            self._kib[ids].astype(np.float64) * KIB,
            self._ticks[ids] / TICKS,
        )
        shape = (ARMS, len(self.fleet.tier_names))
        rows = np.stack(columns, axis=1).astype(np.float64)
        return Moments.by_cell(COLUMNS, rows, cells, shape)

    def _times(
        self,
        ids: NDArray[np.int64],
        cells: NDArray[np.int64],
        day: int,
        requests: NDArray[np.int64],
        factor: NDArray[np.float64],
    ) -> SlowRequests:
        edges = self.membership.plan.evidence.edges_ms
        served = (requests > 0) & (cells >= 0)
        ids, cells, requests, factor = ids[served], cells[served], requests[served], factor[served]
        bins = times_of(self.fleet, ids, day, requests, factor, edges)
        return SlowRequests.by_cell(edges, bins, cells, (ARMS, len(self.fleet.tier_names)))

    def _events(
        self,
        cells: NDArray[np.int64],
        day: int,
        failed_before: NDArray[np.uint8],
        failed: NDArray[np.bool_],
    ) -> Events:
        """First events of the day, in the order of the plan's guardrails."""
        shape = (ARMS, len(self.fleet.tier_names))
        size = int(np.prod(shape))
        names = self._nothing().events.names
        counts = np.zeros((*shape, len(names)))
        at_risk = np.zeros((*shape, len(names)))
        for place, name in enumerate(names):
            kind = EVENTS.index(name)  # type: ignore[arg-type]
            free = (cells >= 0) & ((failed_before >> kind) & 1 == 0)
            hit = free & failed[:, kind]
            at_risk[..., place] = np.bincount(cells[free], minlength=size).reshape(shape)
            counts[..., place] = np.bincount(cells[hit], minlength=size).reshape(shape)
        return Events.on(names, day - self._opened, counts, at_risk)

    def _deliver(
        self,
        ids: NDArray[np.int64],
        day: int,
        chances: NDArray[np.float64],
        is_offered: bool,
        is_back: bool,
    ) -> Tally:
        """Phones that wait for a manifest look for one, and do what it says."""
        holds = self.holds[ids]
        if is_back:
            waits = holds
        else:
            could = self._admitted[ids] & ~holds
            could |= (self._arm[ids] == CONTROL) & ~self._ready[ids]
            waits = could & is_offered
        ids, holds = ids[waits], holds[waits]
        release = np.where(holds, NEW, OLD)
        chance = chances[release, self.fleet.tier[ids], self.fleet.zone[ids]]
        ids = ids[self._delivery.checks_in(ids, day, chance)]
        if is_back:  # the files of the release before are still in the other slot
            self.holds[ids] = False
            return Tally(0, len(ids), 0, 0)
        ids = ids[self._delivery.fetches(ids, day)]
        is_control = self._arm[ids] == CONTROL
        self._ready[ids[is_control]] = True
        self.holds[ids[~is_control]] = True
        fetched = np.bincount(self.fleet.tier[ids[~is_control]], minlength=len(self._tier_bytes))
        return Tally(int(fetched.sum()), 0, 0, int(fetched @ self._tier_bytes))
