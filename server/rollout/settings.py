"""The plan of a rollout: who may get the release, in which stages, and what stops it.

    everybody  ->  holdout (kept to the end)  |  lane of the experiment  ->  rule  ->  stages
                                                                    internal 1 % 5 % 25 % 50 % 100 %

A plan is checked whole before anything starts; what needs the fleet (its tiers, whom the rule
admits) is checked by `server.rollout.eligibility`.
"""

from math import log
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

VERSION = r"^\d{1,3}\.\d{1,3}\.\d{1,3}$"
LARGEST_MEASURED_SHARE = 0.5
"""A stage up to this share has a mirror of the same size as its control; above it, the holdout."""

WINDOWS = 2
"""Families of evidence: the ramp beside its mirror, the last wave beside the holdout."""


class Stage(BaseModel):
    """One step of the ramp."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=40, description="what the stage is called")
    share: float = Field(
        ge=0, le=1, description="of those outside the holdout; 0: internal devices only"
    )
    min_days: int = Field(ge=0, le=365, description="days that it lasts at least")
    min_devices: int = Field(ge=0, description="devices that must have used the release by then")


class Holdout(BaseModel):
    """Devices that never get the release while the plan runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, le=0.5, description="of all devices")
    salt: str = Field(min_length=1, max_length=64, description="its own: no stage shares it")


class Lane(BaseModel):
    """A part of a layer: experiments of one layer that have no device in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: str = Field(min_length=1, max_length=64, description="experiments that exclude another")
    first: float = Field(ge=0, lt=1, description="where this one's part of the layer begins")
    end: float = Field(gt=0, le=1, description="where it ends")

    @model_validator(mode="after")
    def _is_not_empty(self) -> "Lane":
        if self.end <= self.first:
            raise ValueError(f"lane from {self.first:g} to {self.end:g} is empty: end it later")
        return self


class Rule(BaseModel):
    """Who is eligible. A device that lacks an attribute that is asked for is not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiers: tuple[str, ...] = Field(description="names of tiers; none: all of them")
    systems: tuple[str, ...] = Field(description="operating systems; none: all of them")
    regions: tuple[str, ...] = Field(description="regions; none: all of them")
    min_app_version: str = Field(
        pattern=VERSION + "|^$", description='oldest app, as "2.14.0"; "": any'
    )
    min_free_memory_mb: float = Field(ge=0, description="megabytes (1e6 bytes); 0: any")


class Metric(BaseModel):
    """A number of devices, a column per another column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: str = Field(min_length=1, description="column of the devices' rows, or an event")
    per: str = Field(description='column below the ratio; "": per device')
    before: str = Field(description='the value before the release, for CUPED; "": none')
    before_per: str = Field(description='column below the covariate; "": per device')
    worse: Literal["lower", "higher"] = Field(description="which way is harm")
    margin: float = Field(ge=0, le=10, description="relative change that is still fine")

    @model_validator(mode="after")
    def _margin_is_of_something(self) -> "Metric":
        if self.worse == "lower" and self.margin >= 1:
            raise ValueError(
                f'margin is {self.margin:g} and worse is "lower": a fall of 1 is all there is; '
                "take a margin below 1"
            )
        return self

    @property
    def factor(self) -> float:
        """What the control is multiplied by before it is taken off."""
        return 1.0 - self.margin if self.worse == "lower" else 1.0 + self.margin


class Guardrail(Metric):
    """A number that must not become worse by more than its margin."""

    name: str = Field(min_length=1, max_length=40, description="what it is called")
    kind: Literal["ratio", "event", "p95"] = Field(
        description="ratio of two columns; first events of devices (rare ones); 95th percentile "
        "of the request time"
    )
    spread: float = Field(
        gt=0, le=10, description="relative size of harm that is looked for (tau); not for events"
    )
    on_breach: Literal["halt", "roll back"] = Field(description="what a breach does")

    @model_validator(mode="after")
    def _p95_is_slow(self) -> "Guardrail":
        if self.kind != "ratio" and self.worse != "higher":
            raise ValueError(f'{self.name} is of kind "{self.kind}": worse must be "higher"')
        return self

    @property
    def log_factor(self) -> float:
        """The margin on a logarithm."""
        return log(self.factor)


class Ship(BaseModel):
    """What must be shown before everybody gets it: no worse than the margin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric
    alpha: float = Field(gt=0, lt=0.5, description="two-sided, over all looks")
    power: float = Field(gt=0.5, lt=1, description="chance to show it when nothing changed")
    looks: int = Field(ge=1, le=100, description="looks that are planned for")

    @model_validator(mode="after")
    def _margin_is_above_zero(self) -> "Ship":
        if self.metric.margin == 0:
            raise ValueError(
                "ship.metric.margin is 0: no number of devices shows that nothing at all was lost; "
                "take the smallest loss that would matter"
            )
        return self


class Evidence(BaseModel):
    """How evidence is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(
        gt=0, lt=0.5, description="chance of any false halt, all guardrails, tiers and looks"
    )
    min_devices: int = Field(
        ge=2, description="devices in each arm before ratios and percentiles are read"
    )
    mismatch_p: float = Field(gt=0, lt=0.05, description="sample-ratio mismatch below this")
    mismatch_days: int = Field(ge=1, description="days in a row of a mismatch that halt")
    internal_failures: float = Field(
        gt=0, le=1, description="share of internal devices with an event that halts, any guardrail"
    )
    edges_ms: tuple[float, ...] = Field(min_length=4, description="of request times, ascending")

    @model_validator(mode="after")
    def _edges_rise(self) -> "Evidence":
        pairs = zip(self.edges_ms, self.edges_ms[1:], strict=False)
        if self.edges_ms[0] <= 0 or any(low >= high for low, high in pairs):
            raise ValueError("edges_ms must be above 0 and rise")
        return self


class RolloutPlan(BaseModel):
    """A rollout, as its file says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="of the rollout")
    slot: str = Field(min_length=1, max_length=40, description="place on the phone that it fills")
    salt: str = Field(
        min_length=1, max_length=64, description="of the stages; new for each release"
    )
    holdout: Holdout
    lane: Lane
    rule: Rule
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=20)
    guardrails: tuple[Guardrail, ...] = Field(min_length=1, max_length=30)
    evidence: Evidence
    ship: Ship

    @model_validator(mode="after")
    def _stages_grow(self) -> "RolloutPlan":
        for one, two in zip(self.stages, self.stages[1:], strict=False):
            if two.share <= one.share:
                raise ValueError(
                    f"stages: '{two.name}' admits {two.share:.4g} after '{one.name}' with "
                    f"{one.share:.4g}: a stage only grows; order them by share"
                )
        if not any(0 < stage.share <= LARGEST_MEASURED_SHARE for stage in self.stages):
            raise ValueError(
                f"stages: none has a share above 0 and up to {LARGEST_MEASURED_SHARE:g}, where "
                "there is a control of the same size; add one"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "RolloutPlan":
        for what, names in (
            ("stages", [stage.name for stage in self.stages]),
            ("guardrails", [guardrail.name for guardrail in self.guardrails]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} have names of their own, got {', '.join(names)}")
        salts = [self.salt, self.holdout.salt, self.lane.layer]
        if len(set(salts)) < len(salts):
            raise ValueError(
                f"salt, holdout.salt and lane.layer must differ, got {', '.join(salts)}: one hash "
                "for two purposes would tie them together"
            )
        for salt in salts:
            if len(salt.encode()) > 64:
                raise ValueError(f"'{salt}' has more than 64 bytes: take a shorter salt")
        return self

    @property
    def last_measured(self) -> int:
        """The last stage with a mirror; what follows it needs `ship`."""
        shares = [stage.share for stage in self.stages]
        return max(n for n, share in enumerate(shares) if 0 < share <= LARGEST_MEASURED_SHARE)
