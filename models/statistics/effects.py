"""The difference between two arms, from their sums: delta method, CUPED, a margin.

    R = sum of `value` / sum of `per`            a ratio of two sums over devices, or a mean
    D = R_treated - f R_control                  f = 1 - margin or 1 + margin; 1 without a margin
    D - theta (1 - (1 - f) w) (Q_treated - Q_control)
                                                 Q: the same devices before the release; w: share of
                                                 the treated among all devices

The variance of a ratio is that of its linear part, z - R p, over n mean(p)^2: devices are the unit,
and how many requests one of them makes is as random as the clicks [1]. `theta` is the slope within
arms, so with means and f = 1 the estimate is that of ordinary least squares on arm and covariate,
and the standard error is the one that does not assume equal variances [2]. Whatever is known before
the release and has the same mean in both arms may be Q; what the release can change may not.

[1] A. Deng, U. Knoblich, J. Lu, "Applying the Delta Method in Metric Analytics", KDD 2018.
[2] A. Deng, Y. Xu, R. Kohavi, T. Walker, "Improving the Sensitivity of Online Controlled
    Experiments by Utilizing Pre-Experiment Data" (CUPED), WSDM 2013.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from models.statistics.moments import FloatArray, Moments

FEWEST_DEVICES = 2


@dataclass(frozen=True, slots=True)
class Ratio:
    """What is compared: a sum over devices per another one.

    Attributes:
        value: the column above.
        per: the column below; None: the number of devices, so the ratio is a mean.
    """

    value: str
    per: str | None = None

    def of(self, moments: Moments) -> float:
        """The ratio itself; NaN when nothing is below."""
        above = float(moments.sums[moments.column(self.value)])
        below = self._below(moments)
        return above / below if below > 0 else float("nan")

    def slope(self, moments: Moments) -> FloatArray:
        """How the ratio moves with the mean of each column, (k,)."""
        slope = np.zeros(len(moments.names))
        mean = self._below(moments) / float(moments.count)
        slope[moments.column(self.value)] = 1.0 / mean
        if self.per is not None:
            slope[moments.column(self.per)] -= self.of(moments) / mean
        return slope

    def _below(self, moments: Moments) -> float:
        if self.per is None:
            return float(moments.count)
        return float(moments.sums[moments.column(self.per)])


@dataclass(frozen=True, slots=True)
class Effect:
    """What a release did to one number.

    Attributes:
        control: the ratio in the control arm.
        treated: the ratio in the treated arm.
        estimate: treated - f control, after CUPED.
        standard_error: of the estimate.
        devices: in the smaller arm.
    """

    control: float
    treated: float
    estimate: float
    standard_error: float
    devices: int

    @property
    def z(self) -> float:
        """Estimate over standard error; 0 where nothing varies and nothing differs."""
        if self.standard_error > 0:
            return self.estimate / self.standard_error
        return 0.0 if self.estimate == 0 else float(np.sign(self.estimate)) * float("inf")

    @property
    def two_sided_p(self) -> float:
        """Of one look that was fixed beforehand; daily looks need another bound."""
        return float(2.0 * ndtr(-abs(self.z)))


def compare(
    control: Moments,
    treated: Moments,
    ratio: Ratio,
    *,
    before: Ratio | None = None,
    factor: float = 1.0,
) -> Effect | None:
    """Compare two arms.

    Args:
        control: sums of the control arm, one cell.
        treated: sums of the treated arm, one cell.
        ratio: what is compared.
        before: the covariate; None: no CUPED.
        factor: f above, 1 for a plain difference.

    Returns:
        None where it cannot be told: an arm has fewer than two devices, or nothing is below.

    >>> names = ("clicks", "requests")
    >>> one = np.array([[1, 4], [2, 4], [0, 4], [1, 4]])
    >>> two = np.array([[0, 4], [1, 4], [0, 4], [1, 4]])
    >>> arms = [Moments.by_cell(names, rows, np.zeros(4, int), (1,))[0] for rows in (one, two)]
    >>> found = compare(*arms, Ratio("clicks", "requests"))
    >>> found.control, found.treated, found.estimate, round(found.standard_error, 4)
    (0.25, 0.125, -0.125, 0.125)
    """
    arms = (control, treated)
    if min(float(arm.count) for arm in arms) < FEWEST_DEVICES or any(
        np.isnan(ratio.of(arm)) for arm in arms
    ):
        return None
    slopes = [ratio.slope(arm) for arm in arms]
    covariances = [arm.covariance() for arm in arms]
    value = ratio.of(treated) - factor * ratio.of(control)
    weights = [-factor * slopes[0], slopes[1]]
    if before is not None and not any(np.isnan(before.of(arm)) for arm in arms):
        past = [before.slope(arm) for arm in arms]
        theta = _slope_within(arms, slopes, past, covariances)
        share = float(treated.count) / float(control.count + treated.count)
        strength = theta * (1.0 - (1.0 - factor) * share)
        value -= strength * (before.of(treated) - before.of(control))
        weights = [weights[0] + strength * past[0], weights[1] - strength * past[1]]
    variance = sum(
        float(weight @ covariance @ weight) / float(arm.count)
        for weight, covariance, arm in zip(weights, covariances, arms, strict=True)
    )
    devices = int(min(float(arm.count) for arm in arms))
    return Effect(ratio.of(control), ratio.of(treated), value, sqrt(max(variance, 0.0)), devices)


def _slope_within(
    arms: tuple[Moments, Moments],
    slopes: list[FloatArray],
    past: list[FloatArray],
    covariances: list[NDArray[np.float64]],
) -> float:
    """The slope of the ratio's linear part on the covariate's, within arms; 0 if that is still."""
    together = still = 0.0
    for arm, slope, before, covariance in zip(arms, slopes, past, covariances, strict=True):
        weight = float(arm.count) - 1.0
        together += weight * float(slope @ covariance @ before)
        still += weight * float(before @ covariance @ before)
    return together / still if still > 0 else 0.0
