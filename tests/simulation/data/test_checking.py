import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data import raw_events
from simulation.data.checking import RawTables, build_interactions, require_columns
from simulation.data.delimited import TextTable
from simulation.data.interactions import NO_TIME, Columns
from tests.simulation.data.made_up import interactions

ITEMS = [("a", "Title A", "Text A"), ("b", "Title B", ""), ("c", "", " ")]


def raw(events, items=ITEMS, columns=("user", "item", "time"), **more):
    return RawTables(
        name="made up",
        events=pd.DataFrame(events, columns=list(columns), dtype="str"),
        items=pd.DataFrame(items, columns=list(Columns.ITEMS), dtype="str"),
        **more,
    )


def check_invariants(data):
    """What `Interactions` promises."""
    events = data.events
    assert list(events.columns) == list(Columns.EVENTS)
    dtypes = [str(events[name].dtype) for name in Columns.EVENTS[:-1]]
    assert dtypes == ["int32", "int32", "int64", "float32", "int64"]
    assert np.unique(events[Columns.USER]).tolist() == list(range(data.num_users))
    assert events[Columns.ITEM].between(0, data.num_items - 1).all()
    assert not events.duplicated([Columns.USER, Columns.ITEM]).any()
    keys = events[[Columns.USER, Columns.TIME_S, Columns.ROW]].to_numpy().tolist()
    assert keys == sorted(keys)
    assert np.isfinite(events[Columns.VALUE]).all()
    assert events[Columns.PRIVATE_TEXT].map(lambda text: isinstance(text, str)).all()
    assert len(set(data.users.tolist())) == data.num_users
    assert data.items[Columns.ITEM].is_unique
    assert (data.items != "").all(axis=None)
    if not data.has_time:
        assert (events[Columns.TIME_S] == NO_TIME).all()


def check_every_row_is_accounted_for(data):
    counts = data.intake
    lost = counts.broken_rows + counts.duplicate_rows + counts.unknown_items
    assert counts.rows_read == data.num_events + lost
    assert counts.items_read == data.num_items + counts.broken_items + counts.duplicate_items


def test_everything_broken_is_counted_and_the_rest_kept():
    data = build_interactions(
        raw(
            [
                ("10", "a", "2020-01-02"),
                ("10", "a", "2020-01-01"),  # the earlier of the two is kept
                ("", "a", "2020-01-01"),
                ("nan", "a", "2020-01-01"),
                ("10", "", "2020-01-01"),
                ("10", "b", "yesterday"),
                ("10", "zzz", "2020-01-01"),
                ("2", " c ", "1577836800"),
            ],
            items=[*ITEMS, ("a", "again", "again"), ("", "no id", "no id")],
            broken_event_rows=5,
            broken_item_rows=2,
            replaced_characters=3,
        )
    )
    check_invariants(data)
    check_every_row_is_accounted_for(data)
    assert data.intake.as_dict() == {
        "rows_read": 13,
        "broken_rows": 5 + 4,
        "duplicate_rows": 1,
        "unknown_items": 1,
        "missing_values": 0,
        "implicit_values": 0,
        "items_read": 7,
        "broken_items": 2 + 1,
        "duplicate_items": 1,
        "html_entities": 0,
        "empty_texts": 2,
        "replaced_characters": 3,
        "users_with_one_event": 2,
        "impressions_read": 0,
        "broken_impressions": 0,
        "unknown_candidates": 0,
    }
    assert data.users.tolist() == ["2", "10"]
    assert data.items[Columns.TEXT].tolist() == ["Text A", "Title B", "c"]
    assert data.events[Columns.ROW].tolist() == [7, 1]
    assert data.events[Columns.TIME_S].tolist() == [1577836800, 1577836800]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1577836800", 1577836800),
        ("1577836800.9", 1577836800),
        ("1577836800123", 1577836800),
        ("2020-01-01", 1577836800),
        ("2020-01-01 00:00:05", 1577836805),
        ("2020-01-01T01:00:00+01:00", 1577836800),
        ("2020-01-01 00:00:00.000006Z", 1577836800),
        ("0", 0),
    ],
)
def test_times_in_all_accepted_forms(time, seconds):
    data = build_interactions(raw([("u", "a", time)]))
    assert data.events[Columns.TIME_S].tolist() == [seconds]
    assert data.has_time


@pytest.mark.parametrize("time", ["", "-5", "inf", "1e400", "2020-13-45", "soon", "9e11"])
def test_times_that_cannot_be_meant(time):
    data = build_interactions(raw([("u", "a", "5"), ("u", "b", "6"), ("u", "c", time)]))
    assert data.intake.broken_rows == 1


def test_values_that_cannot_be_read_become_1():
    rows = [("u", "a", "4.5"), ("u", "b", "good"), ("v", "c", "inf")]
    data = build_interactions(raw(rows, columns=("user", "item", "value")))
    assert data.events[Columns.VALUE].tolist() == [4.5, 1.0, 1.0]
    assert data.intake.missing_values == 2


def test_without_a_time_column_the_file_row_orders():
    data = build_interactions(raw([("u", "b"), ("u", "a")], columns=("user", "item")))
    assert not data.has_time
    assert data.events[Columns.ITEM].tolist() == [1, 0]
    check_invariants(data)


def test_private_texts_are_kept_on_one_line():
    data = build_interactions(
        raw([("u", "a", " old\n tale "), ("u", "b", "")], columns=("user", "item", "private_text"))
    )
    assert data.events[Columns.PRIVATE_TEXT].tolist() == ["old tale", ""]


@pytest.mark.parametrize(
    ("events", "items", "says"),
    [
        ([], ITEMS, "made up has no event rows"),
        ([("u", "a", "soon")], ITEMS, r"none of 1 event rows .* 'soon'.*: ids must not be empty"),
        ([("u", "a", "1")], [], "made up has no usable item"),
        ([("u", "a", "1")], [("", "t", "t")], "made up has no usable item"),
        ([("u", "1.0", "1")], [("1", "t", "t")], r"events have '1\.0', items have '1': make"),
    ],
)
def test_nothing_usable_is_one_line(events, items, says):
    with pytest.raises(DataError, match=says) as caught:
        build_interactions(raw(events, items))
    assert "\n" not in str(caught.value)


def test_users_are_in_natural_order():
    numbers = build_interactions(raw([(user, "a", "1") for user in ("10", "9", "2")]))
    assert numbers.users.tolist() == ["2", "9", "10"]
    words = build_interactions(raw([(user, "a", "1") for user in ("b", "10", "9")]))
    assert words.users.tolist() == ["10", "9", "b"]


def test_a_missing_column_is_named_with_its_file_and_those_found():
    with pytest.raises(DataError) as caught:
        require_columns(["user", "film"], ("user", "item"), "events.csv")
    assert str(caught.value) == (
        "events.csv has no column 'item': it must have user, item; found 'user', 'film'"
    )


ids = st.sampled_from(["a", "b", "c", "", "nan", "zzz", " a", "1\n2", "x" * 300])
times = st.sampled_from(["1", "2", "2020-01-01", "", "soon", "-1", "1e99"])
values = st.sampled_from(["1", "5", "", "nan", "-inf", "word"])
texts = st.sampled_from(["", " ", "a  word", "\ufffd", "two\nlines"])


@settings(max_examples=30)
@given(st.lists(st.tuples(ids, ids, times, values, texts), max_size=12))
def test_any_cells_give_a_checked_table_or_one_line(rows):
    columns = ("user", "item", "time", "value", "private_text")
    try:
        data = build_interactions(raw(rows, columns=columns))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        check_invariants(data)
        check_every_row_is_accounted_for(data)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abc")), min_size=1, unique=True),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_nothing_when_times_differ(pairs, random):
    rows = [(user, item, str(time)) for time, (user, item) in enumerate(pairs)]
    shuffled = random.sample(rows, len(rows))
    first, second = (
        build_interactions(raw(some)).events.drop(columns=Columns.ROW) for some in (rows, shuffled)
    )
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("timed", [True, False])
def test_made_up_interactions_are_what_the_checks_would_make(timed):
    rows = [("v", "2", 7), ("u", "0", 7), ("v", "0", 3), ("w", "1", 5), ("u", "2", 7)]
    if not timed:
        rows = [(user, item, None) for user, item, _ in rows]
    by_hand = interactions(rows)
    columns = ("user", "item", "time") if timed else ("user", "item")
    checked = build_interactions(
        raw(
            [tuple(map(str, row[: len(columns)])) for row in rows],
            [(str(number), f"title {number}", f"title {number}") for number in range(3)],
            columns,
        )
    )
    pd.testing.assert_frame_equal(by_hand.events, checked.events)
    pd.testing.assert_frame_equal(by_hand.items, checked.items)
    assert by_hand.users.tolist() == checked.users.tolist()
    assert by_hand.has_time == checked.has_time == timed
    assert by_hand.intake == checked.intake


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u", "v", "10", "", "nan"]),
            st.sampled_from(["a", " b", "c", "zzz", ""]),
            st.sampled_from(["5", "1577836800123", "2020-01-01", "soon", ""]),
            st.sampled_from(["1", "x", "0"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_events_in_stretches_are_the_same_table(rows, cuts):
    columns = ["user", "item", "time", "value"]
    whole = raw(rows, columns=columns, zero_is_implicit=True)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    stretches = [
        TextTable(whole.events.iloc[start:end], broken, 2)
        for broken, (start, end) in enumerate(itertools.pairwise(bounds))
    ]
    extra = {
        "broken_event_rows": sum(range(len(stretches))),
        "replaced_characters": 2 * len(stretches),
    }
    try:
        expected = build_interactions(replace(whole, **extra))
    except DataError as error:
        with pytest.raises(DataError) as caught:
            build_interactions(replace(whole, events=stretches))
        assert str(caught.value)[:40] == str(error)[:40]
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_events, "PIECE_ROWS", 3)
        found = build_interactions(replace(whole, events=stretches))
    pd.testing.assert_frame_equal(found.events, expected.events)
    assert found.users.tolist() == expected.users.tolist()
    assert found.intake == expected.intake


def test_html_entities_are_decoded_once_and_counted():
    items = [
        ("a", "Cats &amp; dogs", "Cats &amp; dogs &#233;"),
        ("b", "R&D; AT&T", "&amp;lt; &bogus"),
    ]
    data = build_interactions(raw([("u", "a", "1")], items=items))
    assert data.items[Columns.TEXT].tolist() == ["Cats & dogs é", "&lt; &bogus"]
    assert data.items[Columns.TITLE].tolist() == ["Cats & dogs", "R&D; AT&T"]
    assert data.intake.html_entities == 2
