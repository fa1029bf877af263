"""The comparison of real users with synthetic devices, on people whose likeness is known."""

import numpy as np
import pytest

from models.errors import DataError
from models.histories import Histories
from models.seeds import generator
from simulation.world.fidelity import Closeness, Fidelity, Lens, People, compare_people

NUM_ITEMS = 60


def people(count: int, purpose: str, **changes: float) -> People:
    """Three crowds; each likes a third of the items, the first of them most, mostly by night."""
    options = {"loyalty": 0.9, "longest": 20, "steepness": 0.8, "hour": 21, **changes}
    rng = generator(3, purpose)
    chosen, hours = [], []
    for _ in range(count):
        likes = np.where(np.arange(NUM_ITEMS) % 3 == rng.integers(3), options["loyalty"], 0.1)
        likes = likes / (1 + np.arange(NUM_ITEMS)) ** options["steepness"]
        length = int(rng.integers(3, options["longest"]))
        chosen.append(rng.choice(NUM_ITEMS, length, replace=False, p=likes / likes.sum()))
        hours.append((options["hour"] + rng.integers(0, 3, length)) % 168)
    offsets = np.concatenate([[0], np.cumsum([len(items) for items in chosen])])
    histories = Histories(offsets, np.concatenate(chosen).astype(np.int32))
    return People(histories, np.concatenate(hours).astype(np.uint8))


def compared(**changes: float) -> Fidelity:
    return compare_people(people(300, "real"), people(900, "others", **changes), NUM_ITEMS, 0)


def test_people_like_the_source_differ_no_more_than_its_halves_do():
    found = compared()
    assert (found.num_users, found.num_devices, found.half_size) == (300, 900, 150)
    for name in ("lengths", "popularity", "entropies", "hours"):
        noise = getattr(found.halves, name)
        assert getattr(found.matched, name) < 1.35 * noise, name
        assert getattr(found.whole, name) < noise, name
    assert found.matched.lifts > found.halves.lifts - 0.05
    assert found.whole.lifts > found.matched.lifts > 0.5


@pytest.mark.parametrize(
    ("aspect", "changes"),
    [
        ("lengths", {"longest": 12}),
        ("popularity", {"steepness": 0.0}),
        ("entropies", {"loyalty": 0.1}),
        ("hours", {"hour": 23}),
    ],
)
def test_what_is_different_is_seen(aspect, changes):
    found = compared(**changes)
    assert getattr(found.matched, aspect) > 2 * getattr(found.halves, aspect)


def test_people_without_crowds_do_not_share_the_pairs_of_the_source():
    found = compared(loyalty=0.1)
    assert found.matched.lifts < found.halves.lifts - 0.3


def test_clusters_hold_what_the_same_people_like():
    lens = Lens.of(people(600, "real").histories, NUM_ITEMS, 0)
    of_crowd = [lens.cluster[crowd::3][:8] for crowd in range(3)]
    for first in range(3):
        for second in range(first):
            assert not {*of_crowd[first]} & {*of_crowd[second]}


def test_the_same_seed_says_the_same():
    assert compared().matched == compared().matched
    other = compare_people(people(300, "real"), people(900, "others"), NUM_ITEMS, 1)
    assert other.halves != compared().halves


def test_people_without_times_are_compared_in_all_else():
    real, others = people(50, "real"), people(60, "others")
    found = compare_people(real, People(others.histories, None), NUM_ITEMS, 0)
    assert found.whole.hours is None and found.halves.hours is None
    assert found.real.hours is None
    assert 0 < found.halves.popularity < 1


def test_fewer_devices_than_half_of_the_users_are_matched_by_as_many():
    found = compare_people(people(50, "real"), people(7, "others"), NUM_ITEMS, 0)
    assert found.half_size == 7
    assert [len(portrait.lengths) for portrait in found.half] == [7, 7, 7]


def test_people_without_an_event_do_not_count():
    some = people(20, "real")
    offsets = np.repeat(some.histories.offsets, 2)[:-1]
    padded = People(Histories(offsets, some.histories.items), some.hours)
    assert padded.count == 40 and padded.active().count == 20
    others = people(30, "others")
    found = compare_people(padded, others, NUM_ITEMS, 0)
    assert found.num_users == 20
    assert found.whole == compare_people(some, others, NUM_ITEMS, 0).whole


def test_some_people_keep_their_events_and_hours():
    all_of_them = people(9, "real")
    some = all_of_them.some(np.array([7, 2]))
    offsets = all_of_them.histories.offsets
    start, end = offsets[2], offsets[3]
    assert some.histories.items[-(end - start) :].tolist() == (
        all_of_them.histories.items[start:end].tolist()
    )
    assert some.hours[-(end - start) :].tolist() == all_of_them.hours[start:end].tolist()


def test_too_few_people_are_one_clear_line():
    with pytest.raises(DataError, match=r"3 users and 9 devices .* takes 4 users or more"):
        compare_people(people(3, "real"), people(9, "others"), NUM_ITEMS, 0)
    nobody = People(Histories(np.zeros(5, np.int64), np.zeros(0, np.int32)), None)
    with pytest.raises(DataError, match="0 devices"):
        compare_people(people(9, "real"), nobody, NUM_ITEMS, 0)


def test_a_mean_of_closeness_is_taken_aspect_by_aspect():
    first = Closeness(0.1, 0.2, 0.3, 0.4, None)
    second = Closeness(0.3, 0.2, 0.1, 0.0, None)
    assert Closeness.mean([first, second]) == Closeness(
        pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2), None
    )
