"""Looks at one metric while it grows, with the chance of a false alarm spent little by little.

    look        1     2     3    ...    10           even tenths of the information, alpha 0.05
    |z| from  6.20  4.38  3.58   ...  2.12           O'Brien-Fleming: early looks ask for much

Information is 1 / standard error^2. Between looks sqrt(t) z, with t the share of the planned
information, moves like a Brownian motion, so the chance of staying inside all bounds so far is an
integral that goes on from look to look [2]; a bound is where the chance of leaving *now* is what
the spending function allows by now [1]: alpha(t) = 2 - 2 Phi(z_(alpha / 2) / sqrt(t)). How many
looks there will be, and when, need not be known beforehand.

[1] K. Lan, D. DeMets, "Discrete Sequential Boundaries for Clinical Trials", Biometrika 70, 1983.
[2] P. Armitage, C. McPherson, B. Rowe, "Repeated Significance Tests on Accumulating Data",
    JRSS A 132, 1969.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

LARGEST_BOUND = 8.0
"""A bound of z that is never met: what it would spend is below 1e-15."""

NODES = 401


def spent(fraction: float, alpha: float) -> float:
    """Return what may be spent of alpha up to this share of the information.

    >>> round(spent(1.0, 0.05), 3), round(spent(0.5, 0.05), 4)
    (0.05, 0.0056)
    """
    return float(2.0 * ndtr(ndtri(alpha / 2.0) / sqrt(min(fraction, 1.0))))


def bounds(fractions: Sequence[float], alpha: float) -> tuple[float, ...]:
    """Return the bound of |z| at each look.

    Args:
        fractions: shares of the planned information, rising; above 1 counts as 1.
        alpha: chance of any false alarm, two-sided.

    Raises:
        ValueError: if the fractions are not above 0 and rising, or alpha is not in (0, 1).

    >>> [round(bound, 2) for bound in bounds([0.25, 0.5, 0.75, 1.0], 0.05)]
    [3.92, 2.77, 2.3, 2.04]
    """
    _check(fractions, alpha)
    found: list[float] = []
    walk = _Walk()
    done = 0.0
    for fraction in fractions:
        allowed = spent(fraction, alpha) - done
        bound = walk.bound_that_spends(min(fraction, 1.0), allowed)
        done += allowed
        walk = walk.inside(min(fraction, 1.0), bound)
        found.append(bound)
    return tuple(found)


def chance_to_pass(fractions: Sequence[float], limits: Sequence[float], drift: float) -> float:
    """Return the chance that z passes an upper bound at any look.

    Args:
        fractions: shares of the planned information, rising.
        limits: bound of z at each of them; leaving below ends the walk as well.
        drift: mean of z at the planned information.
    """
    passed, walk = 0.0, _Walk()
    for fraction, limit in zip(fractions, limits, strict=True):
        passed += walk.chance_above(fraction, limit, drift)
        walk = walk.inside(fraction, limit, drift)
    return passed


class _Walk:
    """The density of sqrt(t) z among walks that have not left, on a grid."""

    def __init__(
        self,
        time: float = 0.0,
        places: NDArray[np.float64] | None = None,
        masses: NDArray[np.float64] | None = None,
    ) -> None:
        self._time = time
        self._places = np.zeros(1) if places is None else places
        self._masses = np.ones(1) if masses is None else masses

    def chance_above(self, time: float, bound: float, drift: float = 0.0) -> float:
        step = time - self._time
        reach = (bound * sqrt(time) - self._places - drift * step) / sqrt(step)
        return float(self._masses @ ndtr(-reach))

    def chance_outside(self, time: float, bound: float) -> float:
        step = time - self._time
        below = (-bound * sqrt(time) - self._places) / sqrt(step)
        return self.chance_above(time, bound) + float(self._masses @ ndtr(below))

    def bound_that_spends(self, time: float, allowed: float) -> float:
        if self.chance_outside(time, LARGEST_BOUND) >= allowed:
            return LARGEST_BOUND
        return float(
            brentq(
                lambda bound: self.chance_outside(time, bound) - allowed,
                0.0,
                LARGEST_BOUND,
                xtol=1e-10,
            )
        )

    def inside(self, time: float, bound: float, drift: float = 0.0) -> "_Walk":
        """Those that are still inside at this look: Simpson's rule on a grid."""
        edge = bound * sqrt(time)
        places = np.linspace(-edge, edge, NODES)
        rule = np.ones(NODES)
        rule[1:-1:2], rule[2:-1:2] = 4.0, 2.0
        rule *= (places[1] - places[0]) / 3.0
        step = time - self._time
        apart = (places[:, None] - self._places[None, :] - drift * step) / sqrt(step)
        density = np.exp(-0.5 * apart**2) / sqrt(2.0 * np.pi * step)
        return _Walk(time, places, rule * (density @ self._masses))


def _check(fractions: Sequence[float], alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha:g}, it must lie between 0 and 1")
    rising = np.diff([0.0, *(min(fraction, 1.0) for fraction in fractions)])
    if (rising <= 0).any():
        raise ValueError(
            f"shares of information must rise from look to look, got {list(fractions)}: skip a "
            "look that brought none"
        )
