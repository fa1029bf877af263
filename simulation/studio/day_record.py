"""What the studio keeps of a day: enough to draw the page of that day again, and to check it."""

from pydantic import Field, NonNegativeInt

from server.rollout.decisions import ALL_TIERS, Finding
from server.rollout.judging import findings, mismatches
from simulation.experiments.rollout.live_rollout import Lived, LiveRollout
from simulation.reporting.node import Node
from simulation.reporting.rollout_model import DayRow
from simulation.studio.fleet_map import DotMap, TierCount, tier_counts


class GuardReading(Node):
    """What a guardrail showed by the end of a day."""

    name: str
    control: float | None = Field(description="of all tiers; None: not read")
    treated: float | None
    devices: NonNegativeInt = Field(description="in the smaller arm, of the tier that is named")
    tier: str = Field(description='where the evidence is strongest; "": not read')
    tier_control: float | None = Field(description="there")
    tier_treated: float | None
    strength: float = Field(ge=0, description="log evidence of harm, of what halts: 1 halts")


class StudioDay(Node):
    """A day as the page shows it."""

    row: DayRow
    guards: tuple[GuardReading, ...] = Field(description="in the order of the plan")
    mismatch: tuple[str, ...] = Field(description="tiers with one; then no metric is read")
    information: float | None = Field(description="of the ship decision, of what was planned")
    tiers: tuple[TierCount, ...]
    dots: tuple[str, ...] = Field(description="a string a tier, a letter a phone")


def recorded(rollout: LiveRollout, lived: Lived, dots: DotMap) -> StudioDay:
    """Keep the day that has just been lived, after what the rule decided was done."""
    plan, names = rollout.plan, rollout.fleet.tier_names
    apart = mismatches(plan, rollout.evidence, names)
    found = () if apart else findings(plan, rollout.evidence, names)
    looks = rollout.state.looks
    return StudioDay(
        row=rollout.row(lived),
        guards=tuple(_reading(rail.name, found) for rail in plan.guardrails),
        mismatch=tuple(name for name, _ in apart),
        information=looks[-1].fraction if looks else None,
        tiers=tier_counts(rollout),
        dots=dots.marks(),
    )


def _reading(name: str, found: tuple[Finding, ...]) -> GuardReading:
    """The strongest evidence of a guardrail, and its numbers in all tiers."""
    mine = [each for each in found if each.guardrail == name]
    if not mine:
        return GuardReading(
            name=name,
            control=None,
            treated=None,
            devices=0,
            tier="",
            tier_control=None,
            tier_treated=None,
            strength=0.0,
        )
    worst = mine[0]  # findings come with the strongest first
    whole = next((each for each in mine if each.tier == ALL_TIERS), None)
    return GuardReading(
        name=name,
        control=whole.control if whole else None,
        treated=whole.treated if whole else None,
        devices=worst.devices,
        tier=worst.tier,
        tier_control=worst.control,
        tier_treated=worst.treated,
        strength=max(0.0, worst.log_evidence / worst.log_needed),
    )
