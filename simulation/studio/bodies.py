"""What a page may ask for; unknown keys are refused, and no name is ever a path."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.rollout.decisions import Action, Status
from server.rollout.machine import LONGEST_REASON
from simulation.experiments.rollout.scenarios import Effect
from simulation.studio.driver import FASTEST, SLOWEST
from simulation.studio.rollout_setup import FEWEST_DEVICES, MOST_DEVICES

NAME = r"^[a-z0-9-]{1,40}$"
"""Of a preset that comes with the product: a page never names a file."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderBody(_Body):
    """What the operator decides; `status` and `stage` are those that the page showed."""

    action: Action
    reason: str = Field(min_length=1, max_length=LONGEST_REASON)
    status: Status
    stage: int = Field(ge=-1)


class FaultBody(_Body):
    """What goes wrong from the next day on: that of a scenario, or one effect."""

    scenario: str | None = Field(default=None, pattern=NAME)
    effect: Effect | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "FaultBody":
        if (self.scenario is None) == (self.effect is None):
            raise ValueError("a fault is either a scenario's or an effect: send one of them")
        return self


class PlayBody(_Body):
    """Whether days pass by themselves, and how fast."""

    playing: bool
    days_per_second: float | None = Field(default=None, ge=SLOWEST, le=FASTEST)


class StepBody(_Body):
    """One day: nothing to say."""


class RolloutBody(_Body):
    """A new rollout."""

    scenario: str = Field(pattern=NAME)
    plan: str = Field(pattern=NAME)
    devices: int = Field(ge=FEWEST_DEVICES, le=MOST_DEVICES)
    seed: int = Field(ge=0, le=2**32 - 1)
