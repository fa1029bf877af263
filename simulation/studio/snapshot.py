"""What the page is told: one JSON object that holds everything, made after every change.

version, rollout, phase, problem, clock     where the studio stands
setup, before                               what the rollout depends on, what was known ahead
now                                         status, stage, what may be ordered and why not
days, decisions, faults                     what happened; days as `StudioDay` has them
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.rollout.decisions import Decision, RolloutState
from server.rollout.settings import Guardrail, RolloutPlan
from simulation.experiments.rollout.scenarios import Effect
from simulation.reporting import rollout_readings
from simulation.studio.advice import advice
from simulation.studio.rollout_session import FOREVER, History, RolloutSession
from simulation.studio.rollout_setup import RolloutSetup


@dataclass(frozen=True, slots=True)
class Clock:
    """How days pass.

    Attributes:
        is_playing: whether they do by themselves.
        days_per_second: at most.
        stopped: why the clock stopped by itself; "" if it did not.
    """

    is_playing: bool
    days_per_second: float
    stopped: str

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "playing": self.is_playing,
            "days_per_second": self.days_per_second,
            "stopped": self.stopped,
        }


@dataclass(frozen=True, slots=True)
class Phase:
    """What the studio does beside the clock.

    Attributes:
        name: "empty" (no rollout yet), "busy" (a fleet is drawn, days are lived again) or "ready".
        what: is done, while it is busy.
        done: of it.
        total: of it; 0: not known.
    """

    name: str
    what: str = ""
    done: int = 0
    total: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {"name": self.name, "what": self.what, "done": self.done, "total": self.total}


def of_rollout(
    number: int, created: datetime, setup: RolloutSetup, history: History, state: RolloutState
) -> dict[str, Any]:
    """A rollout as it is kept, whether its fleet is there or not.

    Args:
        number: of the rollout in its file.
        created: when it was begun.
        setup: all that it depends on.
        history: what happened.
        state: where that leaves it.
    """
    plan = setup.plan
    return {
        "rollout": number,
        "setup": {
            "created": created.isoformat(timespec="seconds"),
            "scenario": setup.scenario.name,
            "title": setup.scenario.title,
            "harm": setup.scenario.harm,
            "plan": plan.name,
            "devices": setup.devices,
            "seed": setup.seed,
            "holdout": plan.holdout.share,
            "most_days": setup.app.operator.most_days,
            "release_bytes": setup.app.delivery.release_bytes,
            "tiers": [tier.name for tier in setup.world.tiers],
            "stages": [stage.model_dump(mode="json") for stage in plan.stages],
            "last_measured": plan.last_measured,
            "guardrails": [_guardrail(rail) for rail in plan.guardrails],
        },
        "now": {
            "day": len(history.days),
            "status": state.status,
            "stage": state.stage,
            "stage_day": state.stage_day,
            "sequence": state.sequence,
            "offers_downloads": state.offers_downloads,
        },
        "days": [day.model_dump(mode="json") for day in history.days],
        "decisions": [_decision(each, plan) for each in history.decisions],
        "faults": [
            {"day": fault.day, "title": fault.title, "what": [_effect(e) for e in fault.effects]}
            for fault in history.faults
        ],
    }


def of_session(session: RolloutSession) -> dict[str, Any]:
    """What only a fleet that is there can say."""
    headline, told = advice(session)
    start = None
    if not session.days:
        tiers, dots = session.start_map()
        start = {"tiers": [tier.model_dump(mode="json") for tier in tiers], "dots": list(dots)}
    return {
        "before": session.before.model_dump(mode="json"),
        "before_reading": rollout_readings.before(session.before),
        "start": start,
        "live": {
            "headline": headline,
            "advice": told,
            "orders": session.refusals(),
            "step": session.why_no_day(),
        },
    }


def _guardrail(rail: Guardrail) -> dict[str, Any]:
    fields = {"name", "kind", "value", "per", "worse", "margin", "on_breach"}
    return rail.model_dump(mode="json", include=fields)


def _decision(decision: Decision, plan: RolloutPlan) -> dict[str, Any]:
    told = decision.model_dump(mode="json", include={"day", "action", "by", "reason", "sequence"})
    return {**told, "stage": plan.stages[decision.stage].name if decision.stage >= 0 else ""}


def _effect(effect: Effect) -> str:
    """An effect in a few words.

    >>> _effect(Effect(what="crash", plus=0.15, tiers=("low",), first_day=3, last_day=5))
    'crash +15 %, low, days 3 to 5'
    >>> _effect(Effect(what="clicks", growth=-0.03))
    'clicks -3 % more every day'
    """
    if effect.what == "random lists":
        told = f"{100 * effect.share:g} % random lists"
    elif effect.plus:
        told = f"{effect.what.replace('_', ' ')} +{100 * effect.plus:g} %"
    elif effect.growth:
        told = f"{effect.what} {100 * effect.growth:+g} % more every day"
    else:
        told = f"{effect.what} x {effect.factor:g}"
    parts = [told, *effect.tiers, *effect.regions]
    if effect.arms == "both":
        parts.append("both arms")
    if effect.last_day < FOREVER:
        parts.append(f"days {effect.first_day} to {effect.last_day}")
    return ", ".join(parts)
