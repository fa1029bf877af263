"""How much noise a run needs to end at an epsilon that was asked for.

Without amplification the answer is a formula: releases add up to one Gaussian release
(`server.privacy.accounting`). Under Poisson sampling dp-accounting searches for it: first with the
cheap bound, which asks for more noise than is needed, then below that with the tight accountant.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

import dp_accounting
from dp_accounting import pld, rdp

from models.errors import SettingsError
from server.privacy.accounting import ORDERS, Spending, gaussian_epsilon, step_for

TOLERANCE = 2e-3
"""Of the noise multiplier that is found, relative: at most this much more than is needed."""

LEAST_NOISE, MOST_NOISE = 2.0**-6, 2.0**20


def noise_multiplier_for(target_epsilon: float, delta: float, spending: Spending) -> float:
    """The least noise multiplier of a round with which releases end at the target.

    Args:
        target_epsilon: > 0.
        delta: that goes with it.
        spending: all but the noise multiplier, which is not looked at.

    Raises:
        SettingsError: if the evaluations alone cost more, or no noise in reach is enough.

    >>> ten = Spending(1.0, 1.0, rounds=10, evaluation_noise=0.0, evaluations=0)
    >>> found = noise_multiplier_for(2.0, 1e-5, ten)
    >>> round(replace(ten, noise_multiplier=found).epsilon(1e-5), 6)
    2.0
    """
    of_evaluations = replace(spending, rounds=0).gaussian_precision
    alone = gaussian_epsilon(of_evaluations, delta)
    if alone >= target_epsilon:
        raise SettingsError(
            f"federation.privacy.target_epsilon is {target_epsilon:g}, and {spending.evaluations} "
            f"evaluations alone cost {alone:.3g}: raise evaluation_noise_multiplier, or evaluate "
            "less often"
        )
    if spending.rounds == 0:
        return LEAST_NOISE
    if spending.probability == 1:
        whole = float(dp_accounting.get_sigma_gaussian(target_epsilon, delta)) ** -2
        return float((spending.rounds / (whole - of_evaluations)) ** 0.5)
    little, much = _bracket(target_epsilon, delta, spending)
    cheap = functools.partial(rdp.RdpAccountant, ORDERS)
    enough = _search(cheap, target_epsilon, delta, spending, little, much)
    step = step_for(target_epsilon)
    tight = functools.partial(pld.PLDAccountant, value_discretization_interval=step)
    return _search(tight, target_epsilon, delta, spending, 0.5 * enough, enough)


def least_noise(target_epsilon: float, epsilon_of: Callable[[float], float]) -> float:
    """The least noise multiplier that keeps a decreasing epsilon at the target, by bisection.

    Raises:
        SettingsError: if no noise in reach is enough, or nearly none is.

    >>> 0 <= least_noise(2.0, lambda noise: 6.0 / noise) - 3.0 < 0.01
    True
    """
    little, much = LEAST_NOISE, 2 * LEAST_NOISE
    while epsilon_of(much) > target_epsilon:
        little, much = much, 2 * much
        if much > MOST_NOISE:
            raise SettingsError(_OUT_OF_REACH.format(target_epsilon))
    while much - little > TOLERANCE * little:
        middle = (little + much) / 2
        little, much = (middle, much) if epsilon_of(middle) > target_epsilon else (little, middle)
    return much


_OUT_OF_REACH = (
    "federation.privacy.target_epsilon is {:g}, and no noise in reach is enough for it: ask for a "
    "larger epsilon or fewer rounds"
)


def _bracket(target_epsilon: float, delta: float, spending: Spending) -> tuple[float, float]:
    """Too little noise and enough noise, by the cheap bound, a factor of 2 apart."""

    def too_little(noise: float) -> bool:
        tried = replace(spending, noise_multiplier=noise)
        return tried.epsilon_by_rdp(delta) > target_epsilon

    noise = 1.0
    while not too_little(noise):
        noise /= 2
        if noise < LEAST_NOISE:
            raise SettingsError(
                f"federation.privacy.target_epsilon is {target_epsilon:g}: that is nearly no "
                "noise; ask for a smaller epsilon, or set noise_multiplier instead"
            )
    while too_little(2 * noise):
        noise *= 2
        if noise > MOST_NOISE:
            raise SettingsError(_OUT_OF_REACH.format(target_epsilon))
    return noise, 2 * noise


def _search(
    accountant: Callable[[], dp_accounting.PrivacyAccountant],
    target_epsilon: float,
    delta: float,
    spending: Spending,
    too_little: float,
    enough: float,
) -> float:
    found = dp_accounting.calibrate_dp_mechanism(
        accountant,
        lambda noise: replace(spending, noise_multiplier=noise).event(),
        target_epsilon,
        delta,
        dp_accounting.ExplicitBracketInterval(too_little, enough),
        tol=TOLERANCE * too_little,
    )
    return float(found)
