import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import SettingsError
from models.seeds import generator
from simulation.data.checking import RawTables, build_interactions
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, SplitSettings, split
from tests.simulation.data.made_up import LEAVE_LAST, interactions

# The example of the module: users Alice, Bob, Carol are 0, 1, 2; items a..f are 0..5.
EXAMPLE = [
    ("Alice", "0", 1),
    ("Alice", "1", 2),
    ("Alice", "2", 5),
    ("Alice", "3", 7),
    ("Bob", "1", 3),
    ("Bob", "4", 3),
    ("Carol", "5", 4),
]


def rule(name="leave-last-out", *, ties="last-row", fraction=0.3, target="test", **cold):
    how = {"rule": name, "ties": ties, "fraction": fraction, "target": target}
    return SplitSettings(**(LEAVE_LAST.model_dump() | how | cold))


def items_by_user(made):
    """Train items of each user, in the order of the table."""
    users = range(made.interactions.num_users)
    return [made.train[made.train[Columns.USER] == user][Columns.ITEM].tolist() for user in users]


def test_the_last_event_is_held_out():
    made = split(interactions(EXAMPLE), rule(), 0)
    assert items_by_user(made) == [[0, 1, 2], [1], [5]]
    assert made.held_out.tolist() == [3, 4, NOTHING_HELD_OUT]
    assert made.held_out.dtype == np.int32
    assert made.tied_users == 1
    assert made.rule == (
        "the last event of each user is held out for test: 2 of 3 users have one; for 1 (50%) its "
        "time is tied with another event's, and among equal times the last row of the file is "
        "the latest"
    )


def test_the_other_rule_for_ties_turns_bob_around():
    made = split(interactions(EXAMPLE), rule(ties="first-row"), 0)
    assert items_by_user(made) == [[0, 1, 2], [4], [5]]
    assert made.held_out.tolist() == [3, 1, NOTHING_HELD_OUT]


def test_validation_never_sees_the_test_event():
    made = split(interactions(EXAMPLE), rule(target="validation"), 0)
    assert items_by_user(made) == [[0, 1], [1], [5]]
    assert made.held_out.tolist() == [2, NOTHING_HELD_OUT, NOTHING_HELD_OUT]
    assert "the test events being left out: 1 of 3 users have one" in made.rule


def test_global_time_cuts_at_a_moment_for_all():
    # Of 7 events the latest 40 % begin with the fifth in time, at time 4.
    made = split(interactions(EXAMPLE), rule("global-time", fraction=0.4), 0)
    assert items_by_user(made) == [[0, 1], [1, 4], []]
    assert made.held_out.tolist() == [2, NOTHING_HELD_OUT, NOTHING_HELD_OUT]
    assert "each user's first event in the latest 40% of events" in made.rule


def test_global_time_for_validation_cuts_the_rest_again():
    made = split(interactions(EXAMPLE), rule("global-time", fraction=0.5, target="validation"), 0)
    # The latest half begins at time 3; left are a1 b2 of Alice, of which the latest half is b2.
    assert items_by_user(made) == [[0], [], []]
    assert made.held_out.tolist() == [1, NOTHING_HELD_OUT, NOTHING_HELD_OUT]


@pytest.mark.parametrize("name", ["leave-last-out", "global-time"])
def test_without_times_only_random_works(name):
    data = interactions([("u", "0", None), ("u", "1", None)])
    with pytest.raises(
        SettingsError, match=f"split.rule={name} needs times.* use split.rule=random"
    ):
        split(data, rule(name), 0)
    assert split(data, rule("random"), 0).held_out[0] in (0, 1)


def test_random_depends_on_the_seed_and_is_spread():
    data = interactions([("u", str(item), None) for item in range(4)])
    drawn = [int(split(data, rule("random"), seed).held_out[0]) for seed in range(60)]
    assert set(drawn) == {0, 1, 2, 3}
    assert drawn == [int(split(data, rule("random"), seed).held_out[0]) for seed in range(60)]


def test_random_does_not_depend_on_the_order_of_rows():
    rows = [(user, str(item), None) for user in "uv" for item in range(4)]
    texts = [f"title {number}" for number in range(4)]
    for seed in range(10):
        first, second = (
            split(interactions(some, texts), rule("random"), seed) for some in (rows, rows[::-1])
        )
        np.testing.assert_array_equal(first.held_out, second.held_out)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fraction": 0.0},
        {"fraction": 1.0},
        {"rule": "newest"},
        {"cold_items": 1.0},
        {"cold_users": -0.1},
        {"cold_user_events": 0},
    ],
)
def test_settings_have_bounds(wrong):
    good = LEAVE_LAST.model_dump()
    SplitSettings(**good)
    with pytest.raises(ValidationError):
        SplitSettings(**{**good, **wrong})


def _in_the_rules_order(events, kept, how):
    """By user, time and row; the other way round within a time when the first row is the latest."""
    backwards = how.rule != "random" and how.ties == "first-row"
    keys = [
        (user, time, -row if backwards else row, item)
        for user, time, row, item in zip(
            *(events[name] for name in (Columns.USER, Columns.TIME_S, Columns.ROW, Columns.ITEM)),
            strict=True,
        )
    ]
    return [(user, item) for user, _, _, item in sorted(keys) if (user, item) in kept]


rows = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.integers(0, 5).map(str), st.integers(0, 4)),
    min_size=1,
    unique_by=lambda row: row[:2],
)
rules = st.builds(
    rule,
    st.sampled_from(["leave-last-out", "global-time", "random"]),
    ties=st.sampled_from(["last-row", "first-row"]),
    fraction=st.sampled_from([0.1, 0.5, 0.9]),
    target=st.sampled_from(["test", "validation"]),
)
few = settings(max_examples=40)


@few
@given(rows, rules, st.integers(0, 5))
def test_each_interaction_is_in_at_most_one_of_train_and_held_out(some, how, seed):
    data = interactions(some)
    made = split(data, how, seed)
    pd.testing.assert_index_equal(made.train.index, pd.RangeIndex(len(made.train)))
    train = list(zip(made.train[Columns.USER], made.train[Columns.ITEM], strict=True))
    held = [(user, item) for user, item in enumerate(made.held_out) if item != NOTHING_HELD_OUT]
    every = list(zip(data.events[Columns.USER], data.events[Columns.ITEM], strict=True))
    assert len(set(train + held)) == len(train) + len(held)  # none twice, none in both
    assert set(train + held) <= set(every)
    assert train == _in_the_rules_order(data.events, set(train), how)
    assert all(user in {user for user, _ in train} for user, _ in held)
    assert 0 <= made.tied_users <= len(held)
    if how.target == "test" and how.rule != "global-time":
        assert len(train) + len(held) == len(every)


@few
@given(rows, rules, st.integers(0, 5))
def test_validation_does_not_change_when_the_held_out_test_item_changes(some, how, seed):
    assume(how.rule != "random")  # a random event has no place in time that another could take
    data = interactions(some)
    test_items = split(data, how.model_copy(update={"target": "test"}), seed).held_out
    names = {str(user): item for user, item in zip(data.users, test_items, strict=True)}
    changed = interactions(
        [(user, "6" if int(item) == names[user] else item, time) for user, item, time in some],
        texts=[f"title {number}" for number in range(7)],
    )
    validation = how.model_copy(update={"target": "validation"})
    before, after = split(data, validation, seed), split(changed, validation, seed)
    pd.testing.assert_frame_equal(before.train, after.train)
    np.testing.assert_array_equal(before.held_out, after.held_out)


@few
@given(
    st.lists(
        st.tuples(st.sampled_from("uvw"), st.integers(0, 5).map(str)), min_size=1, unique=True
    ),
    rules,
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_nothing_when_times_differ(pairs, how, random):
    timed = [(user, item, time) for time, (user, item) in enumerate(pairs)]
    texts = [f"title {number}" for number in range(6)]
    first, second = (
        split(interactions(some, texts), how, 3)
        for some in (timed, random.sample(timed, len(timed)))
    )
    np.testing.assert_array_equal(first.held_out, second.held_out)
    pd.testing.assert_frame_equal(
        first.train.drop(columns=Columns.ROW), second.train.drop(columns=Columns.ROW)
    )
    assert first.tied_users == second.tied_users == 0


@few
@given(rows, rules, st.integers(0, 5), st.sampled_from([0.0, 0.4]))
def test_a_table_out_of_order_is_split_alike(some, how, seed, cold_items):
    """A table that is sorted already is not sorted again; both ways are one."""
    assume(how.rule != "random")  # there the order of the table is the order of history
    how = how.model_copy(update={"cold_items": cold_items})
    data = interactions(some)
    shuffled = data.events.sample(frac=1, random_state=seed).reset_index(drop=True)
    one, other = (split(each, how, seed) for each in (data, replace(data, events=shuffled)))
    pd.testing.assert_frame_equal(one.train, other.train)
    for name in ("held_out", "cold_item", "cold_held_out", "tied_users", "rule"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@few
@given(rows, rules)
def test_ties_are_counted_as_a_count_of_moments_would(some, how):
    assume(how.rule != "random" and how.target == "test")
    data = interactions(some)
    made = split(data, how, 0)
    moments = data.events.groupby([Columns.USER, Columns.TIME_S]).size()
    events = data.events.set_index([Columns.USER, Columns.ITEM])[Columns.TIME_S]
    held = [(user, item) for user, item in enumerate(made.held_out) if item != NOTHING_HELD_OUT]
    assert made.tied_users == sum(moments[user, events[user, item]] > 1 for user, item in held)


OF_BEFORE = {
    "leave-last-out test": "dd82d137cedc85cb",
    "leave-last-out validation": "bdfc333a0f311d43",
    "global-time test": "db1667b1161e47b8",
    "global-time validation": "fe2e9a1103d4f8c5",
    "random test": "90f83ed99e1c2eb0",
    "random validation": "75a6a2575a536d48",
}
"""Digests of splits of `table_of_before`, made before loading and splitting took less memory."""


def table_of_before():
    """1,000 rows with ties, repeated pairs, broken times and an unknown item."""
    rng = generator(3, "table-of-before")
    events = pd.DataFrame(
        {
            "user": [f"u{n}" for n in rng.integers(0, 60, 1000)],
            "item": [f"i{n}" for n in rng.integers(0, 41, 1000)],
            "time": [str(n) if n % 29 else "?" for n in rng.integers(1000, 1100, 1000)],
            "value": [str(n / 2) for n in rng.integers(1, 11, 1000)],
        },
        dtype="str",
    )
    names = [f"i{n}" for n in range(40)]
    items = pd.DataFrame({"item": names, "title": names, "text": names}, dtype="str")
    return build_interactions(RawTables("before", events, items))


def digest_of(made):
    found = hashlib.sha256(made.rule.encode())
    for events in (made.interactions.events, made.train, made.left_out):
        for name in Columns.EVENTS:
            column = events[name].to_numpy()
            found.update(f"{name} {column.dtype} {len(column)}".encode())
            found.update("".join(column).encode() if column.dtype == object else column.tobytes())
    for array in (made.held_out, made.cold_item, made.cold_user, made.cold_held_out):
        found.update(array.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("which", OF_BEFORE)
def test_splits_are_those_of_before_bit_by_bit(which):
    name, target = which.split(" ")
    ties = "first-row" if name == "global-time" else "last-row"
    how = rule(name, ties=ties, target=target, cold_items=0.2, cold_users=0.1)
    assert digest_of(split(table_of_before(), how, 4)) == OF_BEFORE[which]
