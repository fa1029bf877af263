"""Who is served how well: means of slices of users, and the worst of them beside every mean.

    slicing "activity"     1-9 events | 10-20 | 21-60 | over 60       each user in one slice or none
    slicing "held-out item"  cold | warm

A user belongs to a slice by itself (tier, activity, a short history) or by the item that was held
out for it (cold, popularity, time). All slices of all slicings are one family: their intervals hold
together (`models.intervals`). The worst slice is the one with the lowest mean; being picked as the
lowest of many, its mean is lower than the truth is, which the joint interval allows for.

A slice of fewer than `MIN_USERS` users has a size but no figure: its interval would be as wide as
the range of the metric, and it would be picked as the worst by chance.

A slice in which a metric of range 0 .. 1 is 0 for everybody has no spread to resample, and its
bootstrap interval would be the point 0. What n such users do show is that others are rare: with the
tail t of the interval at most 1 - t^(1/n) of all users have a value above 0 [1], and no mean can be
larger. That is its upper bound, t divided by the number of slices.

[1] C. Clopper, E. Pearson, Biometrika 1934, for 0 of n; J. Hanley, A. Lippman-Hand, "If Nothing
    Goes Wrong, Is Everything All Right?", JAMA 1983.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.evaluation.checks import FloatArray, IntArray
from models.intervals import Interval, PairedBootstrap, holm

MIN_USERS = 30
"""A slice of fewer users is counted and not measured."""

IN_NONE = -1
"""Membership of a user who is in no slice of a slicing."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to cut users into slices.

    Attributes:
        dimension: what it cuts by, e.g. "activity".
        names: of its slices.
        member: (U,) the slice of each user, an index in `names`, or `IN_NONE`.

    >>> Slicing("tier", ("low", "high"), np.array([0, 1, 1, -1])).sizes().tolist()
    [1, 2]
    """

    dimension: str
    names: tuple[str, ...]
    member: IntArray

    def sizes(self) -> IntArray:
        """How many users each slice has."""
        return np.bincount(self.member[self.member != IN_NONE], minlength=len(self.names))


@dataclass(frozen=True, slots=True)
class SliceMean:
    """One slice under one arm, or under the difference of two.

    Attributes:
        dimension: what the slicing cuts by.
        name: of the slice.
        num_users: how many users it has.
        interval: mean and simultaneous interval, None below `MIN_USERS` users.
        p_value: of "the mean is 0" after Holm's correction; for differences. None as `interval`.

    >>> SliceMean("tier", "low", 3, None, None).interval is None
    True
    """

    dimension: str
    name: str
    num_users: int
    interval: Interval | None
    p_value: float | None


def by_tier(tier: NDArray[np.integer], names: Sequence[str]) -> Slicing:
    """By class of device.

    >>> by_tier(np.array([1, 0, 1]), ["low", "high"]).sizes().tolist()
    [1, 2]
    """
    return Slicing("tier", tuple(names), np.asarray(tier, dtype=np.int64))


def by_activity(num_events: NDArray[np.integer], *, parts: int = 4) -> Slicing:
    """By how many training events a user has, in parts of about equal numbers of users.

    >>> by_activity(np.array([1, 1, 5, 9]), parts=2).names
    ('1 events', '5-9 events')
    """
    part = equal_parts(num_events, parts)
    present = np.unique(part)  # ties may leave a part empty
    spans = [num_events[part == each] for each in present]
    names = tuple(f"{_span(int(each.min()), int(each.max()))} events" for each in spans)
    return Slicing("activity", names, np.searchsorted(present, part))


def by_cold_user(num_events: NDArray[np.integer], *, at_most: int = 5) -> Slicing:
    """Users with no more than `at_most` training events, and all others.

    >>> by_cold_user(np.array([1, 5, 6])).sizes().tolist()
    [2, 1]
    """
    names = (f"cold: at most {at_most} events", "warm")
    return Slicing("user", names, np.where(num_events <= at_most, 0, 1))


def by_cold_item(held_out: NDArray[np.integer], item_is_cold: NDArray[np.bool_]) -> Slicing:
    """Users whose held-out item nobody chose in training, and all others.

    Args:
        held_out: (U,) item of each user, all >= 0.
        item_is_cold: (N,).

    >>> by_cold_item(np.array([0, 2, 2]), np.array([True, False, False])).sizes().tolist()
    [1, 2]
    """
    return Slicing("held-out item", ("cold", "warm"), np.where(item_is_cold[held_out], 0, 1))


def by_popularity(
    held_out: NDArray[np.integer], popularity: NDArray[np.integer], *, parts: int = 10
) -> Slicing:
    """By the popularity of the held-out item: tenths of the *items*, the least chosen first.

    Items chosen equally often are in one tenth; a tenth that all its items left to a neighbour in
    this way is empty. Users are spread unevenly: most chose items of the top tenths.

    Args:
        held_out: (U,) item of each user, all >= 0.
        popularity: (N,) how often each item was chosen in training.
        parts: into how many parts the items are cut.

    >>> by_popularity(np.array([0, 3, 3]), np.array([1, 2, 3, 9]), parts=2).sizes().tolist()
    [1, 2]
    """
    part = equal_parts(popularity, parts)
    names = tuple(f"part {index + 1} of {parts}" for index in range(parts))
    return Slicing("popularity of item", names, part[held_out])


def by_time(time_s: NDArray[np.integer | np.floating], *, parts: int = 4) -> Slicing:
    """By when the held-out event happened, in parts of about equal numbers of users.

    >>> by_time(np.array([10, 20, 30, 40]), parts=2).sizes().tolist()
    [2, 2]
    """
    names = tuple(f"part {index + 1} of {parts}" for index in range(parts))
    return Slicing("time of held-out event", names, equal_parts(time_s, parts))


def equal_parts(values: NDArray[np.integer | np.floating], parts: int) -> IntArray:
    """Cut by rank into parts of about equal size; equal values are never parted, (n,).

    part = floor(parts x (mean rank - 1/2) / n), ranks from 1.

    >>> equal_parts(np.array([5, 5, 5, 7]), 2).tolist(), equal_parts(np.array([4, 1]), 2).tolist()
    ([0, 0, 0, 1], [1, 0])
    """
    middle = (rankdata(values) - 0.5) / max(len(values), 1)
    return np.asarray(np.floor(parts * middle).astype(np.int64))


def slice_means(
    values: FloatArray, slicings: Sequence[Slicing], bootstrap: PairedBootstrap
) -> tuple[SliceMean, ...]:
    """Measure every slice; empty ones are left out.

    Args:
        values: (U,) a metric of one arm; or the differences of two arms, user by user.
        slicings: over the same users in the same order.
        bootstrap: the draws that all arms share, over the same users.

    >>> tiers = by_tier(np.repeat([0, 1], [40, 2]), ["low", "high"])
    >>> rows = slice_means(np.ones(42), [tiers], PairedBootstrap.draw(42, 0, replicates=50))
    >>> [(row.name, row.num_users, row.interval) for row in rows]
    [('low', 40, Interval(mean=1.0, low=1.0, high=1.0)), ('high', 2, None)]
    """
    cells = [
        (slicing, index, int(size))
        for slicing in slicings
        for index, size in enumerate(slicing.sizes())
        if size
    ]
    measured = [cell for cell in cells if cell[2] >= MIN_USERS]
    found: dict[tuple[str, int], tuple[Interval, float]] = {}
    if measured:
        member = np.stack([slicing.member == index for slicing, index, _ in measured], axis=1)
        intervals, p_values = bootstrap.group_means(values, member)
        if values.min() >= 0.0 and values.max() <= 1.0:
            tail = (1.0 - bootstrap.confidence) / 2.0 / len(measured)
            sizes = [size for _, _, size in measured]
            intervals = tuple(map(bounded, intervals, sizes, [tail] * len(sizes)))
        keys = [(slicing.dimension, index) for slicing, index, _ in measured]
        found = dict(zip(keys, zip(intervals, holm(p_values).tolist(), strict=True), strict=True))
    rows = []
    for slicing, index, size in cells:
        interval, p_value = found.get((slicing.dimension, index), (None, None))
        rows.append(SliceMean(slicing.dimension, slicing.names[index], size, interval, p_value))
    return tuple(rows)


def worst_slice(rows: Sequence[SliceMean]) -> SliceMean | None:
    """The measured slice with the lowest mean, the largest of equals; None if none was measured.

    >>> low, high = Interval(0.1, 0.0, 0.2), Interval(0.3, 0.2, 0.4)
    >>> rows = [SliceMean("tier", "a", 50, high, 0.0), SliceMean("tier", "b", 40, low, 0.0)]
    >>> worst_slice([*rows, SliceMean("tier", "c", 2, None, None)]).name
    'b'
    """
    measured = [(row.interval.mean, -row.num_users, row) for row in rows if row.interval]
    return min(measured, key=lambda found: found[:2])[2] if measured else None


def bounded(found: Interval, num_users: int, tail: float) -> Interval:
    """An interval that is not the point 0 because nobody of few users had a value above 0.

    Args:
        found: of a metric of range 0 .. 1.
        num_users: how many were looked at.
        tail: chance left above the upper bound.

    >>> bounded(Interval(0.0, 0.0, 0.0), 100, 0.025).high < 0.037
    True
    """
    return Interval(0.0, 0.0, 1.0 - tail ** (1.0 / num_users)) if found.high == 0.0 else found


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}-{high}"
