"""The detector tells the habitual sampler from an honest one; whoever plants a leak is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.leaks import (
    TrainingNegatives,
    can_be_drawn,
    raise_if_spared,
    seen_in_training,
    validation_sees_test,
    watch_draws,
)
from models.histories import Histories
from models.negatives import LeakError, Negatives
from models.seeds import generator
from simulation.data.splits import SplitSettings, split
from simulation.world.build import pooled_histories
from tests.simulation.data.made_up import interactions

NOBODY_COLD = {"cold_items": 0, "cold_users": 0, "cold_user_events": 5}


NUM_ITEMS = 40


class Habitual:
    """As the sampler of neural collaborative filtering is usually written: from all the data."""

    def __init__(self, chosen_ever: list[set[int]]) -> None:
        self.chosen_ever = chosen_ever

    def reachable(self, user: int) -> np.ndarray:
        free = np.ones(NUM_ITEMS, bool)
        free[list(self.chosen_ever[user])] = False
        return free

    def draw(self, user: int, count: int) -> np.ndarray:
        return generator(1, "habitual", user).choice(np.flatnonzero(self.reachable(user)), count)


def world(seed=0, num_users=60):
    """Training histories and one held-out item per user; every fifth user has none."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(NUM_ITEMS)[:9].tolist() for _ in range(num_users)]
    held_out = np.array([mine[-1] for mine in chosen])
    held_out[::5] = -1
    train = [mine if item < 0 else mine[:-1] for mine, item in zip(chosen, held_out, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(mine) for mine in train])])
    histories = Histories(offsets, np.concatenate(train).astype(np.int32))
    return histories, held_out, [set(mine) for mine in chosen]


def test_leak_the_habitual_sampler_is_flagged_for_every_user():
    _, held_out, chosen_ever = world()
    found = can_be_drawn(Habitual(chosen_ever), held_out)
    np.testing.assert_array_equal(found, held_out < 0)
    with pytest.raises(LeakError, match=r"spares the held-out item of 48 of 48 users \(1, 2, 3"):
        raise_if_spared(Habitual(chosen_ever), held_out)


@pytest.mark.parametrize("num_negatives", [0, 4])
def test_leak_the_products_own_sampler_passes(num_negatives):
    histories, held_out, _ = world()
    own = TrainingNegatives(Negatives(num_negatives), histories, NUM_ITEMS)
    assert can_be_drawn(own, held_out).all()
    raise_if_spared(own, held_out)


@settings(max_examples=40)
@given(data=st.data())
def test_leak_planted_for_some_users_is_found_for_these_and_no_others(data):
    histories, held_out, chosen_ever = world()
    planted = data.draw(st.sets(st.integers(0, len(held_out) - 1)))
    known = [
        set(histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist())
        for user in range(len(held_out))
    ]
    for user in planted:
        known[user] = chosen_ever[user]
    spared = np.flatnonzero(~can_be_drawn(Habitual(known), held_out))
    assert spared.tolist() == sorted(user for user in planted if held_out[user] >= 0)


def test_leak_what_the_product_draws_is_what_it_says_it_can_draw():
    """A sampler could declare one thing and draw another: the held-out items do come."""
    histories, held_out, _ = world()
    users, reachable = np.arange(60), np.full(60, NUM_ITEMS)
    own = TrainingNegatives(Negatives(60), histories, NUM_ITEMS)
    drawn = own.negatives.draw(histories, users, NUM_ITEMS, (0, 0, users))
    reachable = np.array([own.reachable(user).sum() for user in users])
    found = watch_draws(drawn, held_out, reachable)
    assert not found.looks_spared()
    assert found.hits == pytest.approx(found.expected, rel=0.3)


def test_leak_a_sampler_that_cannot_be_asked_is_found_by_its_draws():
    histories, held_out, chosen_ever = world()
    drawn = np.stack([Habitual(chosen_ever).draw(user, 20) for user in range(60)])
    reachable = NUM_ITEMS - np.array(
        [len(np.unique(histories.items[a:b]))
         for a, b in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)]
    )  # fmt: skip
    found = watch_draws(drawn, held_out, reachable)
    assert found.hits == 0 and found.looks_spared()
    few = watch_draws(drawn[:, :0], held_out, reachable)
    assert not few.looks_spared()  # nothing was watched, nothing is claimed


def test_leak_an_honest_sampler_is_seldom_accused():
    rng, accused = np.random.default_rng(0), 0
    for _ in range(200):
        drawn = rng.integers(0, NUM_ITEMS, (30, 8))
        watched = watch_draws(drawn, np.full(30, 7), np.full(30, NUM_ITEMS))
        accused += watched.looks_spared(0.05)
    assert accused <= 22


ROWS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.integers(0, 6).map(str), st.integers(0, 5)),
    min_size=1,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=40)
@given(
    rows=ROWS,
    rule=st.sampled_from(["leave-last-out", "global-time", "random"]),
    ties=st.sampled_from(["last-row", "first-row"]),
    seed=st.integers(0, 5),
)
def test_leak_no_split_trains_on_what_it_holds_out_nor_validates_on_the_test(
    rows, rule, ties, seed
):
    data = interactions(rows)

    def made(target):
        how = SplitSettings(
            rule=rule,
            ties=ties,
            fraction=0.3,
            target=target,
            **NOBODY_COLD,
        )
        return split(data, how, seed)

    test, validation = made("test"), made("validation")
    for parts in (test, validation):
        pool = pooled_histories(parts)
        assert not len(seen_in_training(pool.offsets, pool.items, parts.held_out))
    pool = pooled_histories(validation)
    assert not len(
        validation_sees_test(pool.offsets, pool.items, validation.held_out, test.held_out)
    )


def test_leak_planted_in_a_split_is_found():
    data = interactions([("u", "0", 1), ("u", "1", 2), ("u", "2", 3), ("v", "0", 1), ("v", "1", 2)])
    settings_ = {"rule": "leave-last-out", "ties": "last-row", "fraction": 0.3}
    test = split(data, SplitSettings(**settings_, **NOBODY_COLD, target="test"), 0)
    pool = pooled_histories(test)
    user = int(np.flatnonzero(np.diff(pool.offsets) == 2)[0])
    planted = test.held_out.copy()
    planted[user] = pool.items[pool.offsets[user]]
    assert seen_in_training(pool.offsets, pool.items, planted).tolist() == [user]
    # Tuning on the training part of the test split, with the test item to find, is tuning on it.
    both = validation_sees_test(pool.offsets, pool.items, test.held_out, test.held_out)
    assert both.tolist() == [0, 1]
