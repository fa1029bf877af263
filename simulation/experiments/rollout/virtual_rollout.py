"""A rollout on the virtual fleet, day by day: what devices do, what is decided, what comes of it.

    day d     the fleet lives through it           VirtualApp.day
    the next  evidence -> decision                 server.rollout.machine.decide
    morning   an operator rolls back after a halt  server.rollout.machine.order

It ends with the rollout, some days after a rollback, when an operator pauses what gets nowhere
(`standstill`), or after `operator.most_days`.
"""

import math
from collections.abc import Callable, Iterator

from models.statistics.effects import Ratio, compare
from server.rollout.decisions import Action, Decision, RolloutState, draft
from server.rollout.evidence import RolloutEvidence
from server.rollout.machine import decide, follow, order
from server.rollout.membership import CONTROL, TREATED, Membership, window
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.scenarios import Scenario
from simulation.experiments.rollout.standstill import Standstill
from simulation.experiments.rollout.virtual_app import COLUMNS, Tally, VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.rollout_model import DayRow

FIRST_SEQUENCE = 1
"""Of the manifest that is in force before the rollout."""

Record = Callable[[Decision], None]


def roll_out(
    plan: RolloutPlan,
    fleet: VirtualFleet,
    membership: Membership,
    scenario: Scenario,
    record: Record,
    *,
    workers: int = 1,
    most_days: int | None = None,
) -> Iterator[DayRow]:
    """Try a release on a fleet.

    Args:
        plan: of the rollout.
        fleet: the devices.
        membership: of the devices under the plan.
        scenario: what is wrong with the release.
        record: told every decision, in order, before anything comes of it.
        workers: threads.
        most_days: to stop earlier than the settings say.
    """
    app = VirtualApp(fleet, membership, scenario, workers)
    operator, tiers = fleet.app.operator, fleet.tier_names
    state = _made(plan, draft(FIRST_SEQUENCE), record, ("start", 0, f"try: {scenario.title}"))
    evidence = RolloutEvidence.nothing(plan, COLUMNS, len(tiers))
    halted_on, back_on = -1, -1
    standstill = Standstill(plan, operator.quiet_days)
    for day in range(most_days or operator.most_days):
        lived = state
        change, tally = app.day(day, state)
        evidence = evidence + change
        decision = None
        if state.status == "running":
            decision = decide(plan, state, evidence, tiers, day + 1)
            record(decision)
            state = follow(plan, state, decision)
            if state.status == "halted":
                halted_on = day + 1
            why = standstill.why(state, decision, evidence)
            if why:
                decision = order(plan, state, "pause", day + 1, why)
                record(decision)
                state = follow(plan, state, decision)
        elif state.status == "halted" and day + 1 - halted_on >= operator.days_to_roll_back:
            why = f"the operator rolls back what was halted on day {halted_on}"
            state = _made(plan, state, record, ("roll back", day + 1, why))
        if state.status == "rolled back" and back_on < 0:
            back_on = day + 1
        yield _row(plan, lived, state, day, evidence, app, tally, decision)
        if _is_over(state, day, back_on, operator.days_after):
            return
        if state.stage != lived.stage and window(plan, state.stage) != window(plan, lived.stage):
            evidence = RolloutEvidence.nothing(plan, COLUMNS, len(tiers))


def _made(
    plan: RolloutPlan, state: RolloutState, record: Record, ordered: tuple[Action, int, str]
) -> RolloutState:
    """An operator's decision."""
    action, day, reason = ordered
    decision = order(plan, state, action, day, reason)
    record(decision)
    return follow(plan, state, decision)


def _is_over(state: RolloutState, day: int, back_on: int, days_after: int) -> bool:
    if state.status in ("ended", "killed", "paused"):
        return True
    return back_on >= 0 and day + 1 - back_on >= days_after


def _row(
    plan: RolloutPlan,
    lived: RolloutState,
    state: RolloutState,
    day: int,
    evidence: RolloutEvidence,
    app: VirtualApp,
    tally: Tally,
    decision: Decision | None,
) -> DayRow:
    exposed = evidence.exposed.sum(axis=1)
    clicks = _click_rates(evidence)
    slow = [_p95(evidence, arm) for arm in (CONTROL, TREATED)]
    crashes = [_crashes(evidence, arm) for arm in (CONTROL, TREATED)]
    action, reason = (decision.action, decision.reason) if decision else ("", "")
    if not decision and state.status != lived.status:
        action, reason = "roll back", "an operator rolls back"
    return DayRow(
        day=day,
        stage=plan.stages[lived.stage].name,
        exposed_control=int(exposed[CONTROL]),
        exposed_treated=int(exposed[TREATED]),
        downloads=tally.downloads,
        holding=int(app.holds.sum()),
        hit=int(app.used.sum()),
        returned=tally.returned,
        clicks_control=clicks[0],
        clicks_treated=clicks[1],
        p95_control=slow[0],
        p95_treated=slow[1],
        crashes_control=crashes[0],
        crashes_treated=crashes[1],
        action=action,
        reason=reason,
        status=state.status,
    )


def _click_rates(evidence: RolloutEvidence) -> tuple[float | None, float | None]:
    rows = evidence.rows.pooled(1)
    found = compare(rows[CONTROL], rows[TREATED], Ratio("clicks", "requests"))
    return (found.control, found.treated) if found else (None, None)


def _p95(evidence: RolloutEvidence, arm: int) -> float | None:
    found = evidence.times.pooled(1)[arm].log_quantile(0.95)
    return math.exp(found[0]) if found else None


def _crashes(evidence: RolloutEvidence, arm: int) -> float | None:
    used, events = int(evidence.exposed[arm].sum()), evidence.events
    if not used or "crash" not in events.names:
        return None
    return float(events.counts[:, arm, :, events.names.index("crash")].sum() / used)
