"""The two samplers: what each may draw, and that it draws nothing else."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.histories import Histories
from models.recommenders.negatives import NegativeSampler
from tests.models.recommenders.made_up import NUM_ITEMS, histories, sampler


def test_leak_closed_can_draw_every_held_out_item():
    closed = sampler("closed")
    for user, items in enumerate(closed.held_out):
        reachable = closed.reachable(user)
        assert reachable[items[items >= 0]].all()
        chosen = set(np.flatnonzero(closed.histories.seen(np.array([user]), NUM_ITEMS)[0]))
        assert set(np.flatnonzero(~reachable)) == chosen


def test_leak_published_spares_every_held_out_item_and_nothing_more():
    closed, published = sampler("closed"), sampler("published")
    for user, items in enumerate(published.held_out):
        spared = closed.reachable(user) & ~published.reachable(user)
        assert set(np.flatnonzero(spared)) == set(items[items >= 0])


def test_leak_closed_does_not_look_at_what_is_held_out():
    users, address = np.arange(6), (1, 2, np.arange(6))
    one = sampler("closed")
    other = dataclasses.replace(one, held_out=np.full((6, 2), -1, np.int32))
    np.testing.assert_array_equal(one.draw(users, address), other.draw(users, address))


@given(
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=5),
    rule=st.sampled_from(["closed", "published"]),
    num_negatives=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_what_is_drawn_is_reachable_and_different_for_each_positive(
    lengths, rule, num_negatives, seed
):
    own = histories(tuple(lengths), 20)
    rng = np.random.default_rng(seed)
    spared = rng.integers(-1, 20, (len(lengths), 2)).astype(np.int32)
    drawing = NegativeSampler(rule, num_negatives, own, spared, 20)
    users = np.arange(len(lengths))
    drawn = drawing.draw(users, (seed, 1, users + 3))
    for user, length in enumerate(lengths):
        reachable = drawing.reachable(user)
        mine = drawn[user, :length]
        assert reachable[mine].all()
        if reachable.sum() >= num_negatives:
            assert all(len(set(row)) == num_negatives for row in mine)


def test_draws_are_uniform_over_what_is_reachable():
    own = Histories(np.array([0, 4]), np.array([0, 5, 6, 11], np.int32))
    drawing = NegativeSampler("closed", 4, own, np.array([[3, -1]], np.int32), 12)
    drawn = np.concatenate(
        [
            drawing.draw(np.array([0]), (7, round_number, np.array([0])))
            for round_number in range(600)
        ]
    )
    counts = np.bincount(drawn.ravel(), minlength=12)
    reachable = drawing.reachable(0)
    assert counts[~reachable].sum() == 0
    expected = drawn.size / reachable.sum()
    assert np.abs(counts[reachable] - expected).max() < 5 * np.sqrt(expected)


def test_a_draw_is_the_same_alone_and_in_company():
    drawing = sampler()
    together = drawing.draw(np.arange(6), (7, 2, np.arange(10, 16)))
    alone = drawing.draw(np.array([3]), (7, 2, np.array([13])))
    np.testing.assert_array_equal(together[3, : alone.shape[1]], alone[0])


@pytest.mark.parametrize("rule", ["closed", "published"])
def test_who_has_nothing_left_may_draw_everything(rule):
    own = Histories(np.array([0, 4]), np.arange(4, dtype=np.int32))
    drawing = NegativeSampler(rule, 6, own, np.array([[-1]], np.int32), 4)
    assert drawing.reachable(0).all()
    assert drawing.draw(np.array([0]), (0, 1, np.array([0]))).max() < 4
