"""What the releases of a run cost the device that pays most, in epsilon at a given delta.

    Poisson sampling     rounds x [ drawn with probability q, then Gaussian(z) ]
    no amplification     rounds in which one device took part, at most  x  Gaussian(z)
    local noise          messages that one device sent, at most  x  Gaussian(z / 2)
    evaluations          each  Gaussian(z_e): a device is in all of them

Composition and conversion are dp-accounting's. The bound of Renyi differential privacy [1] is cheap
and stands in the history after each round; the tight one decides (target, budget, ledger). Without
amplification that is exact: Gaussian releases compose to one Gaussian release [2]. With Poisson
sampling it is a privacy loss distribution [3], rounded so that epsilon is never too small.

The noise multiplier of a release is its standard deviation / its L2 sensitivity.

[1] I. Mironov, "Renyi Differential Privacy", CSF 2017; of the sampled Gaussian mechanism: Mironov,
    Talwar, Zhang, arXiv 1908.10530.
[2] B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018.
[3] V. Doroshenko et al., "Connect the Dots: Tighter Discrete Approximations of Privacy Loss
    Distributions", PETS 2022.
"""

import functools
from dataclasses import dataclass

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from numpy.typing import NDArray

FINEST_STEP = 1e-4
"""Of a privacy loss; dp-accounting's own."""

STEPS_PER_EPSILON = 1e5
"""A large epsilon is known in coarser steps: its distribution would not fit into memory."""


@dataclass(frozen=True, slots=True)
class Spending:
    """Releases that one device is in, at most.

    Attributes:
        noise_multiplier: of a round, > 0.
        probability: with which a round draws the device by itself; 1 claims no amplification.
        rounds: how many.
        evaluation_noise: noise multiplier of an evaluation; 0 where evaluations are not covered.
        evaluations: how many.
    """

    noise_multiplier: float
    probability: float
    rounds: int
    evaluation_noise: float
    evaluations: int

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
        """An upper bound that is cheap to have after every round."""
        total = self.rounds * _rdp(self.noise_multiplier, self.probability)
        if self.evaluation_noise:
            total = total + self.evaluations * _rdp(self.evaluation_noise, 1.0)
        epsilon, _ = rdp.compute_epsilon(_ORDERS, total, delta)
        return float(epsilon)

    def epsilon(self, delta: float) -> float:
        """The tight one; seconds under Poisson sampling.

        >>> two = Spending(2.0, 1.0, rounds=3, evaluation_noise=2.0, evaluations=1)
        >>> one = Spending(1.0, 1.0, rounds=1, evaluation_noise=0.0, evaluations=0)
        >>> round(two.epsilon(1e-5), 6) == round(one.epsilon(1e-5), 6)
        True
        """
        if self.probability == 1 or self.rounds == 0:
            return gaussian_epsilon(self.gaussian_precision, delta)
        bound = self.epsilon_by_rdp(delta)
        step = max(FINEST_STEP, bound / STEPS_PER_EPSILON)
        loss = _loss_of_round(self.noise_multiplier, self.probability, step)
        loss = loss.self_compose(self.rounds)
        if self.evaluation_noise and self.evaluations:
            std = self.evaluation_noise / self.evaluations**0.5
            loss = loss.compose(_loss_of_round(std, 1.0, step))
        return min(bound, float(loss.get_epsilon_for_delta(delta)))

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


_ORDERS = rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS


@functools.cache
def _rdp(noise_multiplier: float, probability: float) -> NDArray[np.float64]:
    """Renyi divergences of one round at `_ORDERS`."""
    event = dp_accounting.GaussianDpEvent(noise_multiplier)
    if probability < 1:
        event = dp_accounting.PoissonSampledDpEvent(probability, event)
    accountant = rdp.RdpAccountant(_ORDERS)
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
