"""Noise that nobody knows whole: each device adds its share before its update leaves it.

The Skellam distribution is that of the difference of two Poisson draws of the same mean v / 2: an
integer of mean 0 and variance v. Sums of independent Skellam numbers are Skellam again, their
variances added [1], so that the noise of a sum is known exactly, whoever's shares are in it.

The generator here is NumPy's, a simulator's: with its seed one could take the noise off again. A
phone has to draw from its system's cryptographic source, and its Poisson sampler must be exact.

[1] N. Agarwal, P. Kairouz, Z. Liu, "The Skellam Mechanism for Differentially Private Federated
Learning", NeurIPS 2021.
"""

import math

import numpy as np
from numpy.typing import NDArray

from clients.protocol.secure_sum.quantisation import Address
from models.seeds import generator


def noise_share(variance: float, width: int, device: int, at: Address) -> NDArray[np.int64]:
    """One device's share of the noise of a round, (width,).

    Args:
        variance: of each number, in squared steps; 0 is no noise.
        width: numbers that are sent.
        device: its id.
        at: the rest of the address.
    """
    if variance == 0:
        return np.zeros(width, dtype=np.int64)
    return skellam(variance, width, generator(at.seed, "noise share", at.round_number, device))


def skellam(variance: float, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Independent Skellam numbers of mean 0, (width,)."""
    half = variance / 2
    return np.asarray(rng.poisson(half, width) - rng.poisson(half, width), dtype=np.int64)


def noise_reach(variance: float, log_chance: float) -> int:
    """The least t with P(|X| >= t) <= exp(log_chance), by Chernoff's bound, X Skellam.

    ln E exp(sX) = variance (cosh s - 1); the best s for t is asinh(t / variance), and so
    ln P(X >= t) <= sqrt(variance^2 + t^2) - variance - t asinh(t / variance).

    >>> noise_reach(100.0, math.log(1e-9))
    67
    """
    if variance == 0:
        return 0

    def log_tail(t: int) -> float:
        # hypot(v, t) - v loses its digits where t is small beside v
        growth = t * t / (math.hypot(variance, t) + variance)
        return math.log(2) + growth - t * math.asinh(t / variance)

    high = 1
    while log_tail(high) > log_chance:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if log_tail(middle) > log_chance else (low, middle)
    return high
