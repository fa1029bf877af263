"""What Skellam noise on a sum of integers costs in Renyi differential privacy.

Theorem [1, corollary 4.1 of the long version; theorem 3.5 for one number]. Let two sums of integer
vectors differ by at most D2 in L2 norm and D1 in L1 norm, and let every number carry independent
Skellam noise of variance mu. Then for every integer order alpha > 1

    eps(alpha) <= alpha D2^2 / (2 mu) + min( ((2 alpha - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu) )

The first term is that of a Gaussian of variance mu. All are in steps of the rounding, and mu is the
variance of the sum of all shares: twice the mean of each of the two Poisson draws behind it.

Which two sums: those of the same devices, one of them with its own update or with zeros ("replaced
by zeros"). The device's share of the noise is in both. To take the device away altogether would
take its noise away too, and in 10^5 numbers the level of the noise alone tells how many shares are
in it.

Amplification by Poisson sampling with probability q, for any mechanism, integer alpha [2, theorem
6]:

    eps'(alpha) <= 1 / (alpha - 1) * ln( (1-q)^(alpha-1) (alpha q - q + 1)
                   + C(alpha, 2) q^2 (1-q)^(alpha-2) e^eps(2)
                   + 3 sum over l = 3 .. alpha of C(alpha, l) (1-q)^(alpha-l) q^l e^((l-1) eps(l)) )

It is claimed only against somebody who sees neither who takes part nor, by the level of the noise,
how many do: the cloud has to fill the shares of a round up to a fixed number (`missing_variance`).
Against the cloud itself there is none.

[1] N. Agarwal, P. Kairouz, Z. Liu, "The Skellam Mechanism for Differentially Private Federated
Learning", NeurIPS 2021.
[2] Y. Zhu, Y.-X. Wang, "Poisson Subsampled Renyi Differential Privacy", ICML 2019.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

ORDERS = (*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512, 1024)
"""Integer orders at which eps(alpha) is looked at."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SkellamMechanism:
    """A noised sum of integer vectors.

    Attributes:
        l2_squared: D2^2, in squared steps.
        l1: D1, in steps.
        variance: mu, of the noise on each number of the sum, in squared steps.
    """

    l2_squared: float
    l1: float
    variance: float

    def rdp(self, orders: Sequence[int] = ORDERS) -> FloatArray:
        """eps(alpha) of one release at these orders.

        Raises:
            ValueError: if an order is no integer above 1.
        """
        alpha = _checked(orders)
        square, mu = self.l2_squared, self.variance
        if mu == 0:
            return np.full(len(alpha), math.inf)
        small = ((2 * alpha - 1) * square + 6 * self.l1) / (4 * mu**2)
        return np.asarray(alpha * square / (2 * mu) + np.minimum(small, 3 * self.l1 / (2 * mu)))

    def sampled_rdp(self, q: float, orders: Sequence[int] = ORDERS) -> FloatArray:
        """eps'(alpha) of one release over a Poisson sample.

        Args:
            q: with which each device is drawn.
            orders: integers above 1.
        """
        return poisson_amplified(lambda some: self.rdp(some), q, orders)


def poisson_amplified(
    rdp: Callable[[Sequence[int]], FloatArray], q: float, orders: Sequence[int]
) -> FloatArray:
    """Amplification by Poisson sampling of any mechanism, at integer orders.

    Args:
        rdp: orders -> eps of the mechanism without sampling, under "add or remove one".
        q: with which each device is drawn, 0 .. 1.
        orders: integers above 1.

    Raises:
        ValueError: if an order is no integer above 1, or q is no probability.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q is {q}, a probability is 0 .. 1")
    alpha = _checked(orders)
    plain = np.asarray(rdp(orders), dtype=np.float64)
    if q == 0:
        return np.zeros(len(alpha))
    if q == 1:
        return plain
    up_to = np.asarray(rdp(range(2, int(alpha.max()) + 1)), dtype=np.float64)
    bounds = np.array([_amplified(up_to[: order - 1], q) for order in alpha.astype(int)])
    return np.asarray(np.minimum(bounds, plain))  # sampling never makes it worse


def _amplified(eps: FloatArray, q: float) -> float:
    """The theorem for alpha = len(eps) + 1, from eps(2) .. eps(alpha)."""
    alpha = len(eps) + 1
    order = np.arange(2, alpha + 1)
    log_choose = gammaln(alpha + 1) - gammaln(order + 1) - gammaln(alpha - order + 1)
    terms = log_choose + order * math.log(q) + (alpha - order) * math.log1p(-q)
    terms += (order - 1) * eps + np.where(order == 2, 0.0, math.log(3))
    first = (alpha - 1) * math.log1p(-q) + math.log1p((alpha - 1) * q)
    return max(0.0, float(logsumexp(np.concatenate([[first], terms]))) / (alpha - 1))


def _checked(orders: Sequence[int]) -> FloatArray:
    alpha = np.asarray(list(orders), dtype=np.float64)
    if (alpha < 2).any() or (alpha != np.floor(alpha)).any():
        raise ValueError(f"orders must be integers of 2 or more, got {list(orders)[:5]}")
    return alpha
