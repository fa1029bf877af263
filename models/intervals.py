"""Paired bootstrap intervals over users.

Users are drawn with replacement and *every arm sees the same draw*, so what users have in common
cancels in a difference or a ratio. Two kinds of interval from the same replicates:

- "percentile": the quantiles of the replicates [1, chapter 13]. The default: it never leaves the
  range of the metric, it is what all published figures of this project use, and with hundreds of
  users it covers as often as it says (docs/metrics.md has the measured coverage).
- "bca": quantiles shifted for bias and skewness [1, chapter 14]. For small groups of users whose
  values are mostly 0; with every value 0 it falls back on the percentiles.

Many intervals at once. Twenty slices with an interval of 95 % each are all right together far less
often than 95 %. `group_means` gives *simultaneous* percentile intervals [2]: the smallest box of
equal tails that holds all groups' means in 95 % of the replicates. Groups share draws, so groups
that overlap cost less than Bonferroni would take. Differences are judged by p-values with Holm's
correction [3]: `holm`.

[1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993.
[2] M. Mandel, R. Betensky, "Simultaneous confidence intervals based on the percentile bootstrap
    approach", Computational Statistics and Data Analysis 2008.
[3] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 1979.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from models.seeds import generator

FloatArray = NDArray[np.float64]
Method = Literal["percentile", "bca"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds of its two-sided interval.

    >>> Interval(0.02, 0.01, 0.03).excludes_zero(), Interval(0.02, -0.01, 0.05).excludes_zero()
    (True, False)
    """

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
        method: "percentile" or "bca", see the module; ratios and groups are always "percentile".

    All four ways to draw two users: means of 0 and 1 are then 0, 1/2, 1/2 and 1.

    >>> four = PairedBootstrap(np.array([[2, 0], [1, 1], [1, 1], [0, 2]], np.float32), 0.5)
    >>> four.mean(np.array([0.0, 1.0]))
    Interval(mean=0.5, low=0.375, high=0.625)
    >>> four.difference(np.array([0.3, 1.3]), np.array([0.0, 1.0])).excludes_zero()
    True
    """

    weights: NDArray[np.float32]
    confidence: float = 0.95
    method: Method = "percentile"

    @classmethod
    def draw(
        cls, num_users: int, seed: int, *, replicates: int = 2000, method: Method = "percentile"
    ) -> "PairedBootstrap":
        """Draw the replicates at the address (seed, "bootstrap").

        Raises:
            ValueError: with fewer than 2 users there is nothing to resample.
        """
        if num_users < 2:
            raise ValueError(f"a bootstrap needs at least 2 users, got {num_users}")
        rng = generator(seed, "bootstrap")
        chances = np.full(num_users, 1.0 / num_users)
        weights = rng.multinomial(num_users, chances, size=replicates).astype(np.float32)
        return cls(weights, method=method)

    @property
    def _tail(self) -> float:
        return (1.0 - self.confidence) / 2.0

    def _means(self, values: FloatArray) -> FloatArray:
        return np.asarray(self.weights @ values / len(values), dtype=np.float64)

    def _interval(self, estimate: float, replicates: FloatArray) -> Interval:
        low, high = np.quantile(replicates, [self._tail, 1.0 - self._tail])
        return Interval(estimate, float(low), float(high))

    def mean(self, values: FloatArray) -> Interval:
        """Interval of the mean of one arm's per-user values (U,)."""
        replicates = self._means(values)
        if self.method == "percentile":
            return self._interval(float(values.mean()), replicates)
        tails = _bca_tails(values, replicates, self._tail)
        low, high = np.quantile(replicates, tails)
        return Interval(float(values.mean()), float(low), float(high))

    def difference(self, a: FloatArray, b: FloatArray) -> Interval:
        """Interval of mean(a) - mean(b), both (U,) over the same users in the same order."""
        found = self.mean(a - b)
        return Interval(float(a.mean() - b.mean()), found.low, found.high)

    def p_value(self, a: FloatArray, b: FloatArray) -> float:
        """Two-sided p-value of "mean(a) = mean(b)": twice the smaller tail of the replicates.

        p = 2 min(1 + #{d* <= 0}, 1 + #{d* >= 0}) / (R + 1), at most 1: below 0.05 where the
        percentile interval of 95 % leaves zero out. It cannot fall below 2 / (R + 1).
        """
        return float(_p_values(self._means(a - b)[:, None])[0])

    def group_means(
        self, values: FloatArray, member: NDArray[np.bool_]
    ) -> tuple[tuple[Interval, ...], FloatArray]:
        """Means of groups of users, with simultaneous intervals.

        Args:
            values: (U,) of one arm, or differences of two.
            member: (U, S) which users are in which group; groups may overlap, none may be empty.

        Returns:
            S intervals that hold together with the confidence, and the p-values (S,) of "the mean
            is 0", each for itself: pass these to `holm`.
        """
        sizes = member.sum(axis=0)
        if not sizes.all():
            raise ValueError(f"{int((sizes == 0).sum())} of {len(sizes)} groups have no users")
        inside = member.astype(np.float32)
        drawn = np.asarray(self.weights @ inside, dtype=np.float64)  # (R, S)
        means = (values @ member) / sizes
        totals = np.asarray(self.weights @ (inside * values[:, None]), dtype=np.float64)
        replicates = np.where(drawn > 0, totals / np.maximum(drawn, 1.0), means)
        low, high = _simultaneous(replicates, self.confidence)
        intervals = (
            Interval(float(mean), float(min(a, mean)), float(max(b, mean)))
            for mean, a, b in zip(means, low, high, strict=True)
        )
        return tuple(intervals), _p_values(replicates)

    def ratio(self, a: FloatArray, b: FloatArray) -> Interval | None:
        """Interval of mean(a) / mean(b), or None where it cannot be told.

        It cannot when b is zero for so many users that replicates divide by zero more often than
        the tail of the interval allows; rarer ones are left out.
        """
        below = self._means(b)
        usable = below > 0.0
        if not b.any() or (~usable).mean() > self._tail:
            return None
        return self._interval(float(a.mean() / b.mean()), self._means(a)[usable] / below[usable])


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """P-values corrected for how many there are, by Holm's step-down method, (M,).

    Those below 0.05 may be claimed together: the chance that any of the claims is false is at most
    5 %, whatever depends on what.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()  # 3 x 0.01; 2 x 0.03; the last never less
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)
    stepped = given[order] * np.arange(len(given), 0, -1)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected


def _p_values(replicates: FloatArray) -> FloatArray:
    """Two-sided, of each column of (R, S)."""
    below, above = (replicates <= 0).sum(axis=0), (replicates >= 0).sum(axis=0)
    tails = 2.0 * (1.0 + np.minimum(below, above)) / (len(replicates) + 1.0)
    return np.asarray(np.minimum(1.0, tails), dtype=np.float64)


def _simultaneous(replicates: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """The box of equal tails that holds whole replicates with the confidence, (S,) each [2]."""
    count = len(replicates)
    ranks = rankdata(replicates, axis=0)  # ties share their mean rank: all equal is no extreme
    outermost = np.maximum(ranks, count + 1.0 - ranks).max(axis=1)
    tail = 1.0 - np.quantile(outermost, confidence) / (count + 1.0)
    return np.quantile(replicates, tail, axis=0), np.quantile(replicates, 1.0 - tail, axis=0)


def _bca_tails(values: FloatArray, replicates: FloatArray, tail: float) -> FloatArray:
    """Which quantiles of the replicates bound the mean, after equations 14.9 to 14.15 of [1]."""
    estimate = values.mean()
    share = ((replicates < estimate).mean() + (replicates <= estimate).mean()) / 2.0
    apart = values - estimate  # the jackknife means differ from their mean by -apart / (U - 1)
    spread = (apart**2).sum()
    if spread == 0 or not 0.0 < share < 1.0:
        return np.array([tail, 1.0 - tail])
    bias, acceleration = ndtri(share), (apart**3).sum() / (6.0 * spread**1.5)
    shifted = bias + ndtri(np.array([tail, 1.0 - tail]))
    return np.asarray(ndtr(bias + shifted / (1.0 - acceleration * shifted)))
