import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.data import splits
from simulation.data.cold import cold_users, latest_only, more_cold_items
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, Split, SplitSettings, split
from tests.simulation.data.made_up import LEAVE_LAST, interactions

TEXTS = [f"title {number}" for number in range(8)]


def rule(**changes) -> SplitSettings:
    return SplitSettings(**(LEAVE_LAST.model_dump() | changes))


def pairs(events) -> list[tuple[int, int]]:
    return list(zip(events[Columns.USER].tolist(), events[Columns.ITEM].tolist(), strict=True))


def held(items) -> list[tuple[int, int]]:
    return [(user, item) for user, item in enumerate(items.tolist()) if item != NOTHING_HELD_OUT]


@pytest.fixture
def picture(monkeypatch) -> Split:
    """The picture of `splits`, where B, D and F are cold: Alice, Bob, Carol are 0, 1, 2."""
    rows = [("Alice", item, time) for item, time in zip("01234", (1, 2, 3, 5, 7), strict=True)]
    rows += [
        ("Bob", "0", 1),
        ("Bob", "2", 3),
        ("Bob", "5", 4),
        ("Carol", "1", 2),
        ("Carol", "3", 4),
    ]
    cold = np.isin(np.arange(6), [1, 3, 5])
    monkeypatch.setattr(splits.cold, "more_cold_items", lambda *_: cold)
    return split(interactions(rows), rule(cold_items=0.5), 0)


def test_the_picture_of_cold_items(picture: Split):
    assert pairs(picture.train) == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert picture.held_out.tolist() == [4, 5, NOTHING_HELD_OUT]
    assert picture.cold_held_out.tolist() == [3, 5, NOTHING_HELD_OUT]
    assert pairs(picture.left_out) == [(0, 1), (0, 3), (2, 1)]
    assert picture.rule.endswith(
        "; 3 of 6 items are cold, in nobody's training events: 1 of the held-out items are, and "
        "2 users are asked for a cold item too"
    )


def test_the_picture_of_cold_users(monkeypatch):
    monkeypatch.setattr(splits.cold, "cold_users", lambda *_: np.array([True]))
    rows = [("Dora", item, time) for item, time in zip("01234", (1, 2, 3, 4, 6), strict=True)]
    found = {}
    for seed in range(40):
        made = split(interactions(rows), rule(cold_users=1, cold_user_events=3), seed)
        assert made.held_out.tolist() == [4]
        assert pairs(made.train) + pairs(made.left_out)  # nothing is lost
        assert sorted(pairs(made.train) + pairs(made.left_out)) == [(0, item) for item in range(4)]
        found[len(made.train)] = [item for _, item in pairs(made.train)]
    assert found == {1: [3], 2: [2, 3], 3: [1, 2, 3]}
    assert "1 users are cold: of their training events the last 1 to 3 are kept" in made.rule


def test_global_time_asks_for_the_first_cold_item_after_the_cut(monkeypatch):
    cold = np.isin(np.arange(6), [1, 3, 4])
    monkeypatch.setattr(splits.cold, "more_cold_items", lambda *_: cold)
    rows = [("Alice", str(item), item) for item in range(6)]
    made = split(interactions(rows), rule(rule="global-time", fraction=0.5, cold_items=0.5), 0)
    assert pairs(made.train) == [(0, 0), (0, 2)]
    assert (made.held_out.tolist(), made.cold_held_out.tolist()) == ([3], [3])
    later = split(interactions(rows), rule(rule="global-time", fraction=0.1, cold_items=0.5), 0)
    # Only item 5 comes after the cut: no cold item is asked for, whatever was chosen before.
    assert (later.held_out.tolist(), later.cold_held_out.tolist()) == ([5], [NOTHING_HELD_OUT])


some_rows = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.integers(0, 7).map(str), st.integers(0, 4)),
    min_size=1,
    unique_by=lambda row: row[:2],
)
cold_rules = st.builds(
    lambda **changes: rule(**changes),
    rule=st.sampled_from(["leave-last-out", "global-time", "random"]),
    target=st.sampled_from(["test", "validation"]),
    cold_items=st.sampled_from([0.0, 0.25, 0.6]),
    cold_users=st.sampled_from([0.0, 0.5, 1.0]),
    cold_user_events=st.integers(1, 3),
)
few = settings(max_examples=60)


@few
@given(some_rows, cold_rules, st.integers(0, 5))
def test_no_train_event_has_a_cold_item_and_no_cold_user_has_more_than_allowed(some, how, seed):
    made = split(interactions(some, TEXTS), how, seed)
    assert not made.cold_item[made.train[Columns.ITEM]].any()
    counts = np.bincount(made.train[Columns.USER], minlength=len(made.cold_user))
    assert (counts[made.cold_user] <= how.cold_user_events).all()
    assert (counts[made.held_out != NOTHING_HELD_OUT] >= 1).all()
    asked = made.cold_held_out != NOTHING_HELD_OUT
    assert made.cold_item[made.cold_held_out[asked]].all()
    assert (made.held_out[asked] != NOTHING_HELD_OUT).all()
    train, left_out = pairs(made.train), pairs(made.left_out)
    assert not set(train) & set(held(made.held_out) + held(made.cold_held_out) + left_out)
    if how.target == "test" and how.rule != "global-time":
        lost = set(pairs(made.interactions.events)) - {*train, *left_out, *held(made.held_out)}
        assert all(user not in made.train[Columns.USER].to_numpy() for user, _ in lost)


@few
@given(some_rows, cold_rules, st.integers(0, 5))
def test_cold_items_and_cold_users_change_no_held_out_item(some, how, seed):
    data = interactions(some, TEXTS)
    cold = split(data, how.model_copy(update={"target": "test"}), seed)
    off = {"target": "test", "cold_items": 0, "cold_users": 0}
    plain = split(data, how.model_copy(update=off), seed)
    has = cold.held_out != NOTHING_HELD_OUT
    np.testing.assert_array_equal(cold.held_out[has], plain.held_out[has])
    kept = np.isin(np.arange(data.num_users), cold.train[Columns.USER])
    np.testing.assert_array_equal(has, (plain.held_out != NOTHING_HELD_OUT) & kept)


@few
@given(some_rows, cold_rules, st.integers(0, 5), st.integers(0, 7))
def test_the_validation_split_never_looks_at_what_the_test_holds_out(some, how, seed, other):
    """Neither the test's held-out item nor an event with a cold item of the test changes it."""
    data = interactions(some, TEXTS)
    test = split(data, how.model_copy(update={"target": "test"}), seed)
    names = {str(user): item for user, item in zip(data.users, test.held_out, strict=True)}
    changed = [
        (user, str(other) if int(item) == names[user] else item, time) for user, item, time in some
    ]
    if how.rule == "random" or len({row[:2] for row in changed}) < len(changed):
        return  # a random event has no place in time that another could take
    validation = how.model_copy(update={"target": "validation"})
    before, after = (
        split(data, validation, seed),
        split(interactions(changed, TEXTS), validation, seed),
    )
    pd.testing.assert_frame_equal(before.train, after.train)
    np.testing.assert_array_equal(before.held_out, after.held_out)
    np.testing.assert_array_equal(before.cold_held_out, after.cold_held_out)
    assert set(np.flatnonzero(test.cold_item)) <= set(np.flatnonzero(before.cold_item))
    tuned_on = [item for _, item in held(before.held_out) + held(before.cold_held_out)]
    assert not test.cold_item[tuned_on].any()


def test_the_draws_have_addresses_and_the_shares_that_were_asked_for():
    nothing = np.zeros(1000, dtype=np.bool_)
    first = more_cold_items(nothing, 0.15, 7)
    assert first.sum() == 150
    np.testing.assert_array_equal(first, more_cold_items(nothing, 0.15, 7))
    assert (first != more_cold_items(nothing, 0.15, 8)).any()
    both = more_cold_items(first, 0.1, 7, 1)
    assert (both & ~first).sum() == 85 and (first <= both).all()
    assert cold_users(200, 0.1, 7).sum() == 20
    assert not more_cold_items(nothing, 0, 7).any() and not cold_users(200, 0, 7).any()


def test_how_many_events_are_kept_does_not_depend_on_other_users():
    train = pd.DataFrame({Columns.USER: np.repeat(np.arange(50), 8), Columns.ITEM: 0})
    kept = latest_only(train, np.ones(50, dtype=np.bool_), 5, 3).reshape(50, 8)
    assert set(kept.sum(axis=1)) == {1, 2, 3, 4, 5}
    assert (np.diff(kept.astype(int), axis=1) >= 0).all()  # always the latest ones
    some = np.arange(50) % 2 == 0
    partly = latest_only(train, some, 5, 3).reshape(50, 8)
    np.testing.assert_array_equal(partly[some], kept[some])
    assert partly[~some].all()
