"""Synthetic devices: what each has done depends on nothing but its own address."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import synthetic_events
from clients.protocol.partitions import partition_bounds
from clients.synthetic_events import AliasTable, SyntheticEvents, TasteModel
from models.errors import DataError
from models.seeds import generator, uniforms

NUM_ITEMS, SEED = 30, 5


def taste_model(num_items: int = NUM_ITEMS, hours: bool = False) -> TasteModel:
    """Five tastes over three topics; some items are a thousand times as likely as others."""
    rng = generator(SEED, "made-up tastes")
    topics = np.exp(rng.normal(0, 2.5, (3, num_items)))
    table = rng.integers(0, 168, (5, 4)).astype(np.uint8) if hours else None
    return TasteModel.of(rng.dirichlet(np.ones(3), 5), topics, table)


def population(num_devices: int = 60, **options: object) -> SyntheticEvents:
    wanted = generator(SEED, "made-up activity").integers(1, NUM_ITEMS - 1, num_devices)
    return SyntheticEvents(taste_model(**options), 0, wanted.astype(np.uint16), SEED)


def story(events: SyntheticEvents, rows: np.ndarray) -> list[tuple[list[int], int]]:
    """Training items and held-out item of each device."""
    histories, held_out = events.cut(rows)
    ends = histories.offsets[1:-1]
    return [
        (items.tolist(), int(item))
        for items, item in zip(np.split(histories.items, ends), held_out, strict=True)
    ]


# --- drawing from chances -----------------------------------------------------------------------
chances = st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda row: sum(row) > 1e-3)


@given(chances)
def test_an_alias_table_holds_the_chances_it_was_made_of(row):
    """Without drawing: what a place keeps, and what others send to it, add up to its chance."""
    table = AliasTable.of(np.array([row]))
    stay, width = table.stay[0].astype(float), len(row)
    found = stay.copy()
    np.add.at(found, table.other[0], 1.0 - stay)
    np.testing.assert_allclose(found / width, np.array(row) / sum(row), atol=1e-6)


def test_draws_come_as_often_as_their_chances_say():
    wanted = np.array([[0.5, 0.25, 0.2, 0.05, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
    table, count = AliasTable.of(wanted), 200_000
    drawn = table.draw(np.zeros(count, np.int64), uniforms(SEED, "draws", np.arange(count)))
    found = np.bincount(drawn, minlength=5) / count
    deviation = np.sqrt(wanted[0] * (1 - wanted[0]) / count)
    assert (np.abs(found - wanted[0]) <= 5 * deviation).all()
    assert set(table.draw(np.ones(50, np.int64), np.linspace(0, 1, 50, endpoint=False))) == {2}


@pytest.mark.parametrize("bad", [[[0.0, 0.0]], [[1.0, 1.0], [2.0, -0.1]]])
def test_chances_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="chances must be >= 0"):
        AliasTable.of(np.array(bad))


# --- what a device has done -----------------------------------------------------------------------
@settings(max_examples=40)
@given(rows=st.lists(st.integers(0, 59), min_size=1, max_size=20))
def test_a_device_is_the_same_alone_and_in_any_company(rows):
    events = population()
    alone = [story(events, np.array([row]))[0] for row in rows]
    assert story(events, np.array(rows)) == alone


@pytest.mark.parametrize("num_partitions", [1, 3, 7, 60])
def test_a_device_is_the_same_on_any_node(num_partitions):
    whole = population(hours=True)
    together, hours = story(whole, np.arange(60)), whole.hours(np.arange(60))
    met, met_hours = [], []
    for partition in range(num_partitions):
        first, end = partition_bounds(60, partition, num_partitions)
        part = SyntheticEvents(whole.model, first, whole.num_events[first:end], SEED)
        met += story(part, np.arange(part.num_devices))
        met_hours.append(part.hours(np.arange(part.num_devices)))
    assert met == together
    np.testing.assert_array_equal(np.concatenate(met_hours), hours)


@pytest.mark.parametrize("size", [40, 400])
def test_how_many_are_drawn_together_changes_nothing(monkeypatch, size):
    before = story(population(), np.arange(60))
    monkeypatch.setattr(synthetic_events, "SLOTS_AT_A_TIME", size)
    monkeypatch.setattr(synthetic_events, "CELLS_AT_A_TIME", size)
    assert story(population(), np.arange(60)) == before


def test_a_device_has_as_many_different_items_as_it_says_and_one_more():
    events = population()
    told = story(events, np.arange(60))
    assert [len(items) for items, _ in told] == events.num_events.tolist()
    for items, held_out in told:
        assert held_out not in items
        assert len({*items}) == len(items)
        assert all(0 <= item < NUM_ITEMS for item in [*items, held_out])
    lengths = events.lengths(np.array([3, 3, 8]))
    assert lengths.tolist() == events.num_events[[3, 3, 8]].tolist()


def test_a_longer_history_begins_like_a_shorter_one():
    """The held-out item is the next one: a device with one event more has it in its history."""
    model = taste_model()
    short = SyntheticEvents(model, 0, np.full(20, 6, np.uint16), SEED)
    long = SyntheticEvents(model, 0, np.full(20, 7, np.uint16), SEED)
    rows = np.arange(20)
    for (items, held_out), (more, _) in zip(story(short, rows), story(long, rows), strict=True):
        assert more == [*items, held_out]


def test_two_seeds_are_two_populations():
    ours = population()
    theirs = SyntheticEvents(ours.model, 0, ours.num_events, SEED + 1)
    assert story(ours, np.arange(60)) != story(theirs, np.arange(60))


# --- tastes with too few items --------------------------------------------------------------------
def narrow(num_events: list[int]) -> SyntheticEvents:
    """Everybody likes items 7, 3 and 9 and nothing else."""
    topic = np.zeros((1, 12))
    topic[0, [7, 3, 9]] = 1.0
    return SyntheticEvents(TasteModel.of(np.ones((1, 1)), topic), 0, np.array(num_events), SEED)


def test_a_taste_with_fewer_items_than_wanted_still_ends():
    events = narrow([5, 2, 11])
    (five, _), (two, third), (eleven, last) = story(events, np.arange(3))
    assert {*two, third} == {7, 3, 9}
    assert {*five[:3]} == {7, 3, 9} and five[3:] == [0, 1]  # then the catalogue, in its order
    assert [*eleven[3:], last] == [0, 1, 2, 4, 5, 6, 8, 10, 11]


def test_a_device_in_want_is_the_same_in_any_company():
    """One that wants little is drawn with ones that want much, in more slots than it has."""
    rare = np.full((1, 12), 1e-3)
    rare[0, 0] = 1.0
    model = TasteModel.of(np.ones((1, 1)), rare)
    events = SyntheticEvents(model, 0, np.array([1, 2, 3, 11] * 40), SEED)
    rows = np.arange(events.num_devices)
    assert story(events, rows) == [story(events, rows[row : row + 1])[0] for row in rows]


# --- hours ----------------------------------------------------------------------------------------
def test_an_event_happens_at_an_hour_of_its_taste():
    events = population(hours=True)
    rows = np.arange(60)
    hours = np.split(events.hours(rows), np.cumsum(events.lengths(rows))[:-1])
    tastes = events.model.taste_of(rows, SEED)
    for row in rows:
        assert len(hours[row]) == events.num_events[row]
        assert {*hours[row]} <= {*events.model.taste_hours[tastes[row]]}


def test_events_without_times_have_no_hours():
    with pytest.raises(DataError, match="fitted on events without times"):
        population().hours(np.arange(3))


# --- the tables on disk ---------------------------------------------------------------------------
def test_tables_come_back_as_they_were_written(tmp_path):
    for hours in (True, False):
        model = taste_model(hours=hours)
        model.write(tmp_path)
        again = TasteModel.read(tmp_path)
        for name in ("taste_stay", "taste_other", "topic_stay", "topic_other", "taste_hours"):
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


def test_tables_that_are_missing_or_damaged_are_one_clear_line(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*taste_stay\.npy.*build the world again"):
        TasteModel.read(tmp_path)
    taste_model().write(tmp_path)
    whole = (tmp_path / "topic_other.npy").read_bytes()
    (tmp_path / "topic_other.npy").write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"cannot read .*topic_other\.npy"):
        TasteModel.read(tmp_path)
    objects = np.array([[{"a": 1}]], dtype=object)
    np.save(tmp_path / "topic_other.npy", objects, allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read .*topic_other\.npy"):
        TasteModel.read(tmp_path)


@pytest.mark.parametrize("name", ["taste_other", "topic_stay", "taste_hours"])
def test_tables_of_two_worlds_do_not_fit_together(tmp_path, name):
    taste_model().write(tmp_path)
    other = np.zeros((4, 7), np.uint8)
    np.save(tmp_path / f"{name}.npy", other)
    with pytest.raises(DataError, match="do not fit together"):
        TasteModel.read(tmp_path)
