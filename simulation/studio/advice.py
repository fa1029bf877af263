"""What the page says to somebody who does not know yet what to do next."""

from simulation.studio.rollout_session import RolloutSession


def advice(session: RolloutSession) -> tuple[str, str]:
    """Where the rollout stands in a few words, and what can be done about it.

    Returns:
        a headline and a sentence.
    """
    state, plan = session.rollout.state, session.setup.plan
    stage = plan.stages[state.stage].name if state.stage >= 0 else ""
    why = session.decisions[-1].reason if session.decisions else ""
    match state.status:
        case "draft":
            return (
                "Ready to start",
                "Press start: a day passes, phones fetch the release, people use it, and every "
                "morning the rule reads the guardrails and decides. Break something on the way.",
            )
        case "running":
            return f"Running, stage {stage}", _running(session, why)
        case "paused":
            return (
                f"Paused at {stage}",
                "The stage stays as it is and the rule decides nothing. Resume it, or roll back.",
            )
        case "halted":
            return (
                "Halted: nobody fetches it any more",
                f"{_sentence(why)} Phones that have it keep it until you roll back; resume if you "
                "do not believe it.",
            )
        case "rolled back" | "killed":
            return f"{state.status.capitalize()}", _going_back(session, why)
        case _:
            return (
                "Shipped to everybody outside the holdout",
                "The ramp is over and the rule decides nothing more. It can still be rolled back.",
            )


def _running(session: RolloutSession, why: str) -> str:
    reason = session.why_no_day()
    if reason:
        return f"No day passes: {reason}."
    if session.day == 0:
        return "Let the first day pass."
    return f"This morning the rule decided: {_sentence(why)}"


def _going_back(session: RolloutSession, why: str) -> str:
    left = int(session.rollout.app.holds.sum())
    told = _sentence(why)
    if left:
        return (
            f"{told} {left:,} phones still have it: each goes back when it next looks for a "
            "manifest. Let days pass."
        )
    return f"{told} No phone has it any more. Start a new rollout to try something else."


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
