"""Crashes and other rare events: an exact bound that may be looked at every day.

With few events nothing is normal. But of the events of one day, those of the treated arm are
binomial whatever the day's rate is, if events come independently at rates c and lambda c:

    chance that an event is a treated one  =  lambda n_treated / (lambda n_treated + n_control)

The evidence against "lambda is at most `bound`" is the mean likelihood ratio over a grid of larger
lambdas, multiplied over days. It passes 1 / alpha at any look with probability at most alpha [1]. A
device counts once: its first event, so events of different devices are independent.

[1] Conditional binomial: J. Przyborowski, H. Wilenski, Biometrika 31, 1940. Mixture and looks:
    H. Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

GRID = np.linspace(0.05, 4.0, 80)
"""Logarithms of lambda / bound: from 1.05 to 55 times, denser weights on the smaller ones."""

_WEIGHTS = -GRID - logsumexp(-GRID)


def log_evidence(
    control_events: NDArray[np.floating] | NDArray[np.integer],
    treated_events: NDArray[np.floating] | NDArray[np.integer],
    control_at_risk: NDArray[np.floating] | NDArray[np.integer],
    treated_at_risk: NDArray[np.floating] | NDArray[np.integer],
    bound: float,
) -> NDArray[np.float64]:
    """Return the logarithm of the evidence that events are more than `bound` times as frequent.

    Args:
        control_events: (days,) devices with their first event that day.
        treated_events: (days,) the same in the treated arm.
        control_at_risk: (days,) devices that used the app that day and had no event before.
        treated_at_risk: (days,) the same in the treated arm.
        bound: ratio of the rates that is still fine, 1 + margin, > 0.

    Returns:
        (days,) the evidence up to each day.

    Raises:
        ValueError: if the bound is not above 0, or there are more events than devices at risk.

    >>> one = np.ones(3)
    >>> log_evidence(2 * one, 2 * one, 1000 * one, 1000 * one, 1.0).round(1).tolist()
    [-0.4, -0.6, -0.7]
    >>> bool(log_evidence(one, 8 * one, 1000 * one, 1000 * one, 1.0)[-1] > np.log(1 / 0.01))
    True
    """
    if bound <= 0:
        raise ValueError(f"bound is {bound:g}, it must be above 0")
    control, treated = np.asarray(control_events, float), np.asarray(treated_events, float)
    if (control > control_at_risk).any() or (treated > treated_at_risk).any():
        raise ValueError("more devices had an event than were at risk")
    at_bound = bound * np.asarray(treated_at_risk) + control_at_risk
    at_bound = np.where(at_bound > 0, at_bound, 1.0)  # nobody at risk: no events, no evidence
    share = bound * np.asarray(treated_at_risk) / at_bound  # of the events, at the bound
    more = np.log1p(np.expm1(GRID)[:, None] * share)  # (G, days)
    steps = GRID[:, None] * treated - (control + treated) * more
    ways = _WEIGHTS[:, None] + steps.cumsum(axis=1)
    top = ways.max(axis=0)  # as logsumexp does, whose checks would cost more than the sum
    return np.asarray(top + np.log(np.exp(ways - top).sum(axis=0)))
