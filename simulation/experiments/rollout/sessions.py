"""What devices do with the app on one day: sessions, clicks, times, bytes, joules, failures.

Whole numbers throughout: bytes are counted in kibibytes and joules in 1/1024 joule, so that sums
over millions of devices are exact, and the same in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.seeds import uniforms
from simulation.experiments.rollout.scenarios import What
from simulation.experiments.rollout.virtual_fleet import VirtualFleet, normals

EVENTS: tuple[What, ...] = ("crash", "out_of_memory", "opt_out")
KIB, TICKS = 1024, 1024
"""Bytes of a kibibyte, and parts of a joule that are counted."""


@dataclass(frozen=True, slots=True)
class Use:
    """A day of n devices that opened the app.

    Attributes:
        requests: (n,) lists that were asked for; none on a day on which the app died.
        clicks: (n,) lists that were clicked on.
        kib: (n,) kibibytes over the network, without the release itself.
        ticks: (n,) 1/1024 joules, without those of fetching the release.
        failed: (n, 3) bool, which of `EVENTS` happened.
    """

    requests: NDArray[np.int64]
    clicks: NDArray[np.int64]
    kib: NDArray[np.int64]
    ticks: NDArray[np.int64]
    failed: NDArray[np.bool_]


def sessions_of(fleet: VirtualFleet, ids: NDArray[np.int64], day: int) -> NDArray[np.int64]:
    """Sessions of each device on a day: Poisson, cut at the most there are, (n,)."""
    rate = fleet.rate[ids].astype(np.float64)
    drawn = uniforms(fleet.seed, "sessions", ids, day)
    chance = np.exp(-rate)
    sessions = np.zeros(len(ids), dtype=np.int64)
    left = np.flatnonzero(drawn >= chance)  # as the inverse of the distribution does
    rate, below, step, drawn = rate[left], chance[left], chance[left], drawn[left]
    for number in range(1, fleet.app.activity.most_sessions + 1):
        sessions[left] = number
        step = step * rate / number
        below = below + step
        more = drawn >= below
        left, rate, below = left[more], rate[more], below[more]
        step, drawn = step[more], drawn[more]
    return sessions


def use_of(
    fleet: VirtualFleet,
    ids: NDArray[np.int64],
    day: int,
    sessions: NDArray[np.int64],
    is_new: NDArray[np.bool_],
    strength: Mapping[What, NDArray[np.float64]],
) -> Use:
    """A day of devices that opened the app.

    Args:
        fleet: all devices.
        ids: (n,) of those that did.
        day: of the rollout.
        sessions: (n,) >= 1.
        is_new: (n,) which of them have the new release.
        strength: what holds for each of them, (n,) by kind.
    """
    settings, seed = fleet.app.requests, fleet.seed
    base = (settings.crash, settings.out_of_memory, settings.opt_out)
    failed = _failures(uniforms(seed, "failures", ids, day), base, strength)
    dead = failed[:, 0] | failed[:, 1]
    requests = np.where(dead, 0, sessions * fleet.app.activity.requests_per_session)
    chance = fleet.click_chance(ids, is_new, strength["random lists"])
    each, number = _flat(requests)
    hit = uniforms(seed, "click", ids[each], day, number) < (chance * strength["clicks"])[each]
    clicks = np.bincount(each, weights=hit, minlength=len(ids)).astype(np.int64)
    wide = 0.5 + uniforms(seed, "bytes", ids, day)
    kib = np.ceil(requests * settings.kib * wide * strength["bytes"]).astype(np.int64)
    joules = requests * _watts(fleet)[fleet.tier[ids]] * request_s(fleet, ids)
    joules = joules * strength["joules"] + kib * (KIB / 1e6 * fleet.world.joules_per_mb)
    return Use(requests, clicks, kib, np.rint(TICKS * joules).astype(np.int64), failed)


def request_s(fleet: VirtualFleet, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median seconds of a request on each device: measured times over the speed of its tier."""
    reference = fleet.world.reference
    seconds = (reference.encode_s + reference.rank_s) / fleet.world.speeds
    return np.asarray(seconds[fleet.tier[ids]] * fleet.slow[ids])


def times_of(
    fleet: VirtualFleet,
    ids: NDArray[np.int64],
    day: int,
    requests: NDArray[np.int64],
    factor: NDArray[np.float64],
    edges_ms: tuple[float, ...],
) -> NDArray[np.int64]:
    """How many requests of each device took how long, (n, J + 1) between edges."""
    each, number = _flat(requests)
    spread = fleet.app.requests.jitter * normals(fleet.seed, "latency", ids[each], day, number)
    places = np.searchsorted(
        np.log(edges_ms), np.log(1e3 * request_s(fleet, ids) * factor)[each] + spread
    )
    width = len(edges_ms) + 1
    found = np.bincount(each * width + places, minlength=len(ids) * width)
    return np.asarray(found.reshape(len(ids), width))


def _flat(requests: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place of the device of each request, and the request's number on that device."""
    each = np.repeat(np.arange(len(requests)), requests)
    starts = np.cumsum(requests) - requests
    return each, np.arange(len(each)) - starts[each]


def _failures(
    drawn: NDArray[np.float64],
    base: tuple[float, ...],
    strength: Mapping[What, NDArray[np.float64]],
) -> NDArray[np.bool_]:
    """At most one kind of failure a day, (n, 3)."""
    failed = np.zeros((len(drawn), len(EVENTS)), dtype=bool)
    low = np.zeros(len(drawn))
    for place, name in enumerate(EVENTS):
        high = low + base[place] + strength[name]
        failed[:, place] = (drawn >= low) & (drawn < high)
        low = high
    return failed


def _watts(fleet: VirtualFleet) -> NDArray[np.float64]:
    return np.asarray([tier.active_w for tier in fleet.world.tiers])
