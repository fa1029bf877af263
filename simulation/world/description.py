"""What a world is like, in numbers: who is there at which hour, how active, how far from the cloud.

    week_of           share of the phones that are charging, idle, unmetered, all three; each hour
    event_counts      how many devices of each tier have how many training events
    transfer_seconds  how long bytes travel to the phones of a tier: median and 90 %

A week and a transfer are asked of a sample of the devices: their ids draw them, so the first ones
are as good as any. Events are counted on all devices, a block at a time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.shard import WorldManifest, column
from simulation.world.availability import HOUR_S, Availability
from simulation.world.devices import WorldSettings, tiers_of
from simulation.world.network import Network

HOURS_OF_A_WEEK = 7 * 24
ASKED_DEVICES = 10_000
"""Devices asked for a week, and for a transfer: a share is then right to about half a point."""

DEVICES_AT_A_TIME = 1 << 20
Direction = Literal["down", "up"]


@dataclass(frozen=True, slots=True)
class Week:
    """Shares of the asked devices at each whole hour, UTC, from Monday midnight; each (168,).

    Attributes:
        charging: plugged in.
        idle: not used.
        unmetered: on a network that costs nothing.
        available: all three.
        by_zone: available among those of each time zone (Z, 168), in the order of the settings; 0
            where none of the asked lives there.
        num_asked: how many devices were asked.
    """

    charging: NDArray[np.float64]
    idle: NDArray[np.float64]
    unmetered: NDArray[np.float64]
    available: NDArray[np.float64]
    by_zone: NDArray[np.float64]
    num_asked: int

    def hours_of_a_day(self) -> NDArray[np.float64]:
        """The share that is available at each hour of a day, mean over the week, (24,)."""
        return np.asarray(self.available.reshape(7, 24).mean(axis=0))


def week_of(availability: Availability, num_devices: int) -> Week:
    """Ask some devices what they do at each hour of the second week.

    The second one, so that the night before its first midnight has been lived through.
    """
    ids = np.arange(min(num_devices, ASKED_DEVICES))
    offsets_h = availability.offsets_h(ids)
    zones = [offsets_h == zone.offset_h for zone in availability.habits.time_zones]
    found = np.zeros((4 + len(zones), HOURS_OF_A_WEEK))
    for hour in range(HOURS_OF_A_WEEK):
        now = availability.states(ids, (HOURS_OF_A_WEEK + hour) * HOUR_S)
        there = now.available
        shown = (now.charging, now.idle, now.unmetered, there)
        found[:4, hour] = [each.mean() for each in shown]
        found[4:, hour] = [there[zone].mean() if zone.any() else 0.0 for zone in zones]
    charging, idle, unmetered, available = found[:4]
    return Week(charging, idle, unmetered, available, found[4:], len(ids))


def event_counts(world: Path, manifest: WorldManifest) -> NDArray[np.int64]:
    """Count the devices of each tier that have 0, 1, 2 ... training events, (T, M).

    Raises:
        DataError: if a column is missing or damaged.
    """
    counts = np.zeros((len(manifest.tiers), 1), dtype=np.int64)
    tiers = column(world, "tier")
    stored = manifest.events == "stored"
    events = column(world, "offsets" if stored else "num_events")
    for start in range(0, manifest.num_devices, DEVICES_AT_A_TIME):
        end = min(start + DEVICES_AT_A_TIME, manifest.num_devices)
        block = events[start : end + 1] if stored else events[start:end]
        lengths = np.diff(block) if stored else block.astype(np.int64)
        width = max(counts.shape[1], int(lengths.max()) + 1)
        cells = tiers[start:end].astype(np.int64) * width + lengths
        found = np.bincount(cells, minlength=len(counts) * width).reshape(-1, width)
        counts = np.pad(counts, ((0, 0), (0, width - counts.shape[1]))) + found
    return counts


def quantile_of(counts: NDArray[np.int64], share: float) -> int:
    """The smallest number that at least a share of the counted are at or below.

    >>> quantile_of(np.array([0, 2, 0, 1, 1]), 0.5)
    1

    Args:
        counts: (M,) how many have 0, 1, 2 ...; all 0 gives 0.
        share: from 0 to 1.
    """
    below = np.cumsum(counts)
    return int(np.searchsorted(below, share * below[-1])) if below[-1] else 0


def transfer_seconds(
    world: WorldSettings, seed: int, tier: int, num_bytes: float, direction: Direction
) -> tuple[float, float]:
    """How long bytes travel to or from the phones of a tier: median and 90 %, over phones and days.

    Args:
        world: tiers and their networks.
        seed: of the population.
        tier: index of the tier.
        num_bytes: how many.
        direction: to the phone, or from it.
    """
    ids = np.arange(ASKED_DEVICES)
    mine = ids[tiers_of(ids, world, seed) == tier]
    mine = mine if len(mine) else ids[:1]  # a tier that nobody in 10,000 has: its median phone
    network = Network(world.network, world.links, seed)
    ask = network.download_s if direction == "down" else network.upload_s
    found = ask(mine, np.full(len(mine), tier), num_bytes, occasion=0)
    median, slow = np.quantile(found, (0.5, 0.9))
    return float(median), float(slow)
