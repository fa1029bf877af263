"""What a rollout that was tried means, in sentences that are computed from its numbers."""

from collections.abc import Sequence

from simulation.reporting import formats
from simulation.reporting.rollout_model import Before, Caught, DayRow, DecisionRow, RolloutReport

STOPS = ("halt", "roll back")


def caught(days: Sequence[DayRow], decisions: Sequence[DecisionRow]) -> Caught | None:
    """When the rule first stopped the release; None: it did not."""
    for decision in decisions:
        if decision.by == "rule" and decision.action in STOPS:
            day = days[decision.day - 1]
            return Caught(
                day=decision.day, action=decision.action, reason=decision.reason, hit=day.hit
            )
    return None


def before(found: Before) -> str:
    """Say what could be found, and how long it takes, before anything starts."""
    finest = min((row.smallest for row in found.stages if row.smallest is not None), default=None)
    told = "no stage finds any change of it"
    if finest is not None:
        told = f"the finest stage finds a change of {formats.percent(finest)} % of it"
    days = (
        f"The ramp takes {found.days} days at the earliest."
        if found.days is not None
        else "This fleet never has as many: the rule will not go beyond half of it. Take a larger "
        "ship.metric.margin, or more devices."
    )
    return (
        f"{found.metric} is {found.mean:.4f}; {told}. To show that no more than "
        f"{formats.percent(found.margin)} % of it are lost takes {formats.count(found.needed)} "
        f"devices in each arm. {days}"
    )


def outcome(
    num_devices: int,
    scenario: str,
    harm: str,
    days: Sequence[DayRow],
    found: Caught | None,
    release_bytes: int,
) -> str:
    """One paragraph: when it was caught, how many devices were hit, what it cost."""
    last = days[-1]
    share = formats.percent(last.hit / num_devices, 2)
    cost = formats.size(sum(day.downloads for day in days) * release_bytes)
    if found is None:
        what = f"Nothing stopped it in {len(days)} days; the rollout is {last.status}."
        if harm:
            what += f" The harm ({harm}) was not found."
        elif last.status == "ended":
            what += " That is right: everybody outside the holdout may have it."
        else:
            what += f" Nothing was wrong, and it got as far as '{last.stage}'."
        if last.status == "running":
            what += f" The last word of the rule: {last.reason}."
    else:
        at = formats.percent(found.hit / num_devices, 2)
        what = (
            f"Caught on day {found.day} ({found.action}): {found.reason}. By then "
            f"{formats.count(found.hit)} devices had used it, {at} % of the fleet."
        )
        if not harm:
            what += " Nothing was wrong with it: this is a false alarm."
    left = _left(days) if found else ""
    return (
        f"{scenario[:1].upper()}{scenario[1:]}. {what} In all {formats.count(last.hit)} devices "
        f"({share} %) used it, and downloads took {cost}.{left}"
    )


def _left(days: Sequence[DayRow]) -> str:
    """How long phones kept a release that was called back."""
    most, last = max(day.holding for day in days), days[-1]
    back = [day.day for day in days if day.returned]
    if not back or not most:
        return f" {formats.count(last.holding)} phones still have it."
    return (
        f" Phones went back from day {back[0]} on, when they looked for a manifest; on day "
        f"{last.day} {formats.count(last.holding)} of {formats.count(most)} still had it."
    )


def of_package(report: RolloutReport) -> str:
    """What was tried on whom, and what that does not show."""
    return (
        f"The package of {formats.size(report.release_bytes)} as a release on "
        f"{formats.count(report.num_devices)} virtual devices, plan '{report.plan}', scenario "
        f"'{report.scenario}'. Devices, clicks and faults are made up: this shows the ramp and the "
        "rule that guards it, not that people like this package."
    )


def headline(report: RolloutReport) -> str:
    """One line under the title."""
    return (
        f"{formats.count(report.num_devices)} virtual devices, plan '{report.plan}', "
        f"{len(report.days)} days."
    )
