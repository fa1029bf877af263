"""A rollout by hand: days, orders, faults; living through them again gives the same, to the bit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError, SettingsError
from simulation.experiments.rollout.scenarios import Effect, load_scenario
from simulation.experiments.rollout.virtual_rollout import roll_out
from simulation.studio.rollout_session import History, RolloutSession, relive
from tests.simulation.experiments.rollout.small_fleet import PLAN, fleet, members
from tests.simulation.studio.small_studio import DEVICES, SEED, session

FAULTS = (
    load_scenario("garbage-vectors").effects,
    load_scenario("poisoned-update").effects,
    (Effect(what="crash", plus=0.3, tiers=("low",), last_day=1),),
    (Effect(what="check in", factor=0.2, arms="both"),),
)
MOVES = st.one_of(
    st.just("day"),
    st.just("day"),
    st.sampled_from(("advance", "pause", "resume", "halt", "roll back", "hold")),
    st.integers(0, len(FAULTS) - 1),
)


def _moved(one: RolloutSession, moves: list[str | int]) -> RolloutSession:
    """The moves that the state allows; the others are refused, and change nothing."""
    one.follow(one.order("start", "go"))
    for move in moves:
        before = one.history
        try:
            if move == "day":
                one.step()
            elif isinstance(move, int):
                one.suffer(one.fault_of("a fault", FAULTS[move]))
            else:
                one.follow(one.order(move, "by hand"))
        except SettingsError:
            assert one.history == before
    return one


@settings(max_examples=4, deadline=None)
@given(moves=st.lists(MOVES, min_size=4, max_size=12))
def test_a_session_that_is_lived_again_is_the_same_to_the_bit(moves):
    one = _moved(session(), moves)
    two = session()
    relive(two, one.history)
    assert two.history == one.history and two.rollout.state == one.rollout.state
    assert two.rollout.evidence.digest() == one.rollout.evidence.digest()
    assert two.rollout.scenario == one.rollout.scenario and two.start_map() == one.start_map()


def test_untouched_it_is_the_rollout_of_the_script():
    made = []
    scenario = load_scenario("garbage-vectors")
    rows = list(
        roll_out(
            PLAN,
            fleet(DEVICES, SEED),
            members(DEVICES, SEED),
            scenario,
            made.append,
            most_days=6,
        )
    )
    one = session("garbage-vectors")
    one.follow(one.order("start", made[0].reason))
    assert [one.step().row for _ in rows] == rows and one.decisions == made


def test_a_fault_holds_from_the_next_day_on_and_ends_when_it_should():
    one = session()
    one.follow(one.order("start", "go"))
    one.step()
    fault = one.fault_of("x", (Effect(what="latency", factor=2.0, first_day=3, last_day=4),))
    assert (fault.day, fault.effects[0].first_day, fault.effects[0].last_day) == (1, 1, 2)
    forever = one.fault_of("y", (Effect(what="latency", factor=2.0),))
    assert forever.effects[0].last_day == Effect(what="latency").last_day
    assert not one.faults and not one.rollout.scenario.effects  # nothing is suffered yet
    with pytest.raises(SettingsError, match="tiers 'tablet', the fleet has low, mid, high"):
        one.fault_of("z", (Effect(what="latency", factor=2.0, tiers=("tablet",)),))
    with pytest.raises(SettingsError, match="51 effects are too many"):
        one.fault_of("z", (Effect(what="latency", factor=2.0),) * 51)


def test_no_day_passes_before_the_start_or_after_the_end():
    one = session()
    with pytest.raises(SettingsError, match="start the rollout first"):
        one.step()
    one.follow(one.order("kill", "never mind"))
    with pytest.raises(SettingsError, match="killed before it began"):
        one.step()
    two = session()
    two.follow(two.order("start", "go"))
    two.follow(two.order("roll back", "no phone has fetched it yet"))
    assert "no phone has the release any more" in two.why_no_day()


def test_what_cannot_be_ordered_says_why():
    one = session()
    refusals = one.refusals()
    assert refusals["start"] == "" and "the rollout is draft" in refusals["advance"]
    one.follow(one.order("start", "go"))
    refusals = one.refusals()
    assert refusals["advance"] == "" and "'advance' to the last one" in refusals["end"]


def test_another_history_is_named_and_not_lived():
    one = session()
    one.follow(one.order("start", "go"))
    for _ in range(2):
        one.step()
    days, decisions = one.history.days, one.history.decisions
    row = days[1].row.model_copy(update={"holding": days[1].row.holding + 1})
    wrong_day = (days[0], days[1].model_copy(update={"row": row}))
    wrong_line = (*decisions[:-1], decisions[-1].model_copy(update={"evidence": "0" * 64}))
    late = decisions[0].model_copy(update={"action": "hold", "day": 9})
    for history, what in (
        (History(decisions, (), wrong_day), "day 1 was another one"),
        (History(wrong_line, (), days), "decision 3 rests on other evidence"),
        (History((*decisions, late), (), days), "lines that belong to no day"),
    ):
        with pytest.raises(DataError, match=what):
            relive(session(), history)
