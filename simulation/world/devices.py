"""Device tiers: how many phones are of which kind, and what each kind can do.

The spread of `speed` follows the 60x between the 5th and the 95th percentile of the AI-Benchmark
scores of 307 phones that FLASH [1] ships (511, 1543, 4638, 13940, 31552 at the 5th, 25th, 50th,
75th and 95th percentile); shares of 25/50/25 cut that list at its quartiles. Memory, battery, power
and dropouts of a tier are assumptions, and named as such in every report. Times of a tier are times
that were *measured* on this machine (`ReferenceTimes`), divided by its speed.

[1] C. Yang et al., "Characterizing Impacts of Heterogeneity in Federated Learning upon Large-Scale
    Smartphone Data", WWW 2021; github.com/PKU-Chengxu/FLASH.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.seeds import uniforms
from simulation.world.availability import HabitSettings
from simulation.world.network import LinkSettings, NetworkSettings


class ReferenceTimes(BaseModel):
    """What was measured on one core of the measuring machine; RESULTS.md has the commands.

    Its `serving_mb` is what stands in for a run that has no package to measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_s: float = Field(gt=0, description="one local training step of one device")
    encode_s: float = Field(gt=0, description="one text of 10 pieces through the encoder bundle")
    rank_s: float = Field(gt=0, description="ranking of the catalogue for one request")
    serving_mb: float = Field(
        gt=0, description="memory that loading the package and serving adds, megabytes (1e6 bytes)"
    )


class Tier(BaseModel):
    """One kind of phone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=40, description="what the tier is called")
    share: float = Field(gt=0, le=1, description="share of the population")
    speed: float = Field(gt=0, description="speed relative to one core of the measuring machine")
    cores: int = Field(ge=1, le=64, description="cores of the phone; one of them is used")
    memory_mb: float = Field(gt=0, description="memory the app may use, in megabytes (1e6 bytes)")
    battery_wh: float = Field(gt=0, description="energy of a full battery, watt-hours")
    active_w: float = Field(gt=0, description="power drawn while one core computes, watts")
    link: LinkSettings
    dropout: float = Field(
        ge=0, lt=1, description="chance that an invited device is interrupted and does not report"
    )


class WorldSettings(BaseModel):
    """The virtual world: the kinds of phone in it, their networks, and their owners' habits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: ReferenceTimes
    network: NetworkSettings
    habits: HabitSettings
    joules_per_mb: float = Field(gt=0, description="energy of sending or fetching a megabyte")
    tiers: tuple[Tier, ...] = Field(min_length=1, max_length=100, description="kinds of phone")

    @model_validator(mode="after")
    def _shares_add_up(self) -> "WorldSettings":
        total = sum(tier.share for tier in self.tiers)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of the tiers add up to {total:g}, they must add up to 1")
        names = [tier.name for tier in self.tiers]
        if len(set(names)) != len(names):
            raise ValueError(f"tier names must differ, got {names}")
        return self

    @property
    def links(self) -> tuple[LinkSettings, ...]:
        """The link of each tier."""
        return tuple(tier.link for tier in self.tiers)

    @property
    def speeds(self) -> NDArray[np.float64]:
        """The speed of each tier."""
        return np.asarray([tier.speed for tier in self.tiers])


def tiers_of(
    device_ids: NDArray[np.integer], settings: WorldSettings, seed: int
) -> NDArray[np.int8]:
    """Return the tier of each device, (n,): index into `settings.tiers`, drawn by share.

    A device's tier depends on its id alone, so a larger population keeps those of its first devices
    and nobody needs a table of them.
    """
    edges = np.cumsum([tier.share for tier in settings.tiers])
    edges[-1] = 1.0
    draws = uniforms(seed, "tiers", device_ids)
    return np.searchsorted(edges, draws, side="right").astype(np.int8)
