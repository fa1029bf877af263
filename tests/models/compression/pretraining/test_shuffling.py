from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.compression.pretraining.shuffling import (
    POOL_BATCHES,
    epoch_batches,
    mixed_batches,
    weighted_batches,
)

LENGTHS = np.random.default_rng(0).integers(3, 40, size=500)


def test_an_epoch_has_every_row_once():
    batches = epoch_batches(LENGTHS, 8, 0, "test", 0)
    assert sorted(np.concatenate(batches)) == list(range(500))
    again, other = (epoch_batches(LENGTHS, 8, 0, "test", epoch) for epoch in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(batches, other, strict=True))


def test_like_lengths_share_a_batch():
    def padding(batches):
        return np.mean([1 - LENGTHS[rows].mean() / LENGTHS[rows].max() for rows in batches])

    chance = np.random.default_rng(1).permutation(496).reshape(-1, 8)
    assert padding(epoch_batches(LENGTHS, 8, 0, "test", 0)) < 0.3 * padding(chance)


def test_labelled_and_others_meet_in_their_share():
    pool = list(islice(mixed_batches(LENGTHS, 100, 0.25, 4, 0), POOL_BATCHES))
    rows = np.concatenate(pool)
    assert {len(batch) for batch in pool} == {4}
    assert (rows < 100).sum() == POOL_BATCHES  # a quarter of 4 a batch


def test_no_row_comes_again_before_all_have_come():
    rows = np.concatenate(list(islice(mixed_batches(LENGTHS, 500, 0.5, 4, 0), POOL_BATCHES)))
    assert len(set(rows)) == len(rows)
    many = np.concatenate(list(islice(mixed_batches(LENGTHS[:10], 4, 0.5, 4, 0), 2 * POOL_BATCHES)))
    counts = np.bincount(many, minlength=10)
    assert np.ptp(counts[:4]) <= 1
    assert np.ptp(counts[4:]) <= 1


@given(
    weights=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=60),
    steps=st.integers(1, 3 * POOL_BATCHES),
    batch_size=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_a_weighted_row_comes_as_often_as_it_should(weights, steps, batch_size, seed):
    shares = np.asarray(weights) / sum(weights)
    course = (LENGTHS[: len(shares)], shares, batch_size, steps)
    batches = dict(weighted_batches(*course, 0, seed, "test"))
    assert sorted(batches) == list(range(steps))
    assert {len(rows) for rows in batches.values()} == {batch_size}
    counts = np.bincount(np.concatenate(list(batches.values())), minlength=len(shares))
    assert (np.abs(counts - steps * batch_size * shares) < 1 + 1e-6).all()


@given(done=st.integers(0, 100), seed=st.integers(0, 99))
def test_weighted_batches_go_on_where_they_were(done, seed):
    course = (LENGTHS, np.full(500, 1 / 500), 4, 100)
    whole = list(weighted_batches(*course, 0, seed, "test"))
    rest = list(weighted_batches(*course, done, seed, "test"))
    assert [step for step, _ in rest] == list(range(done, 100))
    for (_, rows), (_, again) in zip(whole[done:], rest, strict=True):
        assert np.array_equal(rows, again)
