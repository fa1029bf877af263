"""A rollout that gets nowhere is paused, with what is missing as the reason."""

import numpy as np
import pytest

from server.rollout.decisions import Decision, Look
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import TREATED
from simulation.experiments.rollout.standstill import Standstill
from simulation.experiments.rollout.virtual_app import COLUMNS
from tests.simulation.experiments.rollout.small_fleet import HALF, PLAN, rolled_out, state


def held(day: int, look: Look | None = None) -> Decision:
    return Decision(
        day=day,
        action="hold",
        by="rule",
        reason="why",
        stage=HALF,
        sequence=2,
        is_mismatch=False,
        findings=(),
        look=look,
        evidence="",
    )


def used_by(devices: int) -> RolloutEvidence:
    found = RolloutEvidence.nothing(PLAN, COLUMNS, 3)
    found.rows.count[TREATED, 0] = devices
    return found


def test_days_without_a_change_are_counted_from_the_end_of_the_stages_days():
    watch, min_days = Standstill(PLAN, 3), PLAN.stages[HALF].min_days
    told = [watch.why(state(), held(day), used_by(1000)) for day in range(1, min_days + 4)]
    assert told == [None] * (min_days + 2) + [told[-1]]
    assert told[-1] == "the operator pauses, nothing has changed in 3 days: why"


@pytest.mark.parametrize("change", ["look", "devices", "stage"])
def test_a_look_more_devices_or_another_stage_are_a_change(change):
    watch, day = Standstill(PLAN, 3), PLAN.stages[HALF].min_days + 4
    seen = Look(fraction=0.4, z=1.0, bound=3.0) if change == "look" else None
    for before in range(1, day - 1):
        watch.why(state(stage=HALF), held(before), used_by(1000))
    used = used_by(1011 if change == "devices" else 1009)
    there = state(stage=HALF - 1 if change == "stage" else HALF)
    assert watch.why(there, held(day, seen), used) is None


def test_after_the_last_look_nobody_waits():
    spent = state().model_copy(update={"looks": (Look(fraction=1.0, z=1.0, bound=2.0),)})
    assert Standstill(PLAN, 30).why(spent, held(1), used_by(9)) == "the operator pauses: why"
    halted = spent.model_copy(update={"status": "halted"})
    assert Standstill(PLAN, 30).why(halted, held(1), used_by(9)) is None


def test_a_fleet_that_is_too_small_is_paused_and_the_reason_says_what_it_lacks():
    rows, decisions = rolled_out("healthy", devices=3000, days=40)
    last = decisions[-1]
    assert (last.action, last.by, rows[-1].status) == ("pause", "operator", "paused")
    assert "of 100 devices, and admits 32 only" in last.reason
    assert rows[-1].action == "pause" and len(rows) < 35
    assert np.all([row.status == "running" for row in rows[:-1]])
