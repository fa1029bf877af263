"""Intervals over users *and* seeds, for values that a study measured under several seeds.

                 user 0   user 1   user 2          a replicate draws columns with replacement,
    seed 0         0.3      0        1             and rows with replacement, and takes the mean
    seed 1         0.5      0        0.4           of what was drawn

Users are drawn alike for every variant and every seed, so what they have in common cancels in a
difference: it is paired over users. Drawing rows and columns each for themselves is the pigeonhole
bootstrap of crossed factors [1]; it errs to the wide side for users. With few seeds (3 to 5) it
errs to the narrow side for seeds, as any bootstrap of few does: the spread over seeds is therefore
given beside it. With one seed only users are drawn, as in `models.intervals`.

A user may be missing under a seed (other items are cold there): the mean is over those present.

[1] A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import Interval, PairedBootstrap
from models.seeds import generator

Values = Mapping[int, tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Seed -> users (U,) ascending, and the value of each."""


@dataclass(frozen=True, slots=True)
class SeedInterval:
    """A mean over users and seeds.

    Attributes:
        interval: over users and seeds.
        by_seed: the mean over users of each seed, in their order.
        num_users: different users behind it.
    """

    interval: Interval
    by_seed: tuple[float, ...]
    num_users: int

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; 0 for one seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class SeedBootstrap:
    """Draws that all variants of a study share.

    Attributes:
        users: (U,) all users of all seeds, ascending.
        seeds: all seeds.
        user_weights: (R, U) how often each is drawn.
        seed_weights: (R, S) shares of the seeds drawn, rows sum to 1.
    """

    users: NDArray[np.int64]
    seeds: tuple[int, ...]
    user_weights: NDArray[np.float32]
    seed_weights: NDArray[np.float64]

    @classmethod
    def draw(
        cls, users: NDArray[np.int64], seeds: tuple[int, ...], replicates: int
    ) -> "SeedBootstrap":
        """Draw the replicates, at addresses that do not depend on any seed of the study.

        Raises:
            ValueError: with fewer than 2 users there is nothing to resample.
        """
        known, count = np.unique(users), len(seeds)
        weights = PairedBootstrap.draw(len(known), 0, replicates=replicates).weights
        rng = generator(0, "bootstrap of seeds", count)
        drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=replicates) / count
        return cls(known, seeds, weights, drawn)

    def mean(self, values: Values) -> SeedInterval:
        """Interval of the mean of one variant."""
        by_seed, replicates, num_users = self._drawn(values)
        found = _interval(float(by_seed.mean()), replicates)
        return SeedInterval(found, tuple(map(float, by_seed)), num_users)

    def difference(self, a: Values, b: Values) -> SeedInterval:
        """Interval of mean(a) - mean(b), paired over the users that both have under a seed."""
        return self.mean({seed: _paired(a[seed], b[seed]) for seed in self.seeds})

    def ratio(self, a: Values, b: Values) -> Interval | None:
        """Interval of mean(a) / mean(b), every draw alike for both; None where b may be 0."""
        (own, above, _), (other, below, _) = self._drawn(a), self._drawn(b)
        if not (below > 0).all() or not other.mean() > 0:
            return None
        return _interval(float(own.mean() / other.mean()), above / below)

    def _drawn(self, values: Values) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Means by seed (S,), the mean of each replicate (R,), and how many users there are."""
        table, present = self._table(values)
        by_seed = table.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
        sums, counts = (self.user_weights @ each.T for each in (table, present))  # (R, S)
        means = np.where(counts > 0, sums / np.maximum(counts, 1e-9), by_seed)
        replicates = (means * self.seed_weights).sum(axis=1)
        return by_seed, replicates, int(present.any(axis=0).sum())

    def _table(self, values: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values (S, U), 0 where a user is missing, and who is present."""
        table, present = (np.zeros((len(self.seeds), len(self.users))) for _ in range(2))
        for row, seed in enumerate(self.seeds):
            users, own = values[seed]
            places = np.searchsorted(self.users, users)
            table[row, places] = own
            present[row, places] = 1.0
        return table, present


def _interval(estimate: float, replicates: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))


def _paired(
    a: tuple[NDArray[np.int64], NDArray[np.float64]],
    b: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    both, in_a, in_b = np.intersect1d(a[0], b[0], assume_unique=True, return_indices=True)
    return both, a[1][in_a] - b[1][in_b]
