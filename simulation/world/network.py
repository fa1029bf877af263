"""How long bytes travel: rates, round trips and losses of each phone.

    rate of a phone     median of its tier * exp(sigma * normal(device))     its home, its operator
    rate of a transfer  that * exp(jitter * normal(device, occasion)), and at most what its losses
                        let through: MSS / (round trip * sqrt(2/3 * loss))                      [1]
    seconds             round trips to open the connection * round trip + bits / rate

Both spreads are log-normal: halves and doubles are alike. All of it is a pure function of
(settings, seed, device, occasion).

[1] M. Mathis, J. Semke, J. Mahdavi, T. Ott, "The Macroscopic Behavior of the TCP Congestion
    Avoidance Algorithm", ACM CCR 27(3), 1997, equation 3, one acknowledgement per segment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import ndtri

from models.seeds import uniforms

SEGMENT_BYTES = 1460
"""Payload of a TCP segment on Ethernet."""


class LinkSettings(BaseModel):
    """The network of a tier; medians over its phones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    down_mbit_per_s: float = Field(gt=0, description="download rate")
    up_mbit_per_s: float = Field(gt=0, description="upload rate")
    round_trip_ms: float = Field(gt=0, description="latency, there and back")
    loss: float = Field(ge=0, lt=0.5, description="share of segments that are lost")


class NetworkSettings(BaseModel):
    """What holds for the networks of all tiers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spread: float = Field(ge=0, le=3, description="of a phone's rate: sigma of its logarithm")
    jitter: float = Field(ge=0, le=3, description="of the same phone's rate from time to time")
    opening_round_trips: float = Field(ge=0, description="to open a connection: TCP 1, TLS 1.3 1")


@dataclass(frozen=True, slots=True)
class Network:
    """Links of a population.

    Attributes:
        settings: for all tiers.
        links: one per tier.
        seed: the run's seed.
    """

    settings: NetworkSettings
    links: tuple[LinkSettings, ...]
    seed: int

    def download_s(
        self,
        device_ids: NDArray[np.integer],
        tier: NDArray[np.integer],
        num_bytes: float | NDArray[np.floating],
        occasion: int,
    ) -> NDArray[np.float64]:
        """Seconds to fetch bytes.

        Args:
            device_ids: (n,).
            tier: (n,) of each device.
            num_bytes: one number for all, or (n,).
            occasion: >= 0, for instance the round: another time, another rate.
        """
        rates = np.asarray([link.down_mbit_per_s for link in self.links])[tier]
        return self._transfer_s(device_ids, tier, rates, num_bytes, occasion)

    def upload_s(
        self,
        device_ids: NDArray[np.integer],
        tier: NDArray[np.integer],
        num_bytes: float | NDArray[np.floating],
        occasion: int,
    ) -> NDArray[np.float64]:
        """Seconds to send bytes; arguments as for `download_s`."""
        rates = np.asarray([link.up_mbit_per_s for link in self.links])[tier]
        return self._transfer_s(device_ids, tier, rates, num_bytes, occasion)

    def _transfer_s(
        self,
        device_ids: NDArray[np.integer],
        tier: NDArray[np.integer],
        median_mbit_per_s: NDArray[np.float64],
        num_bytes: float | NDArray[np.floating],
        occasion: int,
    ) -> NDArray[np.float64]:
        own = self.settings.spread * _normals(self.seed, "network", device_ids)
        today = self.settings.jitter * _normals(self.seed, "network today", device_ids, occasion)
        round_trip_s = np.asarray([link.round_trip_ms for link in self.links])[tier] / 1e3
        loss = np.asarray([link.loss for link in self.links])[tier]
        bits_per_s = median_mbit_per_s * 1e6 * np.exp(own + today)
        bits_per_s = np.minimum(bits_per_s, highest_bits_per_s(round_trip_s, loss))
        opening_s = self.settings.opening_round_trips * round_trip_s
        return np.asarray(opening_s + 8.0 * np.asarray(num_bytes) / bits_per_s)


def highest_bits_per_s(
    round_trip_s: NDArray[np.float64], loss: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what one TCP connection carries at most; infinity without losses.

    >>> float(highest_bits_per_s(np.array([0.05]), np.array([0.01]))[0].round(-4))
    2860000.0
    """
    with np.errstate(divide="ignore"):
        return np.asarray(8.0 * SEGMENT_BYTES / (round_trip_s * np.sqrt(2.0 / 3.0 * loss)))


def _normals(seed: int, purpose: str, *address: int | NDArray[np.integer]) -> NDArray[np.float64]:
    drawn = np.maximum(uniforms(seed, purpose, *address), 2.0**-54)
    return np.asarray(ndtri(drawn))
