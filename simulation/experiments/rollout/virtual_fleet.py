"""The devices of a rollout as columns: what they are, how much they are used, what they did.

All of it is drawn from (seed, device): a larger fleet keeps its first devices, and blocks and
workers change nothing. 19 bytes a device stay in memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.seeds import uniforms
from server.rollout.eligibility import Attributes, version_number
from simulation.experiments.rollout.app_settings import AppSettings
from simulation.experiments.rollout.blocks import in_blocks
from simulation.experiments.rollout.click_model import click_chance
from simulation.experiments.rollout.real_users import RealUsers
from simulation.world.availability import Availability
from simulation.world.devices import WorldSettings, tiers_of

DEVICES_AT_A_TIME = 1 << 16
"""Of a block: its columns stay in the cache."""


@dataclass(frozen=True, slots=True)
class VirtualFleet:
    """N devices.

    Attributes:
        app: settings of the app.
        world: tiers, networks, habits.
        seed: of all draws.
        tier: (N,) int8.
        zone: (N,) int8, time zone, which is the region.
        rate: (N,) float32, mean sessions a day.
        taste: (N,) float32, what attraction is multiplied by; 1 on average.
        slow: (N,) float32, what the time of a request is multiplied by; median 1.
        internal: (N,) bool.
        requests_before: (N,) uint16, in the days before the start.
        clicks_before: (N,) uint16.
        people: real users behind the devices; None: they are made up.
    """

    app: AppSettings
    world: WorldSettings
    seed: int
    tier: NDArray[np.int8]
    zone: NDArray[np.int8]
    rate: NDArray[np.float32]
    taste: NDArray[np.float32]
    slow: NDArray[np.float32]
    internal: NDArray[np.bool_]
    requests_before: NDArray[np.uint16]
    clicks_before: NDArray[np.uint16]
    people: RealUsers | None = None

    @classmethod
    def build(
        cls,
        num_devices: int,
        app: AppSettings,
        world: WorldSettings,
        seed: int,
        workers: int = 1,
        block: int = DEVICES_AT_A_TIME,
        people: RealUsers | None = None,
    ) -> "VirtualFleet":
        """Draw all devices.

        Args:
            num_devices: N.
            app: settings of the app.
            world: tiers, networks, habits.
            seed: of all draws, >= 0.
            workers: threads.
            block: devices drawn at a time.
            people: real users behind the devices; None: they are made up.
        """
        kinds = (np.int8, np.int8, np.float32, np.float32, np.float32, bool, np.uint16, np.uint16)
        columns = [np.empty(num_devices, dtype=kind) for kind in kinds]

        def draw(part: slice) -> None:
            ids = np.arange(part.start, part.stop)
            for column, values in zip(columns, _drawn(ids, app, world, seed, people), strict=True):
                column[part] = values

        in_blocks(draw, num_devices, block, workers)
        return cls(app, world, seed, *columns, people=people)  # type: ignore[arg-type, misc]

    @property
    def num_devices(self) -> int:
        """N."""
        return len(self.tier)

    @property
    def tier_names(self) -> tuple[str, ...]:
        """Of the world."""
        return tuple(tier.name for tier in self.world.tiers)

    @property
    def region_names(self) -> tuple[str, ...]:
        """Time zones, as "UTC-5"."""
        return tuple(f"UTC{zone.offset_h:+g}" for zone in self.world.habits.time_zones)

    def click_chance(
        self,
        ids: NDArray[np.int64],
        is_new: NDArray[np.bool_],
        random_share: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """Chance of a click on a list, (n,), before what a scenario makes of it.

        Args:
            ids: (n,).
            is_new: (n,) which of them have the new release.
            random_share: (n,) share of the lists that are random.
        """
        model, people = self.app.click_model, self.people
        if people is None:
            return click_chance(model, self.taste[ids], random_share)
        return people.click_chance(model, people.of_devices(self.seed, ids), is_new, random_share)

    def attributes(self) -> Attributes:
        """What the devices say about themselves."""
        ids = np.arange(self.num_devices)
        delivery = self.app.delivery
        memory = np.asarray([tier.memory_mb for tier in self.world.tiers], dtype=np.float32)
        versions = [version_number(each) for each in delivery.app_versions]
        place = _place(delivery.app_versions, uniforms(self.seed, "app version", ids))
        free = 0.5 + 0.5 * uniforms(self.seed, "free memory", ids).astype(np.float32)
        return Attributes(
            tier_names=self.tier_names,
            tier=self.tier,
            system_names=tuple(delivery.systems),
            system=_place(delivery.systems, uniforms(self.seed, "system", ids)),
            region_names=self.region_names,
            region=self.zone,
            app_version=np.asarray(versions, dtype=np.int64)[place],
            free_memory_mb=memory[self.tier] * free,
            internal=self.internal,
        )


def _drawn(
    ids: NDArray[np.int64],
    app: AppSettings,
    world: WorldSettings,
    seed: int,
    people: RealUsers | None,
) -> tuple[NDArray, ...]:
    """The columns of some devices, in the order of the fields."""
    if people is None:
        quantiles = np.asarray(app.activity.event_quantiles)
        places = (uniforms(seed, "app activity", ids) * len(quantiles)).astype(np.int64)
        active = quantiles[places] / quantiles.mean()
    else:
        active = people.activity(people.of_devices(seed, ids))
    rate = (app.activity.sessions_per_day * active).astype(np.float32)
    spread = app.click_model.taste_spread
    taste = np.exp(spread * normals(seed, "app taste", ids) - spread**2 / 2).astype(np.float32)
    slow = np.exp(app.requests.device_spread * normals(seed, "app speed", ids))
    if people is None:
        chance = click_chance(app.click_model, taste)
    else:
        chance = people.click_chance(app.click_model, people.of_devices(seed, ids))
    requests, clicks = _before(ids, app, rate, chance, seed)
    offsets = Availability(world.habits, seed).offsets_h(ids)
    zones = np.zeros(len(ids), dtype=np.int8)
    for place, zone in enumerate(world.habits.time_zones):
        zones[offsets == zone.offset_h] = place
    internal = uniforms(seed, "internal", ids) < app.delivery.internal_share
    return tiers_of(ids, world, seed), zones, rate, taste, slow, internal, requests, clicks


def _before(
    ids: NDArray[np.int64],
    app: AppSettings,
    rate: NDArray[np.float32],
    chance: NDArray[np.float64],
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Requests and clicks before the start: rounded normals with the mean and variance of counts.

    A covariate may have any distribution, if only it is the same in both arms.
    """
    use = app.activity
    mean = rate.astype(np.float64) * use.before_days
    sessions = np.rint(mean + np.sqrt(mean) * normals(seed, "sessions before", ids))
    requests = np.clip(sessions, 0, 60_000 // use.requests_per_session) * use.requests_per_session
    wide = np.sqrt(requests * chance * (1 - chance))
    clicks = np.rint(requests * chance + wide * normals(seed, "clicks before", ids))
    return requests, np.clip(clicks, 0, requests)


def normals(seed: int, purpose: str, *address: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """A standard normal number at each address."""
    return np.asarray(ndtri(np.maximum(uniforms(seed, purpose, *address), 2.0**-54)))


def _place(shares: dict[str, float], drawn: NDArray[np.float64]) -> NDArray[np.int8]:
    edges = np.cumsum(list(shares.values()))
    edges[-1] = 1.0
    return np.searchsorted(edges, drawn, side="right").astype(np.int8)
