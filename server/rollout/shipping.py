"""Whether a release may go beyond half of the fleet: looks at the ship metric, and what is missing.

    information   1 / standard error^2, as a share of what was planned for
    look          one test of "no worse than the margin", when there is more of it than last time
    shortfall     one line: how far the looks got, what was planned for, whether the stage has it

The information that is planned for is where a release that changes nothing passes with the power
asked for: (drift / (margin x control))^2. At all of it the last look is taken: alpha is spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.statistics.group_sequential import bounds
from models.statistics.sample_size import drift_for, even_looks
from server.rollout.decisions import Look
from server.rollout.evidence import RolloutEvidence
from server.rollout.judging import compared
from server.rollout.settings import RolloutPlan

SMALLEST_STEP = 0.01
"""A look wants this share of the planned information more than the last one had, or all of it."""


@dataclass(frozen=True, slots=True)
class Information:
    """What there is to look at.

    Attributes:
        fraction: of the planned information, above 0 and at most 1.
        z: (treated - factor control) / standard error, positive when better than the margin.
        devices: in the smaller arm.
        needed: devices in each arm that have all of it, if the next ones are like these.
    """

    fraction: float
    z: float
    devices: int
    needed: int


def information(plan: RolloutPlan, evidence: RolloutEvidence) -> Information | None:
    """Return what there is to look at; None: too few devices, or no number to speak of."""
    metric = plan.ship.metric
    effect = compared(metric, evidence, None)
    if effect is None or effect.devices < plan.evidence.min_devices or effect.control <= 0:
        return None
    if effect.standard_error <= 0:
        return None
    drift = drift_for(plan.ship.power, even_looks(plan.ship.looks), plan.ship.alpha)
    planned = (drift / (metric.margin * effect.control)) ** 2
    share = effect.standard_error**-2 / planned
    sign = 1.0 if metric.worse == "lower" else -1.0
    return Information(
        min(1.0, share), sign * effect.z, effect.devices, round(effect.devices / share)
    )


def look(plan: RolloutPlan, evidence: RolloutEvidence, looks: Sequence[Look]) -> Look | None:
    """Look whether the release is no worse than the margin, by Lan-DeMets bounds.

    Returns:
        None when there is nothing to look at, or it brings nothing that the last look had not.
    """
    found = information(plan, evidence)
    if found is None:
        return None
    last, fraction = looks[-1].fraction if looks else 0.0, found.fraction
    if fraction <= last or (fraction < 1.0 and fraction < last + SMALLEST_STEP):
        return None
    bound = bounds([*(each.fraction for each in looks), fraction], plan.ship.alpha)[-1]
    return Look(fraction=fraction, z=found.z, bound=bound)


def shortfall(plan: RolloutPlan, evidence: RolloutEvidence, looks: Sequence[Look]) -> str:
    """Say in one line why the release is not shipped.

    Args:
        plan: of the rollout.
        evidence: of the window.
        looks: all that were taken, this day's with them.
    """
    found = information(plan, evidence)
    if found is None:
        used = int(evidence.exposed.sum(axis=1).min())
        return (
            f"too little to look whether it may be shipped: {used:,} devices in each arm, "
            f"{plan.evidence.min_devices:,} are the least"
        )
    counted = f"{len(looks)} look{'s' if len(looks) != 1 else ''}"
    told = (
        f"not shown to be within the margin of {100 * plan.ship.metric.margin:.3g} % after "
        f"{counted}: z {looks[-1].z:.2f} of {looks[-1].bound:.2f}; planned for "
        f"{found.needed:,} devices in each arm, {found.devices:,} have used it"
        if looks
        else f"not looked at yet: {found.devices:,} of {found.needed:,} devices in each arm"
    )
    if looks and looks[-1].fraction >= 1.0:
        return f"{told}; that was the last look, an operator decides"
    admitted = int(evidence.admitted.sum(axis=1).min())
    if found.needed > admitted:
        told += f" and the stage has {admitted:,}"
    return told
