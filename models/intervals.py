"""Paired bootstrap intervals over users.

Users are drawn with replacement and *every arm sees the same draw*, so what users have in common
cancels in a difference or a ratio. Percentile intervals of the replicates [1].

[1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.seeds import generator


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds of its two-sided interval."""

    mean: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether zero lies outside, as a difference that is told apart from none does."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True)
class PairedBootstrap:
    """Resampling weights shared by all arms.

    Attributes:
        weights: (R, U) how often each user is drawn in each replicate, rows sum to U.
        confidence: the coverage of the intervals, e.g. 0.95.
    """

    weights: NDArray[np.float32]
    confidence: float = 0.95

    @classmethod
    def draw(cls, num_users: int, seed: int, *, replicates: int = 2000) -> "PairedBootstrap":
        """Draw the replicates at the address (seed, "bootstrap").

        Raises:
            ValueError: with fewer than 2 users there is nothing to resample.
        """
        if num_users < 2:
            raise ValueError(f"a bootstrap needs at least 2 users, got {num_users}")
        rng = generator(seed, "bootstrap")
        chances = np.full(num_users, 1.0 / num_users)
        return cls(rng.multinomial(num_users, chances, size=replicates).astype(np.float32))

    def _means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.weights @ values / len(values), dtype=np.float64)

    def _interval(self, estimate: float, replicates: NDArray[np.float64]) -> Interval:
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(replicates, [tail, 1.0 - tail])
        return Interval(estimate, float(low), float(high))

    def mean(self, values: NDArray[np.float64]) -> Interval:
        """Interval of the mean of one arm's per-user values (U,)."""
        return self._interval(float(values.mean()), self._means(values))

    def difference(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> Interval:
        """Interval of mean(a) - mean(b), both (U,) over the same users in the same order."""
        return self._interval(float(a.mean() - b.mean()), self._means(a - b))

    def ratio(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> Interval | None:
        """Interval of mean(a) / mean(b), or None where it cannot be told.

        It cannot when b is zero for so many users that replicates divide by zero more often than
        the tail of the interval allows; rarer ones are left out.
        """
        below = self._means(b)
        usable = below > 0.0
        if not b.any() or (~usable).mean() > (1.0 - self.confidence) / 2.0:
            return None
        return self._interval(float(a.mean() / b.mean()), self._means(a)[usable] / below[usable])
