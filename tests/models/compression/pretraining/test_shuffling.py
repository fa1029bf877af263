from itertools import islice

import numpy as np

from models.compression.pretraining.shuffling import POOL_BATCHES, epoch_batches, mixed_batches

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
