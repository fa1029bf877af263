"""The virtual clock: who is invited to which round, who reports when, and how long it takes.

    time_s    0 ............................................ deadline
    phone 12  [ download ][ train ][ upload ]                           reported
    phone 40  [ download      ][ train       ][ upload     ]            late: enough had reported
    phone 77  [ download ][ train ]x                                    dropped: interrupted
    phone 91  [ download                    ][ train                |   late: at the deadline

The plan is written before training. Nothing in it depends on a gradient: it is a function of the
population's settings, the bytes that travel and the steps that are trained, and every draw has an
address, so the same plan drives every engine.

A round invites more phones than it needs (`over_selection`), among those that are available, and
ends when enough have reported, or at its deadline. Phones are asked in a random order until enough
are found, so a round costs what its cohort costs, whatever the population. A tier that cannot hold
the package in memory has no app and is never asked. A phone that is not
available any more when it would report is interrupted, as is one that its tier's `dropout` hits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import SettingsError
from models.seeds import generator, uniforms
from server.cohorts import CohortPlan, Outcome
from server.settings import Federation
from simulation.world.availability import HOUR_S, Availability
from simulation.world.costs import can_hold
from simulation.world.devices import WorldSettings, tiers_of
from simulation.world.network import Network

LONGEST_WAIT_S = 14 * 24 * HOUR_S
"""A server that finds too few phones for two weeks has asked for too many."""

ASKED_AT_ONCE = 4096
"""Phones, at least: to ask a few costs as much as to ask some thousand."""


@dataclass(frozen=True, slots=True)
class RoundCost:
    """What one device does in a round.

    Attributes:
        bytes_down: fetched.
        bytes_up: sent.
        train_s: seconds of local training on one core of the measuring machine.
    """

    bytes_down: int
    bytes_up: int
    train_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """A population on the virtual clock.

    Attributes:
        world: tiers, networks, habits.
        num_devices: the population.
        cost: what one device does in a round.
        seed: the run's seed.
    """

    world: WorldSettings
    num_devices: int
    cost: RoundCost
    seed: int

    def busy_s(self, device_ids: NDArray[np.int64], round_number: int) -> NDArray[np.float64]:
        """Seconds from the invitation to the report of each device, if nothing interrupts it."""
        tier = tiers_of(device_ids, self.world, self.seed)
        network = Network(self.world.network, self.world.links, self.seed)
        down_s = network.download_s(device_ids, tier, self.cost.bytes_down, round_number)
        up_s = network.upload_s(device_ids, tier, self.cost.bytes_up, round_number)
        return np.asarray(down_s + self.cost.train_s / self.world.speeds[tier] + up_s)

    def interrupted(
        self, device_ids: NDArray[np.int64], end_s: NDArray[np.float64], round_number: int
    ) -> NDArray[np.bool_]:
        """Whether each device fails to report: no longer available at the end, or by chance."""
        tier = tiers_of(device_ids, self.world, self.seed)
        chance = np.asarray([kind.dropout for kind in self.world.tiers])[tier]
        by_chance = uniforms(self.seed, "dropout", device_ids, round_number) < chance
        return by_chance | ~self._availability.available(device_ids, end_s)

    def find(
        self,
        wanted: int,
        time_s: float,
        round_number: int,
        busy: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Ask phones in a random order until enough are available; return them, ascending.

        Args:
            wanted: how many.
            time_s: when.
            round_number: part of the address of the order.
            busy: ids that are not asked.

        Returns:
            (wanted,) ids, or fewer if all have been asked.
        """
        found: list[NDArray[np.int64]] = []
        for asked in self._in_random_order(max(wanted, ASKED_AT_ONCE), round_number):
            if busy is not None:
                asked = asked[~np.isin(asked, busy)]
            asked = asked[self._can_serve(asked)]
            there = asked[self._availability.available(asked, time_s)]
            found.append(there[: wanted - sum(map(len, found))])
            if sum(map(len, found)) == wanted:
                break
        return np.sort(np.concatenate(found))

    def first_there(
        self, device_ids: NDArray[np.int64], start_s: float, window_s: float, look_every_s: float
    ) -> NDArray[np.float64]:
        """When each device could first take part; infinite for those that could not.

        Args:
            device_ids: (n,).
            start_s: of the window.
            window_s: its length; 0: now or never.
            look_every_s: how often a device looks whether it is available.

        Returns:
            (n,) seconds on the virtual clock, each in `start_s` .. `start_s + window_s`.
        """
        first_s = np.full(len(device_ids), np.inf)
        waiting = np.flatnonzero(self._can_serve(device_ids))
        for look in range(int(window_s // look_every_s) + 1):
            now_s = start_s + look * look_every_s
            there = self._availability.available(device_ids[waiting], now_s)
            first_s[waiting[there]] = now_s
            waiting = waiting[~there]
            if len(waiting) == 0:
                break
        return first_s

    def _can_serve(self, device_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each device can hold what serving takes: the app is not installed on others."""
        needed = self.world.reference.serving_mb * 1e6
        able = np.asarray([can_hold(kind, needed) for kind in self.world.tiers])
        return able[tiers_of(device_ids, self.world, self.seed)]

    @property
    def _availability(self) -> Availability:
        return Availability(self.world.habits, self.seed)

    def _in_random_order(self, at_a_time: int, round_number: int) -> Iterator[NDArray[np.int64]]:
        """Yield all devices once, in blocks; the first blocks cost nothing of the population.

        A permutation that need not be stored: a Feistel network on the bits of the id, walked on
        until the number is one of a device (cycle walking).
        """
        key = generator(self.seed, "invitations", round_number).integers(1 << 62, size=_ROUNDS)
        half = max(1, (int(self.num_devices - 1).bit_length() + 1) // 2)
        for start in range(0, self.num_devices, at_a_time):
            stop = min(start + at_a_time, self.num_devices)
            yield _permuted(np.arange(start, stop), key, half, self.num_devices)


_ROUNDS = 4


def _permuted(
    places: NDArray[np.int64], key: NDArray[np.int64], half_bits: int, count: int
) -> NDArray[np.int64]:
    """Map places 0 .. count - 1 one to one onto themselves."""
    moved = _feistel(places, key, half_bits)
    while (outside := moved >= count).any():
        moved[outside] = _feistel(moved[outside], key, half_bits)
    return moved


def _feistel(
    places: NDArray[np.int64], key: NDArray[np.int64], half_bits: int
) -> NDArray[np.int64]:
    mask = np.int64((1 << half_bits) - 1)
    left, right = places >> half_bits, places & mask
    for number in key:
        scrambled = uniforms(int(number), "feistel", right) * (1 << half_bits)
        left, right = right, left ^ (scrambled.astype(np.int64) & mask)
    return np.asarray((left << half_bits) | right)


def plan_synchronous(timeline: Timeline, federation: Federation) -> CohortPlan:
    """Plan all rounds of a synchronous run.

    Args:
        timeline: the population.
        federation: rounds, cohort size and schedule.

    Raises:
        SettingsError: if the population never has enough phones available at once.
    """
    schedule = federation.schedule
    wanted = min(
        int(np.ceil(federation.cohort_size * schedule.over_selection)), timeline.num_devices
    )
    time_s = schedule.start_s
    invited, outcomes, starts, durations = [], [], [], []
    for round_number in range(1, federation.rounds + 1):
        start_s, cohort = _wait_for(timeline, wanted, time_s, schedule.retry_s, round_number)
        outcome, duration_s = _play(timeline, cohort, start_s, federation, round_number)
        invited.append(cohort)
        outcomes.append(outcome)
        starts.append(start_s)
        durations.append(duration_s)
        time_s = start_s + duration_s + schedule.pause_s
    offsets = np.concatenate([[0], np.cumsum([len(cohort) for cohort in invited])])
    return CohortPlan(
        offsets=offsets.astype(np.int64),
        invited=np.concatenate(invited),
        outcome=np.concatenate(outcomes),
        version=np.repeat(np.arange(federation.rounds), np.diff(offsets)),
        start_s=np.asarray(starts),
        duration_s=np.asarray(durations),
    )


def _wait_for(
    timeline: Timeline, wanted: int, time_s: float, retry_s: float, round_number: int
) -> tuple[float, NDArray[np.int64]]:
    """Return when enough phones are available, and which."""
    waited_s = 0.0
    while waited_s <= LONGEST_WAIT_S:
        found = timeline.find(wanted, time_s + waited_s, round_number)
        if len(found) == wanted:
            return time_s + waited_s, found
        waited_s += retry_s
    raise SettingsError(
        f"round {round_number} wants {wanted:,} phones at once, and of {timeline.num_devices:,} "
        "never so many are charging, idle and unmetered: lower federation.cohort_size or "
        "federation.schedule.over_selection, or change world.habits"
    )


def _play(
    timeline: Timeline,
    cohort: NDArray[np.int64],
    start_s: float,
    federation: Federation,
    round_number: int,
) -> tuple[NDArray[np.int8], float]:
    """Return what becomes of each invited device, and how long the round takes."""
    busy_s = timeline.busy_s(cohort, round_number)
    dropped = timeline.interrupted(cohort, start_s + busy_s, round_number)
    outcome = np.where(dropped, Outcome.DROPPED, Outcome.LATE).astype(np.int8)
    in_time = np.flatnonzero(~dropped & (busy_s <= federation.schedule.deadline_s))
    first = in_time[np.argsort(busy_s[in_time], kind="stable")][: federation.cohort_size]
    outcome[first] = Outcome.REPORTED
    enough = len(first) == min(federation.cohort_size, len(cohort))
    duration_s = busy_s[first].max() if enough else federation.schedule.deadline_s
    return outcome, float(duration_s)
