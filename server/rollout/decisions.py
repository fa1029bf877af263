"""What is decided, why, and where a rollout stands: the words that machine and log share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["start", "advance", "hold", "pause", "resume", "halt", "roll back", "kill", "end"]
Status = Literal["draft", "running", "paused", "halted", "rolled back", "killed", "ended"]
ALL_TIERS = "all"


class Finding(BaseModel):
    """What a guardrail showed in one tier, or in all of them.

    Attributes:
        guardrail: its name.
        tier: name of the tier, or `ALL_TIERS`.
        control: the number in the control arm.
        treated: the number in the treated arm.
        devices: in the smaller arm.
        log_evidence: logarithm of the evidence of harm beyond the margin.
        log_needed: from here on it is a breach.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    guardrail: str
    tier: str
    control: float
    treated: float
    devices: int
    log_evidence: float
    log_needed: float

    @property
    def is_breach(self) -> bool:
        """Whether the harm is shown."""
        return self.log_evidence >= self.log_needed


class Look(BaseModel):
    """One look of the group-sequential test whether the release may be shipped.

    Attributes:
        fraction: of the planned information.
        z: (treated - factor control) / standard error, positive when it is better than the margin.
        bound: of z.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fraction: float = Field(gt=0, le=1)
    z: float
    bound: float

    @property
    def is_shown(self) -> bool:
        """Whether the release is no worse than the margin."""
        return self.z >= self.bound


class Decision(BaseModel):
    """One decision, and what it rests on.

    Attributes:
        day: since the rollout was planned.
        action: what is done.
        by: the rule, or a person.
        reason: one sentence.
        stage: index of the stage after it; -1: none yet.
        sequence: of the manifest that phones are told after it.
        is_mismatch: whether it rests on a sample-ratio mismatch; then nothing else was read.
        findings: of the guardrails, the strongest first.
        look: of the ship decision, if there was one.
        evidence: SHA-256 of the evidence; "" for an order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: int = Field(ge=0)
    action: Action
    by: Literal["rule", "operator"]
    reason: str = Field(min_length=1, max_length=1000)
    stage: int = Field(ge=-1)
    sequence: int = Field(ge=0)
    is_mismatch: bool
    findings: tuple[Finding, ...]
    look: Look | None
    evidence: str = Field(pattern=r"^([0-9a-f]{64})?$")


class RolloutState(BaseModel):
    """Where a rollout stands: all that a next decision needs beside plan and evidence.

    Attributes:
        status: of the rollout.
        stage: index of the stage; -1 before the start.
        stage_day: day on which the stage began.
        day: of the last decision.
        sequence: of the manifest in force.
        looks: looks of the ship decision so far.
        mismatch_days: decisions in a row that rested on a mismatch.
        is_shown: whether the release was shown to be no worse than the margin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status
    stage: int
    stage_day: int
    day: int
    sequence: int
    looks: tuple[Look, ...]
    mismatch_days: int
    is_shown: bool

    @property
    def offers_downloads(self) -> bool:
        """Whether phones that do not have the release may fetch it."""
        return self.status in ("running", "paused", "ended")

    @property
    def is_spent(self) -> bool:
        """Whether the last look was taken and did not show that the release may be shipped."""
        return not self.is_shown and bool(self.looks) and self.looks[-1].fraction >= 1.0


def draft(sequence: int) -> RolloutState:
    """The state before the start.

    Args:
        sequence: of the manifest that is in force, of the release before this one; >= 0.
    """
    return RolloutState(
        status="draft",
        stage=-1,
        stage_day=0,
        day=0,
        sequence=sequence,
        looks=(),
        mismatch_days=0,
        is_shown=False,
    )
