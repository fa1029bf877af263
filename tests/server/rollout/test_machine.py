"""The machine: its guarantees under any evidence, and what it does about good and bad releases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError, SettingsError
from models.seeds import generator
from server.rollout.decisions import Decision, RolloutState, draft
from server.rollout.judging import findings
from server.rollout.machine import decide, follow, order
from server.rollout.membership import window
from tests.server.rollout.made_up import TIERS, a_day, nothing, plan

PLAN = plan()
ORDERS = ("start", "advance", "pause", "resume", "halt", "roll back", "kill", "end", "hold")


def started(stage: int = 0, **changes: object) -> RolloutState:
    state = follow(PLAN, draft(6), order(PLAN, draft(6), "start", 0, "go"))
    return state.model_copy(update={"stage": stage, **changes})


def played(days: int, of=PLAN, **how: object) -> tuple[list[Decision], RolloutState]:
    """A rollout as the rule alone drives it; evidence of a window is thrown away when it ends."""
    rng = generator(9, "played", days)
    state = follow(of, draft(6), order(of, draft(6), "start", 0, "go"))
    evidence, begun, decisions = nothing(of), 0, []
    for day in range(1, days + 1):
        evidence = evidence + a_day(rng, day - 1 - begun, internal=(5, 0), **how)
        decision = decide(of, state, evidence, TIERS, day)
        after = follow(of, state, decision)
        if window(of, after.stage) != window(of, state.stage):
            evidence, begun = nothing(of), day
        decisions.append(decision)
        state = after
    return decisions, state


SHORT = plan(
    stages=[
        {**stage.model_dump(), "min_devices": 100 if stage.share else 0} for stage in PLAN.stages
    ],
    ship={**PLAN.ship.model_dump(), "metric": {**PLAN.ship.metric.model_dump(), "margin": 0.3}},
)


def test_a_healthy_release_reaches_everybody():
    decisions, state = played(20, SHORT)
    assert state.status == "ended" and state.sequence == 7
    stages = [decision.stage for decision in decisions]
    assert stages == sorted(stages) and stages[-1] == 5
    shown = next(each.look for each in decisions if each.look and each.look.is_shown)
    assert shown.z >= shown.bound


@pytest.mark.parametrize(
    ("how", "action", "what"),
    [
        ({"crashes": (0.01, 0.25)}, "roll back", "crashes"),
        ({"clicks": (0.10, 0.05)}, "halt", "click rate"),
        ({"slower": 2.5}, "halt", "latency p95"),
    ],
)
def test_a_bad_release_is_stopped_and_the_reason_is_named(how, action, what):
    decisions, state = played(12, SHORT, **how)
    stop = next(each for each in decisions if each.action in ("halt", "roll back"))
    assert stop.action == action and stop.reason.startswith(what)
    assert stop.findings[0].guardrail == what and stop.findings[0].is_breach
    assert PLAN.stages[stop.stage].share <= 0.05
    assert not state.offers_downloads
    assert state.sequence == (8 if action == "roll back" else 7)
    assert stop.stage == state.stage  # it never grew again


def test_lost_devices_are_a_mismatch_and_no_metric_is_read():
    """Half of the low tier never loads the release, and clicks fall: the mismatch comes first."""
    decisions, state = played(8, SHORT, lost=0.5, clicks=(0.1, 0.03), devices=150)
    apart = [each for each in decisions if each.is_mismatch]
    assert apart and all(not each.findings and each.look is None for each in apart)
    assert "low" in apart[0].reason and "no metric is read" in apart[0].reason
    assert [each.action for each in apart[:3]] == ["hold", "hold", "halt"]
    assert state.status == "halted"


def test_internal_failures_halt_before_anybody_else_has_it():
    evidence = nothing(PLAN) + a_day(generator(1, "day"), 0, internal=(10, 3))
    decision = decide(PLAN, started(0), evidence, TIERS, 5)
    assert decision.action == "halt" and "3 of 10 internal devices failed" in decision.reason
    few = nothing(PLAN) + a_day(generator(1, "day"), 0, internal=(3, 1))
    assert decide(PLAN, started(0), few, TIERS, 5).action != "halt"  # one of three is chance


def test_harm_of_one_tier_is_seen_though_the_mean_hides_it():
    """The low tier loses its clicks, the others gain: nothing is wrong on average."""
    rng = generator(2, "tiers")
    good, bad = (a_day(rng, 0, devices=1500, clicks=(0.1, rate)) for rate in (0.12, 0.05))
    tier = np.array([1.0, 0.0, 0.0])
    mixed = nothing(PLAN) + good
    for name in ("count", "sums", "products"):
        one, two = getattr(mixed.rows, name), getattr(bad.rows, name)
        share = tier.reshape((1, 3) + (1,) * (one.ndim - 2))
        getattr(mixed.rows, name)[...] = (1 - share) * one + share * two
    found = {
        each.tier: each for each in findings(PLAN, mixed, TIERS) if each.guardrail == "click rate"
    }
    assert found["low"].is_breach and not found["all"].is_breach


@given(seed=st.integers(0, 10**6), stage=st.integers(1, 5), day=st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_a_stage_is_never_left_on_too_little(seed: int, stage: int, day: int):
    rng = generator(seed, "little")
    devices = int(rng.integers(0, 40))
    evidence = nothing(PLAN) + a_day(rng, 0, devices=devices)
    state = started(stage, is_shown=True)
    decision = decide(PLAN, state, evidence, TIERS, day)
    if decision.action in ("advance", "end"):
        assert day >= PLAN.stages[stage].min_days
        assert evidence.exposed[1].sum() >= PLAN.stages[stage].min_devices
    else:
        assert decision.action in ("hold", "halt", "roll back")
        assert decision.stage == stage


def test_the_last_measured_stage_waits_for_the_ship_decision():
    state = started(4)
    evidence = nothing(PLAN) + a_day(generator(3, "day"), 0, devices=1500)
    decision = decide(PLAN, state, evidence, TIERS, 30)
    assert (
        decision.action == "hold"
        and "not shown to be within the margin of 2 % after 1 look: z" in decision.reason
    )
    assert 0 < decision.look.fraction < 1 and decision.look.bound > 2
    again = decide(PLAN, follow(PLAN, state, decision), evidence, TIERS, 31)
    assert again.look is None  # the same evidence is not looked at twice
    assert again.reason == decision.reason
    shown = state.model_copy(update={"is_shown": True})
    assert decide(PLAN, shown, evidence, TIERS, 30).action == "advance"


@given(
    st.lists(
        st.tuples(st.sampled_from(["rule", *ORDERS]), st.integers(0, 3), st.integers(0, 10**6)),
        max_size=25,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_history_keeps_the_guarantees(history):
    """Any evidence and any orders: stages, halts and sequence numbers keep their promises."""
    state, day = draft(6), 0
    for what, days, seed in history:
        day += days
        rng = generator(seed, "any")
        evidence = nothing(PLAN) + a_day(
            rng, 0, devices=int(rng.integers(1, 60)), clicks=(0.1, float(rng.random()))
        )
        assert (evidence.exposed <= evidence.admitted).all()
        if what == "rule":
            decision = decide(PLAN, state, evidence, TIERS, day)
            assert decision == decide(PLAN, state, evidence, TIERS, day)
        else:
            try:
                decision = order(PLAN, state, what, day, "because")
            except SettingsError:
                continue
        after = follow(PLAN, state, decision)
        _check_step(state, after, decision)
        state = after


def _check_step(before: RolloutState, after: RolloutState, decision: Decision) -> None:
    assert after.stage - before.stage in (0, 1)
    assert after.sequence >= before.sequence and after.stage < len(PLAN.stages)
    if before.status == "halted" and after.status != "halted":
        assert decision.by == "operator"
    if before.status in ("halted", "rolled back", "killed"):
        assert after.stage == before.stage
    if before.status in ("rolled back", "killed"):
        assert after.status == before.status
    if decision.action in ("roll back", "kill"):
        assert after.sequence == before.sequence + 1 and not after.offers_downloads


def test_orders_that_the_state_does_not_allow_name_the_cure():
    with pytest.raises(SettingsError, match="the rollout is draft; it is possible when it is run"):
        order(PLAN, draft(6), "advance", 0, "why not")
    with pytest.raises(SettingsError, match="'advance' to the last one"):
        order(PLAN, started(2), "end", 0, "done")
    with pytest.raises(SettingsError, match="is the last stage"):
        order(PLAN, started(5), "advance", 0, "more")
    for reason in ("", " ", "x" * 1001):
        with pytest.raises(SettingsError, match="wants a reason of 1 to 1000 characters"):
            order(PLAN, started(2), "halt", 0, reason)


def test_sums_that_cannot_be_are_refused():
    evidence = nothing(PLAN) + a_day(generator(4, "day"), 0)
    with pytest.raises(DataError, match="the last decision was on day 9"):
        decide(PLAN, started(1, day=9), evidence, TIERS, 8)
    poisoned = nothing(PLAN) + evidence
    poisoned.rows.sums[1, 0, 0] = np.nan
    with pytest.raises(DataError, match="a phone sent NaN"):
        decide(PLAN, started(1), poisoned, TIERS, 5)
    evidence.admitted[1, 2] = 3
    with pytest.raises(DataError, match="60 devices that used the release and 3 that could"):
        decide(PLAN, started(1), evidence, TIERS, 5)


def test_the_digest_is_of_the_sums():
    one, two = (nothing(PLAN) + a_day(generator(5, "day"), 0) for _ in range(2))
    assert one.digest() == two.digest()
    two.rows.sums[0, 0, 0] += 1
    assert one.digest() != two.digest()


def test_evidence_adds_up_over_nodes_and_days():
    rng = generator(6, "nodes")
    parts = [a_day(rng, day) for day in (0, 0, 2, 1)]
    forward = parts[0] + parts[1] + parts[2] + parts[3]
    backward = parts[3] + (parts[2] + (parts[1] + parts[0]))
    assert np.array_equal(forward.rows.count, backward.rows.count)
    assert np.array_equal(forward.events.counts, backward.events.counts)
    assert forward.events.counts.shape[0] == 3
    assert np.allclose(forward.rows.products, backward.rows.products, rtol=1e-12)


@pytest.mark.slow
def test_a_release_that_changes_nothing_is_seldom_halted():
    """200 A/A rollouts of 12 looks: at most 15 false halts over all guardrails, tiers and looks."""
    false = 0
    for run in range(200):
        rng = generator(run, "a/a")
        evidence, state = nothing(PLAN), started(1)
        for day in range(12):
            evidence = evidence + a_day(rng, day, devices=60)
            found = findings(PLAN, evidence, TIERS)
            if any(each.is_breach for each in found):
                false += 1
                break
        assert state.stage == 1
    assert false <= 15, false
