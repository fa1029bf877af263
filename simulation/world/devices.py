"""Device tiers: how many phones are of which kind, and what each kind can do.

A tier's numbers are assumptions, named as such in every report, until issue 4 replaces them by a
measured cost model. The spread of `speed` follows the 60x between the 5th and the 95th percentile
of the AI-Benchmark scores of 307 phones that FLASH [1] ships (511, 1543, 4638, 13940, 31552 at the
5th, 25th, 50th, 75th and 95th percentile); shares of 25/50/25 cut that list at its quartiles.

[1] C. Yang et al., "Characterizing Impacts of Heterogeneity in Federated Learning upon Large-Scale
    Smartphone Data", WWW 2021; github.com/PKU-Chengxu/FLASH.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.seeds import generator


class Tier(BaseModel):
    """One kind of phone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=40, description="what the tier is called")
    share: float = Field(gt=0, le=1, description="share of the population")
    speed: float = Field(gt=0, description="speed relative to one core of the measuring machine")
    memory_mb: float = Field(gt=0, description="memory the app may use, in megabytes (1e6 bytes)")
    down_mbit_per_s: float = Field(gt=0, description="download rate in Mbit/s")
    up_mbit_per_s: float = Field(gt=0, description="upload rate in Mbit/s")
    dropout: float = Field(ge=0, lt=1, description="chance that an invited device does not report")


class WorldSettings(BaseModel):
    """The virtual world: the kinds of phone in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference_step_s: float = Field(
        gt=0, description="seconds of one local step on one core of the measuring machine"
    )
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


def assign_tiers(num_devices: int, settings: WorldSettings, seed: int) -> NDArray[np.int8]:
    """Give every device a tier, (U,): index into `settings.tiers`, drawn by share.

    Each device's draw is column `device_id` of one stream, so a larger population keeps the tiers
    of its first devices.
    """
    edges = np.cumsum([tier.share for tier in settings.tiers])
    edges[-1] = 1.0
    draws = generator(seed, "tiers").random(num_devices)
    return np.searchsorted(edges, draws, side="right").astype(np.int8)
