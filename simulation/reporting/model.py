"""What a run has to say, as one checked tree: the machine-readable twin of the report.

    ReportData ── report.json
    ├── title, created, command, seed, commit, versions, settings     how to repeat it
    ├── headline, roles, limits                                       what to remember
    ├── data ── private_text                                          what went in
    ├── arms ── metrics, share_of_teacher, cost, left_device          what came out
    ├── contrasts, rounds, tiers, latency, compression                why
    ├── recommendations, leak_check                                   what to look at
    └── rollout                                                       the package on a fleet

Metrics are fractions from 0 to 1; the page shows them in percent. Sizes are bytes, times are
seconds or milliseconds as the name says. `None` means "not measured", never zero. The tree holds
item titles and private texts, so `report.json` stays on the machine that made it.
"""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from simulation.reporting.node import Node
from simulation.reporting.rollout_model import RolloutReport

MetricName = Literal["hr@5", "hr@10", "ndcg@5", "ndcg@10", "mrr", "auc"]
"""A ranking metric, averaged over users."""

ProtocolName = Literal["full", "sampled-99"]
"""Ranked against every unseen item, or against 99 sampled ones."""

Place = Literal["server", "phone", "none"]
"""Where an arm computes its recommendations; "none" needs neither (random, popularity)."""

METRICS: tuple[MetricName, ...] = ("ndcg@10", "hr@10", "ndcg@5", "hr@5", "mrr", "auc")
"""All metrics, in the order in which tables and plots show them."""

PRIMARY_METRIC: MetricName = "ndcg@10"
"""The metric that headline figures and readings speak about."""

SIGNIFICANCE = 0.05
"""A difference is called clear below this p-value, after correction for all differences."""


class Interval(Node):
    """A mean over users with its bootstrap interval, all in the unit of the field that holds it."""

    mean: float
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval low {self.low} is above high {self.high}; swap them")
        return self

    def overlaps(self, other: "Interval") -> bool:
        """Return whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


class PrivateText(Node):
    """The text that only a device may read, and where it came from."""

    synthetic: bool
    num_texts: NonNegativeInt
    rule: str = Field(description="one sentence for people: how the texts were made")
    examples: tuple[str, ...]


class DataSummary(Node):
    """The interactions of the run: how many, how split, what the intake met."""

    name: str
    num_users: NonNegativeInt
    num_items: NonNegativeInt
    num_events: NonNegativeInt
    split_rule: str
    tied_users: NonNegativeInt = Field(description="users whose last timestamp is tied")
    intake: dict[str, int] = Field(description="label for people -> how many were met")
    licence: str
    citation: str
    private_text: PrivateText


class Cost(Node):
    """What an arm asks of one device; `None` where it asks nothing or was not measured."""

    latency_p50_ms: NonNegativeFloat | None
    latency_p95_ms: NonNegativeFloat | None
    encoder_bundle_bytes: NonNegativeInt | None
    device_package_bytes: NonNegativeInt | None
    bytes_down_per_device_round: NonNegativeFloat | None
    bytes_up_per_device_round: NonNegativeFloat | None
    rounds: NonNegativeInt | None


class Slice(Node):
    """The primary metric of some of the users under one arm; `None` where they are too few."""

    dimension: str = Field(description='what the users are cut by, e.g. "activity"')
    name: str
    num_users: NonNegativeInt
    interval: Interval | None = Field(description="holds jointly with those of all other slices")


class Arm(Node):
    """One way to recommend, measured on the held-out item of every user."""

    key: str = Field(min_length=1)
    name: str
    place: Place
    description: str
    metrics: dict[ProtocolName, dict[MetricName, Interval]]
    share_of_teacher: dict[MetricName, Interval] | None = Field(
        description="metric of this arm / metric of the server teacher, 1.0 = equal"
    )
    cost: Cost
    left_device: tuple[str, ...] = Field(description="what data left the device; empty = nothing")
    slices: tuple[Slice, ...] = Field(
        default=(), description="of the primary metric, full ranking; none in older reports"
    )

    @property
    def worst_slice(self) -> Slice | None:
        """The measured slice with the lowest mean, the largest of equals."""
        measured = [(p.interval.mean, -p.num_users, p) for p in self.slices if p.interval]
        return min(measured, key=lambda found: found[:2])[2] if measured else None

    def metric(self, name: MetricName, protocol: ProtocolName = "full") -> Interval | None:
        """Return one measured metric, or None when the arm does not have it."""
        return self.metrics.get(protocol, {}).get(name)


class Contrast(Node):
    """Paired bootstrap of the difference `a - b` over users, full ranking, as a fraction."""

    a: str = Field(description="key of an arm")
    b: str = Field(description="key of an arm")
    metric: MetricName
    mean: float
    low: float
    high: float
    reading: str
    p_holm: float | None = Field(
        default=None,
        description="p-value, corrected for the number of contrasts; none in older reports",
    )

    @property
    def interval(self) -> Interval:
        """The difference as an interval."""
        return Interval(mean=self.mean, low=self.low, high=self.high)

    @property
    def is_clear(self) -> bool:
        """Whether the corrected p-value is significant; without one, whether zero is outside."""
        if self.p_holm is not None:
            return self.p_holm < SIGNIFICANCE
        return self.low > 0 or self.high < 0


class Round(Node):
    """One federated round of one arm; `metrics` is empty in a round without evaluation."""

    arm: str = Field(description="key of an arm")
    round_number: NonNegativeInt = Field(description="0 = the parameters before any training")
    loss: float | None
    metrics: dict[MetricName, float]
    num_devices: NonNegativeInt
    bytes_up: NonNegativeInt = Field(description="all devices of the round together")
    bytes_down: NonNegativeInt = Field(description="all devices of the round together")
    seconds: NonNegativeFloat


class Stage(Node):
    """One stage of the compression, with whatever figures it reports."""

    stage: str
    seconds: NonNegativeFloat
    figures: dict[str, float | int | str]


class BytePart(Node):
    """One part of the encoder bundle."""

    part: str
    num_bytes: NonNegativeInt


class Compression(Node):
    """How the text teacher became the encoder bundle, and where the bytes went."""

    stages: tuple[Stage, ...]
    byte_table: tuple[BytePart, ...]
    budget_bytes: PositiveInt
    bundle_bytes: PositiveInt
    parity: dict[str, float | int | str] = Field(description="how well ONNX agrees with torch")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        total = sum(part.num_bytes for part in self.byte_table)
        if total > self.bundle_bytes:
            raise ValueError(
                f"byte_table adds up to {total:,} bytes, bundle_bytes is {self.bundle_bytes:,}; "
                "a part is counted twice"
            )
        return self


class LatencyRow(Node):
    """How long one thing takes on this machine, one request at a time."""

    what: str
    tokens: NonNegativeInt | None
    p50_ms: PositiveFloat
    p95_ms: PositiveFloat
    note: str


class Tier(Node):
    """One class of devices."""

    tier: str
    num_devices: NonNegativeInt
    metrics: dict[MetricName, Interval]
    can_serve: bool
    note: str


class UserExample(Node):
    """What one user sees from the server teacher and from the phone. Local output only."""

    user: str
    tier: str
    history: tuple[str, ...] = Field(description="titles, latest first")
    private_text: str = Field(description='"" = none')
    held_out: str
    server: tuple[str, ...] = Field(description="titles, best first")
    phone: tuple[str, ...] = Field(description="titles, best first")


class LeakCheck(Node):
    """Whether every held-out item could have been drawn as a negative."""

    passed: bool
    num_devices: NonNegativeInt
    statement: str


class Roles(Node):
    """Keys of the arms that the headline speaks about; `None` when the run has no such arm."""

    teacher: str | None = Field(description="the server teacher, 100 % in every share")
    phone: str | None = Field(description="the arm that the phone would run")
    static: str | None = Field(description="the arm that the federated arms start from")


class ReportData(Node):
    """Everything that the report shows. See the module docstring for the picture."""

    title: str
    headline: str
    created: AwareDatetime
    command: str
    seed: int
    commit: str
    versions: dict[str, str]
    settings: dict[str, JsonValue]
    data: DataSummary
    roles: Roles
    arms: tuple[Arm, ...] = Field(min_length=1)
    contrasts: tuple[Contrast, ...]
    rounds: tuple[Round, ...]
    compression: Compression | None
    latency: tuple[LatencyRow, ...]
    tiers: tuple[Tier, ...]
    recommendations: tuple[UserExample, ...]
    leak_check: LeakCheck
    limits: tuple[str, ...] = Field(description="what this run does not show")
    privacy: tuple[str, ...] = Field(
        default=(), description="what is promised of the federated arms, epsilon first; or nothing"
    )
    rollout: RolloutReport | None = Field(
        default=None, description="of the run's package on a virtual fleet; None: not tried"
    )

    @model_validator(mode="after")
    def _keys_are_known(self) -> Self:
        keys = [arm.key for arm in self.arms]
        if len(set(keys)) < len(keys):
            raise ValueError(f"arms have the keys {keys}; each key may appear once")
        named = [key for key in self.roles.model_dump().values() if key is not None]
        named += [round_.arm for round_ in self.rounds]
        named += [key for contrast in self.contrasts for key in (contrast.a, contrast.b)]
        _demand_known(named, keys)
        return self

    def known_arm(self, key: str) -> Arm:
        """Return the arm with this key, which must be one that `ReportData` has checked."""
        return next(arm for arm in self.arms if arm.key == key)

    @property
    def teacher(self) -> Arm | None:
        """The server teacher."""
        return self.known_arm(self.roles.teacher) if self.roles.teacher else None

    @property
    def phone(self) -> Arm | None:
        """The arm that the phone would run."""
        return self.known_arm(self.roles.phone) if self.roles.phone else None

    @property
    def static(self) -> Arm | None:
        """The arm that the federated arms start from."""
        return self.known_arm(self.roles.static) if self.roles.static else None


def _demand_known(named: Iterable[str], keys: list[str]) -> None:
    unknown = sorted(set(named) - set(keys))
    if unknown:
        raise ValueError(f"no arm has the key {unknown}; the arms are {keys}")
