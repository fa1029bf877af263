"""What a node is told beside a task when its sum is to be hidden, and how its vector is laid out.

    vector of training     update, rounded (width)  |  counts, as they are
    vector of evaluation   tier by tier: metrics of both protocols, rounded  |  devices, counted

Counts and metrics that belong to a sum travel behind the same masks, so that the cloud learns them
for the whole round and for no node.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.protocol.messages import EvalReply, TrainReply, UpdatePrivacy
from clients.protocol.secure_sum.quantisation import Address, Quantiser
from models.errors import EngineError
from models.metrics import METRICS, PROTOCOLS, MetricSums

EVALUATION_BITS = 32
MOST_METRIC_LEVELS = 1 << 16


class Rounding(BaseModel):
    """How a node turns updates into integers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: int = Field(description="of the ring")
    levels: int = Field(ge=1, description="steps to the clip norm")
    rotated: bool = Field(description="whether updates are rotated first")
    noise_variance: float = Field(
        ge=0, description="of the noise that each device adds to each number, in squared steps"
    )

    def quantiser(self, dim: int) -> Quantiser:
        """For updates of so many numbers."""
        return Quantiser(dim, self.levels, self.rotated)

    def length(self, dim: int, privacy: UpdatePrivacy) -> int:
        """Numbers of a vector of training."""
        return self.quantiser(dim).width + len(counts_of(privacy))


def counts_of(privacy: UpdatePrivacy) -> tuple[str, ...]:
    """Which counts stand behind an update; losses and norms, which have no bound, stay away."""
    counts = () if privacy.hidden else ("num_clipped", "num_refused")
    return (*counts, "num_unclipped") if privacy.count_unclipped else counts


def train_reply(
    vector: NDArray[np.int64],
    num_asked: int,
    dim: int,
    rounding: Rounding,
    privacy: UpdatePrivacy,
    clip_norm: float,
    at: Address,
) -> TrainReply:
    """What a sum of vectors says about a round, as if one node had replied it.

    Args:
        vector: (length,) the sum.
        num_asked: devices that are in it.
        dim: numbers of an update.
        rounding: that all used.
        privacy: which counts are there.
        clip_norm: of the round.
        at: where its draws live.
    """
    quantiser = rounding.quantiser(dim)
    update = quantiser.decode(vector[: quantiser.width], clip_norm, at)
    names = counts_of(privacy)
    counts = dict(zip(names, vector[quantiser.width :].tolist(), strict=True))
    refused = counts.get("num_refused")
    return TrainReply(
        update_sum=update,
        num_devices=num_asked - (refused or 0),
        num_clipped=counts.get("num_clipped"),
        num_refused=refused,
        loss_sum=None,
        norm_sum=None,
        num_unclipped=counts.get("num_unclipped"),
    )


@dataclass(frozen=True, slots=True)
class MetricVector:
    """Where each metric sum lies.

    Attributes:
        tiers: all kinds of phone.
        levels: steps from 0 to 1 of a metric.
    """

    tiers: tuple[str, ...]
    levels: int

    @classmethod
    def of(cls, tiers: tuple[str, ...], num_devices: int) -> "MetricVector":
        """For sums over at most so many devices, in a ring of 32 bits.

        Raises:
            EngineError: if there are more devices than the ring has numbers.
        """
        levels = ((1 << (EVALUATION_BITS - 1)) - 1) // max(1, num_devices)
        if levels == 0:
            raise EngineError(f"{num_devices:,} devices are too many for one sum of metrics")
        return cls(tiers, min(levels, MOST_METRIC_LEVELS))

    @property
    def per_tier(self) -> int:
        """Numbers of a tier: its metrics, and how many devices."""
        return len(PROTOCOLS) * len(METRICS) + 1

    @property
    def length(self) -> int:
        """Numbers of the vector."""
        return len(self.tiers) * self.per_tier

    def reply(self, total: NDArray[np.int64]) -> EvalReply:
        """The sums that a vector stands for; tiers of which nobody evaluated are left out."""
        sums: dict[tuple[str, str], MetricSums] = {}
        for tier, row in zip(self.tiers, total.reshape(len(self.tiers), -1), strict=True):
            users = int(row[-1])
            if users == 0:
                continue
            values = row[:-1].reshape(len(PROTOCOLS), len(METRICS)) / self.levels
            for protocol, mine in zip(PROTOCOLS, values, strict=True):
                sums[tier, protocol] = MetricSums(
                    dict(zip(METRICS, map(float, mine), strict=True)), users
                )
        return EvalReply(sums)


def envelope(content: bytes, **numbers: int) -> RecordDict:
    """A message of the protocol as Flower carries it."""
    return RecordDict({"secure_sum": ConfigRecord({"message": content, **numbers})})


def opened(record: RecordDict) -> tuple[bytes, Mapping[str, int]]:
    """Read what `envelope` wrote.

    Raises:
        EngineError: if there is none.
    """
    fields = dict(record["secure_sum"])
    content = fields.pop("message")
    if not isinstance(content, bytes):
        raise EngineError("a message of a secure sum is not made of bytes")
    return content, {name: int(value) for name, value in fields.items()}
