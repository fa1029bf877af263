"""Columns of a program become the checked table."""

import pytest

from models.errors import DataError
from simulation.data.in_memory import interactions_of
from simulation.data.interactions import Columns

TEXTS = ["a film", "a book", "a song"]


def test_items_keep_their_numbers_and_users_their_ids():
    table = interactions_of([5, 5, 31, 31], [2, 0, 1, 2], [10, 20, 30, 40], TEXTS)
    users = table.users[table.events[Columns.USER]]
    found = sorted(zip(users.tolist(), table.events[Columns.ITEM].tolist(), strict=True))
    assert found == [("31", 1), ("31", 2), ("5", 0), ("5", 2)]
    assert table.items[Columns.TEXT].tolist() == TEXTS and table.has_time


def test_without_times_there_are_none():
    assert not interactions_of(["a"], [0], None, TEXTS).has_time


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="columns must be of one length"):
        interactions_of(["a", "b"], [0], [1, 2], TEXTS)


def test_an_item_without_text_is_refused():
    with pytest.raises(DataError, match=r"items \[1\] have no text"):
        interactions_of(["a"], [0], [1], ["a film", " "])


def test_an_item_outside_the_catalogue_is_counted():
    table = interactions_of(["a", "a"], [0, 7], [1, 2], TEXTS)
    assert table.intake.unknown_items == 1 and table.num_events == 1
