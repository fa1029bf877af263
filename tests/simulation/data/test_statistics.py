import pytest

from simulation.data.statistics import describe
from tests.simulation.data.made_up import interactions

DAY = 86_400


def test_numbers_that_a_person_can_check():
    rows = [("u", str(item), item * DAY) for item in range(4)] + [("v", "0", 10 * DAY)]
    stats = describe(interactions(rows, texts=["one two", *["word"] * 10]))
    assert (stats.num_users, stats.num_items, stats.num_events) == (2, 11, 5)
    assert stats.density == pytest.approx(5 / (2 * 11))
    assert stats.events_per_user == pytest.approx((1, 1.75, 2.5, 3.25, 3.85, 4))
    assert (stats.first_time_s, stats.last_time_s) == (0, 10 * DAY)
    # A tenth of 11 items, rounded up, is 2 items: item 0 with two events and one with one.
    assert stats.top_decile_share == pytest.approx(3 / 5)
    assert stats.items_without_events == 7
    assert stats.mean_text_words == pytest.approx(12 / 11)
    assert stats.private_text_share == 0
    assert "time: 1970-01-01 to 1970-01-11 (10 days)" in stats.lines()


def test_without_times_there_is_no_span():
    stats = describe(interactions([("u", "0", None), ("u", "1", None)]))
    assert stats.first_time_s == -1
    assert "time: none" in stats.lines()
