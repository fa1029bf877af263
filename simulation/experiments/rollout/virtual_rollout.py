"""A rollout on the virtual fleet, day by day: what devices do, what is decided, what comes of it.

    day d     the fleet lives through it           LiveRollout.live
    the next  evidence -> decision                 server.rollout.machine.decide
    morning   an operator rolls back after a halt  server.rollout.machine.order

It ends with the rollout, some days after a rollback, when an operator pauses what gets nowhere
(`standstill`), or after `operator.most_days`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from server.rollout.decisions import Decision, RolloutState
from server.rollout.membership import Membership
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.live_rollout import LiveRollout
from simulation.experiments.rollout.scenarios import Scenario
from simulation.experiments.rollout.standstill import Standstill
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.rollout_model import DayRow

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
    rollout, operator = LiveRollout(plan, fleet, membership, scenario, workers), fleet.app.operator
    _do(rollout, rollout.order("start", f"try: {scenario.title}"), record)
    halted_on, back_on = -1, -1
    standstill = Standstill(plan, operator.quiet_days)
    for _ in range(most_days or operator.most_days):
        lived = rollout.live()
        if lived.decision:
            _do(rollout, lived.decision, record)
            if rollout.state.status == "halted":
                halted_on = rollout.day
            why = standstill.why(rollout.state, lived.decision, rollout.evidence)
            if why:
                pause = rollout.order("pause", why)
                _do(rollout, pause, record)
                lived = replace(lived, decision=pause)
        elif (
            rollout.state.status == "halted"
            and rollout.day - halted_on >= operator.days_to_roll_back
        ):
            why = f"the operator rolls back what was halted on day {halted_on}"
            _do(rollout, rollout.order("roll back", why), record)
        if rollout.state.status == "rolled back" and back_on < 0:
            back_on = rollout.day
        yield rollout.row(lived)
        if _is_over(rollout.state, rollout.day, back_on, operator.days_after):
            return


def _do(rollout: LiveRollout, decision: Decision, record: Record) -> None:
    record(decision)
    rollout.follow(decision)


def _is_over(state: RolloutState, days: int, back_on: int, days_after: int) -> bool:
    if state.status in ("ended", "killed", "paused"):
        return True
    return back_on >= 0 and days - back_on >= days_after
