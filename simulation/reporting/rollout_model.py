"""What a rollout that was tried has to say, as one checked tree: the twin of its page.

    RolloutReport ── rollout.json
    ├── title, created, command, seed, commit          how to repeat it
    ├── scenario, harm, num_devices, release_bytes     what was tried on whom
    ├── before ── stages                               what was known before the start
    ├── days                                           what happened
    ├── decisions                                      what was decided, and why
    └── caught, reading                                what to remember

It holds sums over virtual devices. `None` means "not measured" or "never".
"""

from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveInt

from simulation.reporting.node import Node


class DayRow(Node):
    """One day of a rollout; what is said of the two arms is of all days since the window opened."""

    day: NonNegativeInt
    stage: str = Field(description="that the day was lived in")
    exposed_control: NonNegativeInt
    exposed_treated: NonNegativeInt
    downloads: NonNegativeInt = Field(description="of the release on that day")
    holding: NonNegativeInt = Field(description="devices that have the release at its end")
    hit: NonNegativeInt = Field(description="devices that have used it by then")
    returned: NonNegativeInt = Field(description="devices that went back on that day")
    clicks_control: float | None = Field(description="clicks a request")
    clicks_treated: float | None
    p95_control: float | None = Field(description="milliseconds a request")
    p95_treated: float | None
    crashes_control: float | None = Field(description="share of exposed devices that crashed")
    crashes_treated: float | None
    action: str = Field(description='decided the morning after; "": nothing was to decide')
    reason: str
    status: str = Field(description="after it")


class StageRow(Node):
    """A stage, ahead of time."""

    name: str
    share: float
    devices: NonNegativeInt = Field(description="in each arm, exposed by the end of its days")
    smallest: float | None = Field(description="relative change that would be found; None: none")
    days: NonNegativeInt = Field(description="from the start to its end at the earliest")


class Before(Node):
    """What was known before the start."""

    metric: str
    margin: float
    mean: float
    deviation: float
    adopted_per_day: float
    needed: NonNegativeInt = Field(description="devices in each arm for the ship decision")
    days: int | None = Field(description="until the end of the ramp; None: never")
    stages: tuple[StageRow, ...]


class DecisionRow(Node):
    """A line of the log."""

    day: NonNegativeInt
    action: str
    by: str
    reason: str
    sequence: int


class Caught(Node):
    """The first time that the rule stopped the release."""

    day: NonNegativeInt
    action: str
    reason: str
    hit: NonNegativeInt = Field(description="devices that had used it by then")


class RolloutReport(Node):
    """The whole page."""

    title: str
    created: AwareDatetime
    command: str
    seed: int
    commit: str
    scenario: str
    harm: str
    plan: str
    num_devices: PositiveInt
    release_bytes: PositiveInt
    before: Before
    days: tuple[DayRow, ...] = Field(min_length=1)
    decisions: tuple[DecisionRow, ...]
    caught: Caught | None
    reading: str

    @property
    def last(self) -> DayRow:
        """The last day."""
        return self.days[-1]
