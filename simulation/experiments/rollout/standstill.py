"""When a rollout gets nowhere: the last look is taken, or nothing has changed for days.

The rule holds then for ever, since a hold does no harm; a person would look into it. Here the
operator pauses, and the log says what is missing.
"""

from server.rollout.decisions import Decision, RolloutState
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import TREATED
from server.rollout.settings import RolloutPlan

SMALLEST_GROWTH = 0.01
"""Of the devices that used it: fewer new ones than this share are no change."""


class Standstill:
    """Watches the decisions of a rollout.

    Args:
        plan: of the rollout.
        days: without a change that are one too many, counted from when the stage may be left.
    """

    def __init__(self, plan: RolloutPlan, days: int) -> None:
        self._plan, self._days = plan, days
        self._stage, self._used, self._since = -1, 0, 0

    def why(self, state: RolloutState, decision: Decision, evidence: RolloutEvidence) -> str | None:
        """Say why an operator pauses; None: it goes on.

        Args:
            state: after the decision.
            decision: of the rule.
            evidence: that it saw.
        """
        used = int(evidence.exposed[TREATED].sum()) + evidence.internal_exposed
        if (
            decision.look is not None
            or state.stage != self._stage
            or used > (1.0 + SMALLEST_GROWTH) * self._used
        ):
            self._stage, self._used, self._since = state.stage, used, decision.day
        if state.status != "running":
            return None
        if state.is_spent:
            return f"the operator pauses: {decision.reason}"
        from_day = max(self._since, state.stage_day + self._plan.stages[state.stage].min_days)
        if decision.day - from_day < self._days:
            return None
        return f"the operator pauses, nothing has changed in {self._days} days: {decision.reason}"
