"""Sums that add up across devices: the only form in which a metric leaves one.

A mean of means weighs a node with one device like a node with a thousand. Sums do not: whoever is
asked, in whatever parts, the total is the same, and it is divided once, at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MetricSums:
    """Sums over users: the only form in which a metric leaves a device.

    Attributes:
        sums: metric -> sum over users, float64.
        num_users: how many users are in the sums.

    >>> three = MetricSums.of({"mrr": np.array([1.0, 0.5, 0.0])})
    >>> one = MetricSums.of({"mrr": np.array([1.0])})
    >>> three.means(), (three + one).means()
    ({'mrr': 0.5}, {'mrr': 0.625})
    """

    sums: Mapping[str, float]
    num_users: int

    @classmethod
    def of(cls, values: Mapping[str, FloatArray]) -> "MetricSums":
        """Add up the metrics of some users, each (U,).

        Raises:
            ValueError: if a value is NaN: nobody could take that user out of the sum again.
        """
        for name, value in values.items():
            if np.isnan(value).any():
                raise ValueError(
                    f"{name} is undefined (NaN) for {int(np.isnan(value).sum())} of {len(value)} "
                    "users: leave these users out before adding up"
                )
        num_users = len(next(iter(values.values()))) if values else 0
        return cls({name: float(value.sum()) for name, value in values.items()}, num_users)

    def __add__(self, other: "MetricSums") -> "MetricSums":
        names = {*self.sums, *other.sums}
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in names}
        return MetricSums(sums, self.num_users + other.num_users)

    def means(self) -> dict[str, float]:
        """Divide once, at the end; no users give NaN, not 0."""
        if self.num_users == 0:
            return dict.fromkeys(self.sums, float("nan"))
        return {name: total / self.num_users for name, total in self.sums.items()}


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """A weighted mean before its division, so that it adds up too.

    Attributes:
        total: sum of weight x value.
        weight: sum of the weights.

    >>> here, there = WeightedSum(3.0, 4.0), WeightedSum(0.0, 2.0)
    >>> here.mean(), (here + there).mean()
    (0.75, 0.5)
    """

    total: float
    weight: float

    @classmethod
    def of(cls, values: FloatArray, weights: NDArray[np.floating | np.integer]) -> "WeightedSum":
        """Add up values (U,) with weights (U,); values that are NaN are left out."""
        known = ~np.isnan(values)
        return cls(float((values[known] * weights[known]).sum()), float(weights[known].sum()))

    def __add__(self, other: "WeightedSum") -> "WeightedSum":
        return WeightedSum(self.total + other.total, self.weight + other.weight)

    def mean(self) -> float:
        """Divide once, at the end; no weight gives NaN, not 0."""
        return self.total / self.weight if self.weight else float("nan")
