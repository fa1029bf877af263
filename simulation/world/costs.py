"""What an action costs a phone: seconds, joules, and the share of its battery that they are.

    encode, rank, train   seconds measured on one core of the measuring machine / speed of the tier
                          joules: those seconds * what the phone draws while one core computes
    download, upload      seconds of the tier's median phone
                          joules: megabytes * what the radio takes for one
    a request             encode one text, rank the catalogue
    a round               download the parameters, train, upload the update

All of it is a pure function of (settings, tier, bytes, steps). The seconds of the measuring machine
are measured; speeds, watts, batteries and joules per megabyte are assumptions or published figures
(`simulation.world.devices`). What a phone draws while it waits is not counted.
"""

from dataclasses import dataclass

import numpy as np

from simulation.world.devices import Tier, WorldSettings
from simulation.world.network import Network

JOULES_PER_WATT_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What something takes.

    Attributes:
        seconds: on the phone.
        joules: out of its battery.
    """

    seconds: float
    joules: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.joules + other.joules)

    def battery_share(self, tier: Tier) -> float:
        """The share of a full battery of this tier."""
        return self.joules / (tier.battery_wh * JOULES_PER_WATT_HOUR)


def on_tier_s(reference_s: float, tier: Tier) -> float:
    """Seconds on a phone of this tier for what took `reference_s` on the measuring machine."""
    return reference_s / tier.speed


def can_hold(tier: Tier, serving_bytes: float) -> bool:
    """Whether a phone of this tier has the memory to serve; one that has not cannot serve at all.

    Args:
        tier: kind of phone.
        serving_bytes: what loading the package and serving adds (`clients.serving_probe`).
    """
    return serving_bytes <= tier.memory_mb * 1e6


def computing_cost(reference_s: float, tier: Tier) -> Cost:
    """Of what took so many seconds on one core of the measuring machine."""
    seconds = on_tier_s(reference_s, tier)
    return Cost(seconds, seconds * tier.active_w)


def encode_cost(world: WorldSettings, tier: Tier) -> Cost:
    """Of one text of 10 pieces through the encoder bundle."""
    return computing_cost(world.reference.encode_s, tier)


def rank_cost(world: WorldSettings, tier: Tier) -> Cost:
    """Of ranking the catalogue once."""
    return computing_cost(world.reference.rank_s, tier)


def train_cost(world: WorldSettings, tier: Tier, steps: int = 1) -> Cost:
    """Of local training steps on the phone's own history."""
    return computing_cost(world.reference.step_s * steps, tier)


def download_cost(world: WorldSettings, tier: Tier, num_bytes: float) -> Cost:
    """Of fetching bytes, for the median phone of the tier."""
    network, at = _median_network(world, tier)
    seconds = network.download_s(at, at, num_bytes, occasion=0)
    return Cost(float(seconds[0]), _radio_joules(world, num_bytes))


def upload_cost(world: WorldSettings, tier: Tier, num_bytes: float) -> Cost:
    """Of sending bytes, for the median phone of the tier."""
    network, at = _median_network(world, tier)
    seconds = network.upload_s(at, at, num_bytes, occasion=0)
    return Cost(float(seconds[0]), _radio_joules(world, num_bytes))


def request_cost(world: WorldSettings, tier: Tier) -> Cost:
    """Of one recommendation with one new private text."""
    return encode_cost(world, tier) + rank_cost(world, tier)


def round_cost(
    world: WorldSettings, tier: Tier, *, bytes_down: float, bytes_up: float, steps: int
) -> Cost:
    """Of taking part in one round of training."""
    down, up = download_cost(world, tier, bytes_down), upload_cost(world, tier, bytes_up)
    return down + train_cost(world, tier, steps) + up


def _radio_joules(world: WorldSettings, num_bytes: float) -> float:
    return num_bytes / 1e6 * world.joules_per_mb


def _median_network(world: WorldSettings, tier: Tier) -> tuple[Network, np.ndarray]:
    """The tier's link without spread, and the one device that is asked about.

    A rate is a median times a log-normal factor, and is cut where losses bound it: both keep the
    order of phones, so the median phone is the one whose factor is 1.
    """
    still = world.network.model_copy(update={"spread": 0.0, "jitter": 0.0})
    return Network(still, (tier.link,), seed=0), np.zeros(1, dtype=np.int64)
