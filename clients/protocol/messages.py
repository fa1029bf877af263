"""What cloud and phones say to each other, and how it is laid into Flower records.

    cloud  -- TrainTask -->  node   -- TrainReply -->  cloud      sums over the node's devices
    cloud  -- EvalTask  -->  node   -- EvalReply  -->  cloud      metric sums per tier

A node is a shard of devices; what it replies are sums over those that took part, never a row or a
text. `Personal` parameters have no codec here, on purpose. A sum over one device *is* that device:
the server's history keeps the size of the smallest sum of each round, and only secure aggregation
will hide a sum that is too small. In a private run (`UpdatePrivacy`) a reply is the sum of the
clipped updates and how many devices were asked, which no data has changed; losses, norms and counts
that depend on data stay on the node.

A reply is checked when it is read: a wrong shape or a number that is not finite raises, so that it
cannot poison a sum.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.errors import EngineError
from models.metrics import MetricSums

Figure = TypeVar("Figure", int | None, float | None)


class LocalTraining(BaseModel):
    """How a phone trains: sent by the cloud with every task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    local_epochs: int = Field(ge=1, le=100, description="SGD steps over the recent history")
    rate: float = Field(gt=0, le=100, description="SGD rate of the shared parameters")
    personal_rate: float = Field(ge=0, le=100, description="SGD rate of what stays on the phone")
    clip_norm: float = Field(gt=0, description="largest L2 norm of one device's whole update")
    num_negatives: int = Field(ge=0, description="sampled negatives; 0 is the whole catalogue")
    trained: Literal["all", "head", "head+bias", "low-rank", "adapter", "gated-mix"] = Field(
        description="what a phone may update, and sends: everything, or some of the parameters"
    )
    proximal: float = Field(
        ge=0, description="FedProx's mu: pulls each step back to where the round began; 0 is FedAvg"
    )
    dynamic: bool = Field(
        description="FedDyn: the phone remembers what it wanted, and its pull is not in vain"
    )
    precision: Literal["fp32", "bf16"] = Field(
        description="of the factors of the dear products; bf16 is for processors that have it"
    )
    processor: Literal["auto", "cpu", "cuda"] = Field(
        description="that trains blocks of devices; auto: a GPU if the machine that starts the run "
        "has one"
    )
    block_bytes: int = Field(
        ge=0, description="working set of devices trained at once; 0: as the machine's cache allows"
    )


class UpdatePrivacy(BaseModel):
    """What a node keeps to itself and what its devices add: sent by the cloud with every task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: bool = Field(description="only the sum of updates leaves the node, no loss or norm")
    count_unclipped: bool = Field(
        description="and how many updates were short enough: adaptive clipping needs it"
    )
    local_noise_multiplier: float = Field(
        ge=0, description="noise that each device adds itself / clip norm; 0 is none"
    )


NOT_PRIVATE = UpdatePrivacy(hidden=False, count_unclipped=False, local_noise_multiplier=0.0)


@dataclass(frozen=True, slots=True)
class TrainTask:
    """Train these devices.

    Attributes:
        parameters: (P,) float32, the shared parameters.
        device_ids: (D,) int64, devices of this node that will report.
        round_number: counted from 1; part of the address of every draw.
        training: how to train; its clip norm is that of this round.
        privacy: what must not leave the node.
    """

    parameters: NDArray[np.float32]
    device_ids: NDArray[np.int64]
    round_number: int
    training: LocalTraining
    privacy: UpdatePrivacy = NOT_PRIVATE

    def to_record(self) -> RecordDict:
        """Lay the task into Flower records."""
        return RecordDict(
            {
                "arrays": _arrays(parameters=self.parameters, device_ids=self.device_ids),
                "config": ConfigRecord(
                    {"round_number": self.round_number, **self.training.model_dump()}
                ),
                "privacy": ConfigRecord(self.privacy.model_dump()),
            }
        )

    @classmethod
    def from_record(cls, record: RecordDict) -> "TrainTask":
        """Read what `to_record` wrote."""
        config = dict(record["config"])
        round_number = int(config.pop("round_number"))
        arrays = record["arrays"]
        return cls(
            arrays["parameters"].numpy(),
            arrays["device_ids"].numpy(),
            round_number,
            LocalTraining.model_validate(config),
            UpdatePrivacy.model_validate(dict(record["privacy"])),
        )


@dataclass(frozen=True, slots=True)
class TrainReply:
    """Sums over the devices that trained; replies of several nodes add up.

    What depends on data beside the sum of updates is None in a private run: it never left the node.

    Attributes:
        update_sum: (P,) float64, sum of the clipped updates (deltas) of what is trained.
        num_devices: how many updates are in the sum; in a private run all that were asked.
        num_clipped: how many of them were longer than the clip norm.
        num_refused: devices whose update was not finite; they are not in the sum.
        loss_sum: sum of the devices' mean losses before training.
        norm_sum: sum of the updates' L2 norms before clipping.
        num_unclipped: updates no longer than the clip norm; only where the task asks for it.
    """

    update_sum: NDArray[np.float64]
    num_devices: int
    num_clipped: int | None
    num_refused: int | None
    loss_sum: float | None
    norm_sum: float | None
    num_unclipped: int | None = None

    @classmethod
    def nothing(cls, num_parameters: int, privacy: UpdatePrivacy = NOT_PRIVATE) -> "TrainReply":
        """The zero of the sum."""
        return cls(np.zeros(num_parameters), 0, 0, 0, 0.0, 0.0, 0).allowed_by(privacy)

    def allowed_by(self, privacy: UpdatePrivacy) -> "TrainReply":
        """What may leave the node: in a private run every device counts, whatever it did."""
        unclipped = self.num_unclipped if privacy.count_unclipped else None
        if not privacy.hidden:
            return replace(self, num_unclipped=unclipped)
        asked = self.num_devices + (self.num_refused or 0)
        return TrainReply(self.update_sum, asked, None, None, None, None, unclipped)

    def __add__(self, other: "TrainReply") -> "TrainReply":
        return TrainReply(
            self.update_sum + other.update_sum,
            self.num_devices + other.num_devices,
            _both(self.num_clipped, other.num_clipped),
            _both(self.num_refused, other.num_refused),
            _both(self.loss_sum, other.loss_sum),
            _both(self.norm_sum, other.norm_sum),
            _both(self.num_unclipped, other.num_unclipped),
        )

    def to_record(self) -> RecordDict:
        """Lay the reply into Flower records; what is None is not in them."""
        sums = {name: getattr(self, name) for name in (*_COUNTS, *_SUMS)}
        sent = {name: value for name, value in sums.items() if value is not None}
        return RecordDict(
            {"arrays": _arrays(update_sum=self.update_sum), "sums": MetricRecord(sent)}
        )

    @classmethod
    def from_record(
        cls, record: RecordDict, num_parameters: int, privacy: UpdatePrivacy = NOT_PRIVATE
    ) -> "TrainReply":
        """Read and check a reply.

        Args:
            record: what `to_record` wrote.
            num_parameters: P.
            privacy: of the task; a reply that says more than it allows is refused.

        Raises:
            EngineError: if the sum has another length than `num_parameters`, is not finite, or
                comes with figures that must not have left the node.
        """
        sent = record["arrays"]["update_sum"]
        if tuple(sent.shape) != (num_parameters,):  # looked at before anything is unpacked
            raise EngineError(
                f"a train reply has an update of shape {tuple(sent.shape)}, "
                f"the task wants ({num_parameters},): cloud and node run different recommenders"
            )
        update_sum = np.asarray(sent.numpy(), dtype=np.float64)
        sums = dict(record["sums"])
        wanted = _figures(privacy)
        if extra := sorted(set(sums) - wanted):
            raise EngineError(
                f"a train reply says {', '.join(extra)}, which must not leave a node of this run: "
                "it runs another version"
            )

        def count(name: str) -> int | None:
            return int(sums[name]) if name in wanted else None

        def scalar(name: str) -> float | None:
            return float(sums[name]) if name in wanted else None

        reply = cls(
            update_sum,
            num_devices=int(sums["num_devices"]),
            num_clipped=count("num_clipped"),
            num_refused=count("num_refused"),
            loss_sum=scalar("loss_sum"),
            norm_sum=scalar("norm_sum"),
            num_unclipped=count("num_unclipped"),
        )
        _check(reply)
        return reply


_COUNTS = ("num_devices", "num_clipped", "num_refused", "num_unclipped")
_SUMS = ("loss_sum", "norm_sum")
_OPEN = frozenset(("num_clipped", "num_refused", *_SUMS))
"""What a reply says beside the sum of updates unless the run is private."""


def _figures(privacy: UpdatePrivacy) -> frozenset[str]:
    """What a reply to such a task says beside the sum of updates."""
    wanted = frozenset(("num_devices",)) | (frozenset() if privacy.hidden else _OPEN)
    return wanted | frozenset(("num_unclipped",)) if privacy.count_unclipped else wanted


def _both(one: Figure, other: Figure) -> Figure:
    """Add what both sides say; None if one of them must not say it."""
    return None if one is None or other is None else one + other


def _check(reply: TrainReply) -> None:
    """Refuse numbers that would poison a sum, and counts that cannot be."""
    scalars = [value for value in (reply.loss_sum, reply.norm_sum) if value is not None]
    if not (np.isfinite(reply.update_sum).all() and np.isfinite(scalars).all()):
        raise EngineError(
            "a train reply is not finite (NaN or infinity): lower federation.training.rate"
        )
    for what, count in (("clipped", reply.num_clipped), ("not clipped", reply.num_unclipped)):
        if count is not None and not 0 <= count <= reply.num_devices:
            raise EngineError(
                f"a train reply says {count} of {reply.num_devices} devices were {what}: "
                "the node counts wrongly"
            )


@dataclass(frozen=True, slots=True)
class EvalTask:
    """Let devices evaluate themselves, each against its own held-out item.

    Attributes:
        parameters: (P,) float32.
        device_ids: (D,) int64, devices of the node; none means all of them.
        round_number: rounds that the cloud has on its disk; 0 before the first.
        block_bytes: working set of devices evaluated at once.
    """

    parameters: NDArray[np.float32]
    device_ids: NDArray[np.int64]
    round_number: int
    block_bytes: int

    def to_record(self) -> RecordDict:
        """Lay the task into Flower records."""
        arrays = _arrays(parameters=self.parameters, device_ids=self.device_ids)
        config = ConfigRecord({"round_number": self.round_number, "block_bytes": self.block_bytes})
        return RecordDict({"arrays": arrays, "config": config})

    @classmethod
    def from_record(cls, record: RecordDict) -> "EvalTask":
        """Read what `to_record` wrote."""
        arrays, config = record["arrays"], record["config"]
        return cls(
            arrays["parameters"].numpy(),
            arrays["device_ids"].numpy(),
            int(config["round_number"]),
            int(config["block_bytes"]),
        )


SumKey = tuple[str, str]
"""(tier, protocol), for instance ("mid", "full")."""


@dataclass(frozen=True, slots=True)
class EvalReply:
    """Metric sums per tier and protocol; replies of several nodes add up."""

    sums: dict[SumKey, MetricSums]

    def __add__(self, other: "EvalReply") -> "EvalReply":
        nothing = MetricSums({}, 0)
        keys = sorted({*self.sums, *other.sums})
        return EvalReply(
            {key: self.sums.get(key, nothing) + other.sums.get(key, nothing) for key in keys}
        )

    def total(self, protocol: str) -> MetricSums:
        """All tiers together."""
        mine = [value for (_, name), value in self.sums.items() if name == protocol]
        return sum(mine, start=MetricSums({}, 0))

    def to_record(self) -> RecordDict:
        """One metric record per tier and protocol."""
        records = {
            f"{tier}/{protocol}": MetricRecord({**sums.sums, "num_users": sums.num_users})
            for (tier, protocol), sums in self.sums.items()
        }
        return RecordDict(records)

    @classmethod
    def from_record(cls, record: RecordDict) -> "EvalReply":
        """Read and check a reply.

        Raises:
            EngineError: if a sum is not within 0 .. number of users: every metric is in 0 .. 1.
        """
        sums: dict[SumKey, MetricSums] = {}
        for name, metrics in record.metric_records.items():
            tier, protocol = name.rsplit("/", 1)
            values = {key: float(value) for key, value in metrics.items() if key != "num_users"}
            users = int(metrics["num_users"])
            for key, value in values.items():
                if not 0.0 <= value <= users + 1e-6:
                    raise EngineError(
                        f"an evaluation reply has {key} = {value:g} summed over {users} users, "
                        f"outside 0 .. {users}"
                    )
            sums[tier, protocol] = MetricSums(values, users)
        return cls(sums)


def _arrays(**arrays: NDArray) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})
