"""Before the start: the smallest effect that would be found, and how many devices that takes.

drift(power)   mean of z at the planned end with which a look passes its bound in `power` of all
               runs; 2.80 for one look at alpha 0.05 and power 0.8, a little more for ten
devices / arm  2 (sd drift / effect)^2
"""

from functools import cache
from math import ceil, sqrt

import numpy as np
from scipy.optimize import brentq

from models.statistics.group_sequential import bounds, chance_to_pass


def even_looks(looks: int) -> tuple[float, ...]:
    """Shares of the information at looks in even steps.

    >>> even_looks(4)
    (0.25, 0.5, 0.75, 1.0)
    """
    return tuple(float(share) for share in np.arange(1, looks + 1) / looks)


@cache
def drift_for(power: float, fractions: tuple[float, ...], alpha: float) -> float:
    """Return the drift with which a walk passes an upper bound with this chance.

    Args:
        power: in (alpha / 2, 1).
        fractions: shares of the information at the looks.
        alpha: two-sided.

    Raises:
        ValueError: if the power is not above alpha / 2 and below 1.

    >>> round(drift_for(0.8, (1.0,), 0.05), 3)
    2.802
    """
    if not alpha / 2.0 < power < 1.0:
        raise ValueError(f"power is {power:g}, it must lie between alpha / 2 and 1")
    limits = bounds(fractions, alpha)
    return float(brentq(lambda drift: chance_to_pass(fractions, limits, drift) - power, 0.0, 20.0))


def devices_per_arm(effect: float, deviation: float, drift: float) -> int:
    """Return how many devices an arm needs.

    Args:
        effect: difference of means that is to be found, > 0.
        deviation: standard deviation between devices.
        drift: from `drift_for`.

    A click rate of 10 % that falls by 2 %, one request a device, ten looks (one look: 353):

    >>> drift = drift_for(0.8, even_looks(10), 0.05)
    >>> devices_per_arm(0.002, 0.3, drift) // 1000
    372
    """
    if effect <= 0:
        raise ValueError(f"effect is {effect:g}, it must be above 0")
    return ceil(2.0 * (deviation * drift / effect) ** 2)


def smallest_effect(devices: int, deviation: float, drift: float) -> float:
    """Return the difference of means that is found with this many devices in each arm."""
    if devices < 1:
        raise ValueError(f"an arm of {devices} devices finds nothing")
    return deviation * drift * sqrt(2.0 / devices)
