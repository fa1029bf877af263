"""A bound that may be looked at every day, and stopped at by what it shows.

The evidence against "the effect is at most 0" is the mean likelihood ratio over effects that would
matter, half a normal distribution of spread tau on the harmful side [1]:

    E = 2 sqrt(s^2 / (s^2 + tau^2)) exp(z^2 r / 2) Phi(z sqrt(r)),   r = tau^2 / (s^2 + tau^2)

with z the estimate over its standard error s. While the effect is at most 0, E passes 1 / alpha at
*any* look with probability at most alpha (Ville's inequality). Among m such bounds, 1 / (alpha / m)
keeps the chance of any false alarm, over all of them and all looks, at alpha: the looks are free.

It rests on the estimate being close to normal, so it is not read before a minimum of devices; rare
events have a bound of their own (`models.statistics.rare_events`).

[1] S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 49(2), 2021: the one-sided normal mixture.
    I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central limit theory
    and asymptotic confidence sequences", Annals of Statistics 52(6), 2024.
"""

from math import log

from scipy.optimize import brentq
from scipy.special import log_ndtr

LARGEST_Z = 200.0


def log_evidence(estimate: float, standard_error: float, spread: float) -> float:
    """Return the logarithm of E against "the effect is at most 0".

    Args:
        estimate: of the effect, harmful above 0.
        standard_error: of the estimate, >= 0.
        spread: tau, about the size of an effect that matters, > 0, in units of the estimate.

    Returns:
        0 where the standard error is 0: nothing varied, so nothing was learnt.

    Raises:
        ValueError: if the spread is not above 0.

    >>> round(log_evidence(0.0, 0.01, 0.02), 3), round(log_evidence(0.05, 0.01, 0.02), 2)
    (-0.805, 9.89)
    """
    if spread <= 0:
        raise ValueError(f"spread is {spread:g}, it must be above 0")
    if standard_error <= 0:
        return 0.0
    z = min(max(estimate / standard_error, -LARGEST_Z), LARGEST_Z)
    own, prior = standard_error**2, spread**2
    ratio = prior / (own + prior)
    scale = log(2.0) + 0.5 * log(own / (own + prior))
    return float(scale + 0.5 * z * z * ratio + log_ndtr(z * ratio**0.5))


def critical_z(standard_error: float, spread: float, alpha: float) -> float:
    """Return the z from which on E is 1 / alpha; the lower bound is estimate - that * error.

    >>> 3.0 < critical_z(0.01, 0.02, 0.025) < 3.5
    True
    """

    def missing(z: float) -> float:
        return log_evidence(z * standard_error, standard_error, spread) + log(alpha)

    return float(brentq(missing, -LARGEST_Z, LARGEST_Z))
