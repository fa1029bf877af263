"""What the releases of a run cost the device that pays most, in epsilon at a given delta.

    Poisson sampling     rounds x [ drawn with probability q, then Gaussian(z) ]
    no amplification     rounds in which one device took part, at most  x  Gaussian(z)
    local noise          messages that one device sent, at most  x  Gaussian(z / 2)
    evaluations          each  Gaussian(z_e): a device is in all of them

Composition and conversion are dp-accounting's. Without amplification epsilon is exact: Gaussian
releases compose to one Gaussian release [2]. Under Poisson sampling it comes from a privacy loss
distribution [3], rounded so that it is never too small. The bound of Renyi differential privacy [1]
stands beside it: another proof, a fifth larger, that says how fine the distribution must be.

The noise multiplier of a release is its standard deviation / its L2 sensitivity. Distributed noise
is Skellam's, not Gaussian: it has the bound alone (`server.secure_sum.skellam_accounting`).

[1] I. Mironov, "Renyi Differential Privacy", CSF 2017; of the sampled Gaussian mechanism: Mironov,
    Talwar, Zhang, arXiv 1908.10530.
[2] B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018.
[3] V. Doroshenko et al., "Connect the Dots: Tighter Discrete Approximations of Privacy Loss
    Distributions", PETS 2022.
"""

import functools
import math
from dataclasses import dataclass, replace

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from numpy.typing import NDArray

from server.secure_sum.skellam_accounting import SkellamMechanism

ORDERS = (*range(2, 64), 72, 80, 96, 128, 192, 256, 512, 1024)
"""Of Renyi divergences. Whole numbers: the series of a fractional order may not converge."""

FINEST_STEP, STEPS_PER_EPSILON = 5e-5, 1000
"""Of a privacy loss. A thousandth of epsilon makes epsilon too large by less than that, and is
found in hundredths of a second where dp-accounting's own 1e-4 takes seconds."""


LARGEST_IN_STEPS = 1000.0
"""An epsilon above it promises nothing: then the bound is enough, or what the same noise promises
without sampling. Privacy losses of such size overflow."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Releases that one device is in, at most.

    Attributes:
        noise_multiplier: of a round, > 0.
        probability: with which a round draws the device by itself; 1 claims no amplification.
        rounds: how many.
        evaluation_noise: noise multiplier of an evaluation; 0 where evaluations are not covered.
        evaluations: how many.
        integers: the sum of a round under distributed noise, its variance not looked at; None:
            noise is Gaussian.
    """

    noise_multiplier: float
    probability: float
    rounds: int
    evaluation_noise: float
    evaluations: int
    integers: SkellamMechanism | None = None

    def event(self) -> dp_accounting.DpEvent:
        """The same in dp-accounting's words."""
        one = dp_accounting.GaussianDpEvent(self.noise_multiplier)
        if self.probability < 1:
            one = dp_accounting.PoissonSampledDpEvent(self.probability, one)
        events = [dp_accounting.SelfComposedDpEvent(one, self.rounds)]
        if self.evaluation_noise:
            other = dp_accounting.GaussianDpEvent(self.evaluation_noise)
            events.append(dp_accounting.SelfComposedDpEvent(other, self.evaluations))
        return dp_accounting.ComposedDpEvent(events)

    def epsilon_by_rdp(self, delta: float) -> float:
        """An upper bound by another proof."""
        if self.integers is not None:
            of_round = self._rdp_of_integers(self.integers)
            epsilon, _ = rdp.compute_epsilon(ORDERS, self.rounds * of_round, delta)
            return float(epsilon) if self.rounds else 0.0
        total = self.rounds * _rdp(self.noise_multiplier, self.probability)
        if self.evaluation_noise:
            total = total + self.evaluations * _rdp(self.evaluation_noise, 1.0)
        epsilon, _ = rdp.compute_epsilon(ORDERS, total, delta)
        return float(epsilon)

    def epsilon(self, delta: float) -> float:
        """The tight one.

        >>> two = Spending(2.0, 1.0, rounds=3, evaluation_noise=2.0, evaluations=1)
        >>> one = Spending(1.0, 1.0, rounds=1, evaluation_noise=0.0, evaluations=0)
        >>> round(two.epsilon(1e-5), 6) == round(one.epsilon(1e-5), 6)
        True
        """
        if self.integers is not None:
            return self.epsilon_by_rdp(delta)
        if self.probability == 1 or self.rounds == 0:
            return gaussian_epsilon(self.gaussian_precision, delta)
        bound = self.epsilon_by_rdp(delta)
        if bound > LARGEST_IN_STEPS:
            return min(bound, gaussian_epsilon(self.gaussian_precision, delta))
        found = self._epsilon_in_steps(step_for(bound), delta)
        if step_for(found) < step_for(bound):
            found = self._epsilon_in_steps(step_for(found), delta)
        return min(bound, found)

    def _epsilon_in_steps(self, step: float, delta: float) -> float:
        loss = _loss_of_round(self.noise_multiplier, self.probability, step)
        loss = loss.self_compose(self.rounds)
        if self.evaluation_noise and self.evaluations:
            std = self.evaluation_noise / self.evaluations**0.5
            loss = loss.compose(_loss_of_round(std, 1.0, step))
        return float(loss.get_epsilon_for_delta(delta))

    def _rdp_of_integers(self, integers: SkellamMechanism) -> NDArray[np.float64]:
        """Of one round at `ORDERS`."""
        variance = self.noise_multiplier**2 * integers.l2_squared
        return replace(integers, variance=variance).sampled_rdp(self.probability, ORDERS)

    @property
    def gaussian_precision(self) -> float:
        """1 / z^2 of the one Gaussian release that all of it amounts to without amplification."""
        precision = self.rounds / self.noise_multiplier**2
        if self.evaluation_noise:
            precision += self.evaluations / self.evaluation_noise**2
        return precision


def gaussian_epsilon(precision: float, delta: float) -> float:
    """Epsilon of Gaussian releases whose 1 / z^2 add up to `precision`, exactly."""
    if precision == 0:
        return 0.0
    return float(dp_accounting.get_epsilon_gaussian(precision**-0.5, delta))


def default_delta(num_devices: int) -> float:
    """min(1e-5, N^-1.1): smaller than one device in N.

    >>> default_delta(943), round(default_delta(8_400_000), 10)
    (1e-05, 2.42e-08)
    """
    return float(min(1e-5, num_devices**-1.1))


def step_for(epsilon: float) -> float:
    """In what steps to compute privacy losses; a few values only, so that much is computed once.

    >>> step_for(0.001), step_for(4.0)
    (5e-05, 0.0032)
    """
    wanted = max(FINEST_STEP, epsilon / STEPS_PER_EPSILON)
    return float(FINEST_STEP * 2.0 ** math.floor(math.log2(wanted / FINEST_STEP)))


@functools.cache
def _rdp(noise_multiplier: float, probability: float) -> NDArray[np.float64]:
    """Renyi divergences of one round at `ORDERS`."""
    event = dp_accounting.GaussianDpEvent(noise_multiplier)
    if probability < 1:
        event = dp_accounting.PoissonSampledDpEvent(probability, event)
    accountant = rdp.RdpAccountant(ORDERS)
    accountant.compose(event)
    return np.asarray(accountant.rdp)


@functools.lru_cache(maxsize=8)
def _loss_of_round(
    noise_multiplier: float, probability: float, step: float
) -> pld.privacy_loss_distribution.PrivacyLossDistribution:
    return pld.privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=noise_multiplier,
        sampling_prob=probability,
        value_discretization_interval=step,
    )
