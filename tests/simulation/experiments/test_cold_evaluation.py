import numpy as np
import pytest

from models.errors import DataError
from models.metrics import metrics_of_ranks
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT
from simulation.experiments.cold_evaluation import PROTOCOLS, ColdReferee
from tests.tiny_world import NUM_ITEMS, made_up_split


def test_ranks_are_those_of_the_loop_a_person_would_write():
    parts = made_up_split(cold_items=0.3, cold_users=0.5)
    referee = ColdReferee.for_split(parts)
    assert len(referee.users) > 20
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 12, (len(referee.users), NUM_ITEMS)).astype(np.float32)  # with ties
    found = referee.values(scores)
    events = parts.interactions.events
    for protocol in PROTOCOLS:
        ranks, negatives = [], []
        for row, user in enumerate(referee.users):
            mine = set(events[Columns.ITEM][events[Columns.USER] == user])
            target = parts.cold_held_out[user]
            rivals = [
                item
                for item in range(NUM_ITEMS)
                if item not in mine and (protocol == "cold-among-all" or parts.cold_item[item])
            ]
            own = scores[row, target]
            above = sum(scores[row, item] > own for item in rivals)
            ranks.append(above + 0.5 * sum(scores[row, item] == own for item in rivals))
            negatives.append(len(rivals))
        expected = metrics_of_ranks(np.array(ranks, dtype=np.float64), np.array(negatives))
        for metric, values in expected.items():
            np.testing.assert_allclose(found[protocol][metric], values)
    assert (parts.cold_held_out[referee.users] == referee.held_out).all()
    assert (referee.cold_user == parts.cold_user[referee.users]).all()


def test_without_cold_items_nobody_is_asked():
    parts = made_up_split()
    assert (parts.cold_held_out == NOTHING_HELD_OUT).all() and len(parts.left_out) == 0
    referee = ColdReferee.for_split(parts)
    assert len(referee.users) == 0
    values = referee.values(np.zeros((0, NUM_ITEMS), np.float32))
    assert all(len(value) == 0 for each in values.values() for value in each.values())


def test_scores_of_other_users_are_refused():
    referee = ColdReferee.for_split(made_up_split(cold_items=0.3))
    with pytest.raises(DataError, match="a row per user with a cold held-out item"):
        referee.values(np.zeros((40, NUM_ITEMS), np.float32))
