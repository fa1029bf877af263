"""A rollout that was tried, put into the form of its page."""

from collections.abc import Sequence
from datetime import UTC, datetime

from server.rollout.decisions import Decision
from server.rollout.settings import RolloutPlan
from simulation.experiments.rollout.app_settings import AppSettings
from simulation.experiments.rollout.scenarios import Scenario
from simulation.reporting.rollout_model import Before, DayRow, DecisionRow, RolloutReport
from simulation.reporting.rollout_readings import caught, outcome


def report_of(
    plan: RolloutPlan,
    scenario: Scenario,
    app: AppSettings,
    num_devices: int,
    seed: int,
    before: Before,
    rows: Sequence[DayRow],
    decisions: Sequence[Decision],
    command: str,
    commit: str,
) -> RolloutReport:
    """Return everything that the page shows."""
    lines = tuple(
        DecisionRow(
            day=each.day,
            action=each.action,
            by=each.by,
            reason=each.reason,
            sequence=each.sequence,
        )
        for each in decisions
    )
    found = caught(rows, lines)
    return RolloutReport(
        title=f"Rollout: {scenario.title}",
        created=datetime.now(UTC),
        command=command,
        seed=seed,
        commit=commit,
        scenario=scenario.name,
        harm=scenario.harm,
        plan=plan.name,
        num_devices=num_devices,
        release_bytes=app.delivery.release_bytes,
        before=before,
        days=tuple(rows),
        decisions=lines,
        caught=found,
        reading=outcome(num_devices, scenario.title, scenario.harm, rows, found),
    )
