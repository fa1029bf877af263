"""What `world describe` has to say, as one checked tree: the machine-readable twin of its page.

    WorldReport ── world.json
    ├── title, created, command, seed, commit                     how to repeat it
    ├── num_devices, num_items, num_bytes, kind, source           what is on disk
    ├── tiers, activity                                           who they are
    ├── week                                                      when they are there
    ├── transfers, actions                                        what things take
    ├── fidelity ── aspects, curves, not_captured                 how like the real users
    └── sources                                                   where each assumption comes from

It holds sums and distributions, and no item and no history of anybody. `None` means "not measured".
"""

from typing import Literal

from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from simulation.reporting.node import Node

Share = float
"""From 0 to 1."""


class Curve(Node):
    """One line of a plot, ascending in x."""

    label: str
    points: tuple[tuple[float, float], ...] = Field(min_length=1)


class TierRow(Node):
    """One kind of phone, its network, and how active its owners are."""

    tier: str
    num_devices: NonNegativeInt
    speed: float = Field(description="relative to one core of the measuring machine")
    cores: PositiveInt
    memory_mb: float = Field(description="that the app may use")
    can_serve: bool
    battery_wh: float
    active_w: float
    down_mbit_per_s: float
    up_mbit_per_s: float
    round_trip_ms: float
    loss: Share
    most_mbit_per_s: float | None = Field(
        description="that one connection carries at this loss; None: no loss, no bound"
    )
    dropout: Share
    events_median: NonNegativeFloat
    events_90: NonNegativeFloat = Field(description="90 % of the devices have no more")
    events_most: NonNegativeInt


class Zone(Node):
    """A time zone, and the share of its phones that is available at each hour, UTC."""

    offset_h: float
    share: Share
    available: tuple[Share, ...]


class Week(Node):
    """Shares of the asked devices at each of the 168 hours of a week, from Monday midnight UTC."""

    num_asked: PositiveInt
    charging: tuple[Share, ...]
    idle: tuple[Share, ...]
    unmetered: tuple[Share, ...]
    available: tuple[Share, ...] = Field(description="all three")
    zones: tuple[Zone, ...]
    best_hour: Share = Field(description="available, mean over the days, at the best hour of a day")
    worst_hour: Share


class TransferRow(Node):
    """How long something takes to travel to or from the phones of a tier."""

    what: str
    tier: str
    num_bytes: PositiveInt
    median_s: NonNegativeFloat
    slow_s: NonNegativeFloat = Field(description="90 % of the transfers are no slower")


class ActionRow(Node):
    """What one action takes on the median phone of a tier."""

    action: str
    tier: str
    seconds: NonNegativeFloat
    joules: NonNegativeFloat
    battery_share: NonNegativeFloat = Field(description="of a full battery")


class Aspect(Node):
    """One way in which synthetic devices may be unlike real users."""

    name: str
    measure: str
    whole: float = Field(description="all users and all drawn devices")
    matched: float = Field(description="half of the users and as many devices, mean over splits")
    halves: float = Field(description="half of the users and the other half: noise")
    higher_is_closer: bool


class Fidelity(Node):
    """How like the real users the synthetic devices are."""

    num_users: PositiveInt
    num_devices: PositiveInt
    half_size: PositiveInt
    num_splits: PositiveInt
    aspects: tuple[Aspect, ...]
    gini_real: Share
    gini_synthetic: Share
    lengths: tuple[Curve, ...] = Field(description="share with at most so many events")
    popularity: tuple[Curve, ...] = Field(description="share of events on the first items")
    entropies: tuple[Curve, ...] = Field(description="share with at most so many bits")
    lifts: tuple[Curve, ...] = Field(description="mean log-lift against that in half of the users")
    hours: tuple[Curve, ...] = Field(description="share of events in each hour; empty: unknown")
    not_captured: tuple[str, ...]


class WorldReport(Node):
    """Everything that the page of a world shows. See the module docstring for the picture."""

    title: str
    created: AwareDatetime
    command: str
    seed: int
    commit: str
    kind: Literal["stored", "synthetic"]
    source: str = Field(description="the data set behind it")
    num_devices: PositiveInt
    num_items: PositiveInt
    num_bytes: NonNegativeInt
    serving_mb: float = Field(description="memory that loading the package and serving adds")
    serving_note: str = Field(description="where that number comes from")
    package_bytes: PositiveInt
    package_note: str
    update_bytes: PositiveInt
    tiers: tuple[TierRow, ...] = Field(min_length=1)
    activity: tuple[Curve, ...] = Field(description="share of devices with at most so many events")
    week: Week
    transfers: tuple[TransferRow, ...]
    actions: tuple[ActionRow, ...]
    fidelity: Fidelity | None
    fidelity_note: str = Field(description="why there is none; empty when there is one")
    sources: tuple[tuple[str, str], ...] = Field(description="what, and where it comes from")
