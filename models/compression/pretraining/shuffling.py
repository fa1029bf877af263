"""The order in which texts are learnt: at random, but like lengths share a batch.

    shuffled rows | shuffled rows | ...        a pool is the rows of 32 batches
      sorted by length inside each pool, cut into batches, the batches shuffled

Little padding is computed, and which texts meet in a pool is still chance. Every draw has an
address, so a run that goes on in epoch 3 learns what an unbroken one does.
"""

from collections.abc import Iterator

import numpy as np

from models.seeds import generator

POOL_BATCHES = 32
"""Batches that are sorted by length together."""


def epoch_batches(
    lengths: np.ndarray, batch_size: int, seed: int, purpose: str, epoch: int
) -> list[np.ndarray]:
    """Return batches of row numbers in which every row stands once.

    Args:
        lengths: (n,) int, of the texts.
        batch_size: rows per batch; the last ones of a pool may have fewer.
        seed: of the run.
        purpose: address of the draws.
        epoch: address too.
    """
    rng = generator(seed, purpose, epoch)
    order = rng.permutation(len(lengths))
    size = POOL_BATCHES * batch_size
    batches = [
        batch
        for start in range(0, len(order), size)
        for batch in _by_length(order[start : start + size], lengths, batch_size)
    ]
    return [batches[place] for place in rng.permutation(len(batches))]


def mixed_batches(
    lengths: np.ndarray, num_labelled: int, labelled_share: float, batch_size: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield batches without end; labelled and other rows meet in a fixed share over each pool.

    Rows are drawn without putting back: all labelled ones once, then all once again, and the
    others likewise, at their own pace.

    Args:
        lengths: (n,) int; the first `num_labelled` rows are the labelled ones.
        num_labelled: at least 1.
        labelled_share: of the rows drawn, above 0; 1 if there are no others.
        batch_size: rows per batch, all of them full.
        seed: of the run.
    """
    size = POOL_BATCHES * batch_size
    labelled = _endless(num_labelled, seed, "labelled")
    others = _endless(len(lengths) - num_labelled, seed, "others")
    from_labelled = round(labelled_share * size) if num_labelled < len(lengths) else size
    pool_number = 0
    while True:
        rows = [next(labelled) for _ in range(from_labelled)]
        rows += [num_labelled + next(others) for _ in range(size - from_labelled)]
        batches = _by_length(np.asarray(rows), lengths, batch_size)
        for place in generator(seed, "mixed-batches", pool_number).permutation(len(batches)):
            yield batches[place]
        pool_number += 1


def weighted_batches(
    lengths: np.ndarray,
    weights: np.ndarray,
    batch_size: int,
    steps: int,
    done: int,
    seed: int,
    purpose: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the steps that are left, each with its full batch of rows drawn by weight.

    Over the whole run a row comes its expected number of times, rounded down or up, and not as
    often as chance has it: with equal weights no two counts differ by more than one (systematic
    sampling, W. G. Madow, Annals of Mathematical Statistics 1949).

    Args:
        lengths: (n,) int, of the texts.
        weights: (n,) float64, sums to 1.
        batch_size: rows per batch.
        steps: of the whole run.
        done: steps that are over.
        seed: of the run.
        purpose: address of the draws.
    """
    rng = generator(seed, purpose)
    drawn = rng.permutation(
        np.repeat(np.arange(len(lengths)), _counts(weights, steps * batch_size, rng))
    )
    size = POOL_BATCHES * batch_size
    for first in range(done // POOL_BATCHES * POOL_BATCHES, steps, POOL_BATCHES):
        pool = drawn[first * batch_size :][:size]
        batches = _by_length(pool, lengths, batch_size)
        order = generator(seed, f"{purpose}/pools", first).permutation(len(batches))
        for step, place in enumerate(order, start=first):
            if step >= done:
                yield step, batches[place]


def _counts(weights: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each row is drawn: `draws * weight`, rounded down or up, in all `draws`."""
    ends = np.concatenate([[0.0], draws * np.cumsum(weights)])
    ends[-1] = draws  # whatever the sum of the weights lost in rounding
    return np.diff(np.floor(ends - rng.random())).astype(np.int64)


def _by_length(rows: np.ndarray, lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def _endless(count: int, seed: int, purpose: str) -> Iterator[int]:
    round_number = 0
    while count:
        yield from generator(seed, f"mixed-rows/{purpose}", round_number).permutation(count)
        round_number += 1
