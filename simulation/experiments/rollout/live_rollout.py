"""A rollout of which one day after the other is lived: by a script, or under an operator's hand.

    live()            a day of the fleet, and what the rule decides the morning after
    follow(decision)  it is done, whoever decided
    order(action)     what an operator decides that morning

What is decided is only done when it is followed, so that whoever writes a log writes it first. What
devices do is a pure function of the settings, the decisions and the faults, each with its day.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import SettingsError
from models.statistics.effects import Ratio, compare
from server.rollout.decisions import Action, Decision, RolloutState, draft
from server.rollout.evidence import RolloutEvidence
from server.rollout.machine import decide, follow, order
from server.rollout.membership import CONTROL, TREATED, Membership, window
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.scenarios import MOST_EFFECTS, Effect, Scenario
from simulation.experiments.rollout.virtual_app import COLUMNS, Tally, VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.rollout_model import DayRow

FIRST_SEQUENCE = 1
"""Of the manifest that is in force before the rollout."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A day that has passed.

    Attributes:
        day: of the rollout.
        state: in which it was lived.
        tally: what phones did.
        decision: of the rule, the morning after; None: it has nothing to decide.
    """

    day: int
    state: RolloutState
    tally: Tally
    decision: Decision | None


class LiveRollout:
    """A plan, a fleet, and how far both have come."""

    def __init__(
        self,
        plan: RolloutPlan,
        fleet: VirtualFleet,
        membership: Membership,
        scenario: Scenario,
        workers: int = 1,
    ) -> None:
        self.plan, self.fleet = plan, fleet
        self.app = VirtualApp(fleet, membership, scenario, workers)
        self.day = 0
        self.state = draft(FIRST_SEQUENCE)
        self.evidence = RolloutEvidence.nothing(plan, COLUMNS, len(fleet.tier_names))
        self._window = window(plan, 0)

    @property
    def scenario(self) -> Scenario:
        """What is wrong with the release so far."""
        return self.app.scenario

    def suffering(self, effects: Sequence[Effect]) -> Scenario:
        """What would be wrong with these effects on top.

        Raises:
            SettingsError: if there are too many, or one names a tier that the fleet does not have.
        """
        every = (*self.scenario.effects, *effects)
        if len(every) > MOST_EFFECTS:
            raise SettingsError(
                f"{len(every)} effects are too many: a rollout has at most {MOST_EFFECTS}"
            )
        changed = self.scenario.model_copy(update={"effects": every})
        changed.strengths(self.day, self.fleet.tier_names, self.fleet.region_names)
        return changed

    def suffer(self, effects: Sequence[Effect]) -> None:
        """Let more go wrong from the next day on; days that are over do not change.

        Raises:
            SettingsError: as `suffering` does.
        """
        self.app.scenario = self.suffering(effects)

    def live(self) -> Lived:
        """Let a day pass, and ask the rule. The decision is not followed yet.

        Raises:
            SettingsError: if the rollout has not started.
        """
        lived = self.state
        if lived.stage < 0:
            raise SettingsError("no day passes before the rollout starts: order 'start'")
        if window(self.plan, lived.stage) != self._window:
            self._window = window(self.plan, lived.stage)
            tiers = len(self.fleet.tier_names)
            self.evidence = RolloutEvidence.nothing(self.plan, COLUMNS, tiers)
        change, tally = self.app.day(self.day, lived)
        self.evidence = self.evidence + change
        self.day += 1
        decision = None
        if lived.status == "running":
            decision = decide(self.plan, lived, self.evidence, self.fleet.tier_names, self.day)
        return Lived(self.day - 1, lived, tally, decision)

    def order(self, action: Action, reason: str) -> Decision:
        """What an operator decides this morning. It is not followed yet.

        Raises:
            SettingsError: if the state does not allow it, or the reason is none or too long.
        """
        return order(self.plan, self.state, action, self.day, reason)

    def follow(self, decision: Decision) -> None:
        """Do what was decided.

        Raises:
            DataError: if the state does not allow it.
        """
        self.state = follow(self.plan, self.state, decision)

    def row(self, lived: Lived) -> DayRow:
        """The last day as a row of a table, after what was decided the morning after it."""
        exposed = self.evidence.exposed.sum(axis=1)
        clicks = _click_rates(self.evidence)
        slow = [_p95(self.evidence, arm) for arm in (CONTROL, TREATED)]
        crashes = [_crashes(self.evidence, arm) for arm in (CONTROL, TREATED)]
        action, reason = "", ""
        if lived.decision:
            action, reason = lived.decision.action, lived.decision.reason
        elif self.state.status != lived.state.status:
            action, reason = "roll back", "an operator rolls back"
        return DayRow(
            day=lived.day,
            stage=self.plan.stages[lived.state.stage].name,
            exposed_control=int(exposed[CONTROL]),
            exposed_treated=int(exposed[TREATED]),
            downloads=lived.tally.downloads,
            fetched_bytes=lived.tally.fetched_bytes,
            holding=int(self.app.holds.sum()),
            hit=int(self.app.used.sum()),
            returned=lived.tally.returned,
            clicks_control=clicks[0],
            clicks_treated=clicks[1],
            p95_control=slow[0],
            p95_treated=slow[1],
            crashes_control=crashes[0],
            crashes_treated=crashes[1],
            action=action,
            reason=reason,
            status=self.state.status,
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
