"""The rollout as a pure state machine: evidence in, a decision and its reason out.

    order       from                                to
    start       draft                               running, first stage, a new manifest
    advance     running                             running, next stage            (rule too)
    hold        anywhere                            the same                       (rule too)
    pause       running                             paused: the stage stays, phones may still fetch
    halt        running, paused                     halted: nobody fetches         (rule too)
    resume      paused, halted                      running, the same stage
    roll back   running, paused, halted, ended      rolled back, a new manifest    (rule: running)
    kill        anywhere but rolled back, killed    killed, a new manifest
    end         running, last stage                 ended: everybody keeps it      (rule too)

Guarantees, each with a test of its name:

* a stage is never left before its days and its devices are there, by the rule;
* nothing but an operator leaves `halted`, and nothing at all leaves `rolled back` and `killed`;
* a stage never grows but by one, and never after a halt until somebody resumes;
* a mismatch is looked at before any metric: while there is one, no metric is read;
* a rollback raises the sequence number: it is a new manifest, which names the old files;
* the same plan, state and evidence give the same decision.

A halt stops new downloads and nothing else. Phones that have the release keep it until they check
in and meet a newer manifest.
"""

from collections.abc import Sequence

from models.errors import DataError, SettingsError
from server.rollout.decisions import Action, Decision, Finding, Look, RolloutState, Status
from server.rollout.evidence import RolloutEvidence
from server.rollout.judging import findings, mismatches
from server.rollout.membership import TREATED
from server.rollout.settings import RolloutPlan
from server.rollout.shipping import look, shortfall

LONGEST_REASON = 1000
FEWEST_INTERNAL_FAILURES = 2
"""Internal devices that must have failed before their share halts: one of three is chance."""

KEPT_FINDINGS = 5
"""Findings that a decision keeps: the strongest ones."""

_ORDERS: dict[Action, tuple[Status, ...]] = {
    "start": ("draft",),
    "advance": ("running",),
    "pause": ("running",),
    "resume": ("paused", "halted"),
    "halt": ("running", "paused"),
    "roll back": ("running", "paused", "halted", "ended"),
    "kill": ("draft", "running", "paused", "halted", "ended"),
    "end": ("running",),
    "hold": ("draft", "running", "paused", "halted", "rolled back", "killed", "ended"),
}
_AFTER: dict[Action, Status] = {
    "start": "running",
    "pause": "paused",
    "resume": "running",
    "halt": "halted",
    "roll back": "rolled back",
    "kill": "killed",
    "end": "ended",
}


def decide(
    plan: RolloutPlan,
    state: RolloutState,
    evidence: RolloutEvidence,
    tiers: Sequence[str],
    day: int,
) -> Decision:
    """Decide what to do next, from what has been seen since the window opened.

    Args:
        plan: of the rollout.
        state: where it stands.
        evidence: all of the window that the stage belongs to.
        tiers: (T,) names.
        day: since the rollout was planned.

    Raises:
        DataError: if the evidence cannot be, or the day lies before the last decision.
    """
    evidence.check()
    if day < state.day:
        raise DataError(f"evidence of day {day}, the last decision was on day {state.day}")
    case = _Case(plan, state, evidence, day)
    if state.status != "running":
        return case.made("hold", f"the rollout is {state.status}: an operator decides what is next")
    apart = mismatches(plan, evidence, tiers)
    if apart:
        return _on_mismatch(case, apart)
    if case.is_internal:
        return _on_internal(case)
    found = findings(plan, evidence, tiers)
    breached = [each for each in found if each.is_breach]
    if breached:
        return _on_breach(case, found, breached)
    return _on_calm(case, found)


def order(
    plan: RolloutPlan, state: RolloutState, action: Action, day: int, reason: str
) -> Decision:
    """What an operator decides: anything that the state allows, with a reason.

    Raises:
        SettingsError: if the state does not allow it, or the reason is none or too long.
    """
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise SettingsError(
            f"a decision wants a reason of 1 to {LONGEST_REASON} characters, got {len(reason)}"
        )
    if state.status not in _ORDERS[action]:
        raise SettingsError(
            f"'{action}' is not possible: the rollout is {state.status}; it is possible when it is "
            f"{' or '.join(_ORDERS[action])}"
        )
    last = len(plan.stages) - 1
    if action == "advance" and state.stage == last:
        raise SettingsError(f"'{plan.stages[last].name}' is the last stage: 'end' the rollout")
    if action == "end" and state.stage != last:
        raise SettingsError(
            f"'end' keeps the release on all phones, and the stage is "
            f"'{plan.stages[state.stage].name}': 'advance' to the last one, or 'roll back'"
        )
    return Decision(
        day=max(day, state.day),
        action=action,
        by="operator",
        reason=reason,
        stage=_stage_after(state, action),
        sequence=_sequence_after(state, action),
        is_mismatch=False,
        findings=(),
        look=None,
        evidence="",
    )


def follow(plan: RolloutPlan, state: RolloutState, decision: Decision) -> RolloutState:
    """The state after a decision.

    Raises:
        DataError: if the decision is none that this state allows, as in a log that was changed.
    """
    action = decision.action
    wrong = None
    if state.status not in _ORDERS[action]:
        wrong = f"'{action}' while the rollout is {state.status}"
    elif decision.by == "rule" and action in ("start", "pause", "resume", "kill"):
        wrong = f"'{action}' by the rule: it is an operator's"
    elif decision.day < state.day:
        wrong = f"day {decision.day} after day {state.day}"
    elif decision.stage != _stage_after(state, action) or decision.stage >= len(plan.stages):
        wrong = f"stage {decision.stage} after stage {state.stage} by '{action}'"
    elif decision.sequence != _sequence_after(state, action):
        wrong = f"sequence {decision.sequence} after {state.sequence} by '{action}'"
    if wrong:
        raise DataError(f"no such decision is possible: {wrong}")
    looks = (*state.looks, decision.look) if decision.look else state.looks
    moved = action in ("start", "advance")
    return RolloutState(
        status=_AFTER.get(action, state.status),
        stage=decision.stage,
        stage_day=decision.day if moved else state.stage_day,
        day=decision.day,
        sequence=decision.sequence,
        looks=looks,
        mismatch_days=state.mismatch_days + 1 if decision.is_mismatch else 0,
        is_shown=state.is_shown or bool(decision.look and decision.look.is_shown),
    )


class _Case:
    """What a decision is made of."""

    def __init__(
        self, plan: RolloutPlan, state: RolloutState, evidence: RolloutEvidence, day: int
    ) -> None:
        self.plan, self.state, self.evidence, self.day = plan, state, evidence, day

    @property
    def is_internal(self) -> bool:
        return self.plan.stages[self.state.stage].share == 0

    def made(
        self,
        action: Action,
        reason: str,
        *,
        found: Sequence[Finding] = (),
        looked: Look | None = None,
        is_mismatch: bool = False,
    ) -> Decision:
        return Decision(
            day=self.day,
            action=action,
            by="rule",
            reason=reason,
            stage=_stage_after(self.state, action),
            sequence=_sequence_after(self.state, action),
            is_mismatch=is_mismatch,
            findings=tuple(found[:KEPT_FINDINGS]),
            look=looked,
            evidence=self.evidence.digest(),
        )

    def too_early(self) -> str | None:
        """Why the stage may not be left yet; None: it may."""
        stage = self.plan.stages[self.state.stage]
        days = self.day - self.state.stage_day
        if days < stage.min_days:
            return f"'{stage.name}' has lasted {days} of {stage.min_days} days"
        used, most = self.evidence.internal_exposed, stage.min_devices
        if not self.is_internal:
            used = int(self.evidence.exposed[TREATED].sum())
            most = int(self.evidence.admitted[TREATED].sum())
        if used >= stage.min_devices:
            return None
        told = f"'{stage.name}' has {used:,} of {stage.min_devices:,} devices"
        return told if most >= stage.min_devices else f"{told}, and admits {most:,} only"

    def onwards(self, found: Sequence[Finding], looked: Look | None, why: str) -> Decision:
        """One stage further, or the end."""
        if self.state.stage == len(self.plan.stages) - 1:
            return self.made("end", f"{why}; everybody outside the holdout has it", found=found)
        following = self.plan.stages[self.state.stage + 1].name
        return self.made("advance", f"{why}; next is '{following}'", found=found, looked=looked)


def _on_mismatch(case: _Case, apart: Sequence[tuple[str, float]]) -> Decision:
    told = ", ".join(f"{name} (p {p:.1g})" for name, p in apart[:3])
    days = case.state.mismatch_days + 1
    reason = f"sample-ratio mismatch in {told}, day {days} in a row: no metric is read"
    action: Action = "halt" if days >= case.plan.evidence.mismatch_days else "hold"
    return case.made(action, reason, is_mismatch=True)


def _on_internal(case: _Case) -> Decision:
    used, failed = case.evidence.internal_exposed, case.evidence.internal_failed
    limit = case.plan.evidence.internal_failures
    if failed >= FEWEST_INTERNAL_FAILURES and failed / used > limit:
        return case.made(
            "halt", f"{failed} of {used} internal devices failed, {limit:.0%} is the limit"
        )
    early = case.too_early()
    if early:
        return case.made("hold", early)
    return case.onwards((), None, f"{used} internal devices used it, {failed} failed")


def _on_breach(case: _Case, found: Sequence[Finding], breached: Sequence[Finding]) -> Decision:
    worst = breached[0]
    names = {each.guardrail for each in breached}
    stops = {rail.on_breach for rail in case.plan.guardrails if rail.name in names}
    action: Action = "roll back" if "roll back" in stops else "halt"
    reason = (
        f"{worst.guardrail} ({worst.tier}): {worst.treated:.4g} where the control has "
        f"{worst.control:.4g}, log evidence {worst.log_evidence:.1f} of {worst.log_needed:.1f}"
    )
    return case.made(action, reason, found=found)


def _on_calm(case: _Case, found: Sequence[Finding]) -> Decision:
    plan, state = case.plan, case.state
    early = case.too_early()
    if early:
        return case.made("hold", early, found=found)
    if state.stage != plan.last_measured or state.is_shown:
        return case.onwards(found, None, "no guardrail is breached")
    looked = look(plan, case.evidence, state.looks)
    if looked and looked.is_shown:
        why = f"no worse than the margin: z {looked.z:.2f} of {looked.bound:.2f}"
        return case.onwards(found, looked, why)
    looks = (*state.looks, looked) if looked else state.looks
    reason = shortfall(plan, case.evidence, looks)
    return case.made("hold", reason, found=found, looked=looked)


def _stage_after(state: RolloutState, action: Action) -> int:
    return state.stage + 1 if action in ("start", "advance") else state.stage


def _sequence_after(state: RolloutState, action: Action) -> int:
    """A start is the release's manifest; a rollback and a kill are another one, higher still."""
    return state.sequence + 1 if action in ("start", "roll back", "kill") else state.sequence
