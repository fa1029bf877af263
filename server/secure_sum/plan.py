"""Everything that follows from the settings of secure sums, before any training.

    settings, cohort, numbers of an update, noise  ->  levels that fit, devices that must be there,
                                                       each device's share of the noise

Shares are such that the fewest devices that are accepted bring the whole noise: each adds variance
(z D2)^2 / min_devices, so that dropouts never leave too little. With more devices there is more;
under Poisson sampling the cloud fills it up to a fixed number of shares, and
`server.secure_sum.outside` says why.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clients.protocol.secure_sum.capacity import Load, check_fit, most_levels
from clients.protocol.secure_sum.neighbourhoods import threshold_of
from clients.protocol.secure_sum.noise import skellam
from clients.protocol.secure_sum.quantisation import Address, Quantiser
from clients.protocol.secure_sum.ring import Ring
from clients.protocol.secure_sum.tasks import Rounding
from models.errors import SettingsError
from models.seeds import generator
from server.privacy.settings import PrivacySettings
from server.secure_sum.settings import SecureSumSettings
from server.secure_sum.skellam_accounting import SkellamMechanism

SELDOM = 2.0**-40
"""Chance that Poisson sampling draws more devices than a ring was made for, in a whole run."""


@dataclass(frozen=True, slots=True)
class CohortBounds:
    """How many devices can be in one sum.

    Attributes:
        expected: that a round wants.
        most: the most there can be.
        fewest: below which nothing is revealed.
        filled: shares of the noise up to which the cloud fills the others' up; 0: it does not.
    """

    expected: int
    most: int
    fewest: int
    filled: int = 0

    @classmethod
    def of(
        cls,
        settings: SecureSumSettings,
        cohort_size: int,
        num_devices: int,
        rounds: int,
        *,
        is_drawn: bool,
    ) -> "CohortBounds":
        """The bounds of a run.

        Args:
            settings: of secure sums.
            cohort_size: devices that a round wants.
            num_devices: the population.
            rounds: of the run.
            is_drawn: by Poisson sampling, so that there may be more.

        Raises:
            SettingsError: if more devices must be there than a round wants.
        """
        fewest = settings.min_devices or threshold_of(cohort_size, settings.threshold)
        if fewest > cohort_size:
            raise SettingsError(
                f"federation.secure_sum.min_devices is {fewest}, a round wants {cohort_size} "
                f"devices: ask for {cohort_size} or fewer"
            )
        if not is_drawn:
            return cls(cohort_size, min(cohort_size, num_devices), fewest)
        most = num_devices
        if cohort_size < num_devices:
            chance = SELDOM / rounds
            drawn = stats.binom.isf(chance, num_devices, cohort_size / num_devices)
            most = min(int(drawn) + 1, num_devices)
        # Three standard deviations: more devices than that come once in hundreds of rounds.
        return cls(
            cohort_size, most, fewest, min(most, math.ceil(cohort_size + 3 * cohort_size**0.5))
        )


@dataclass(frozen=True, slots=True)
class SecurePlan:
    """How the updates of a run are rounded, noised and added up.

    Attributes:
        ring: in which they are added.
        quantiser: how they become integers.
        bounds: how many devices are in a sum.
        noise_variance: that each device adds to each number, in squared steps.
        accounted_variance: of the noise on a sum that epsilon counts on, in squared steps.
    """

    ring: Ring
    quantiser: Quantiser
    bounds: CohortBounds
    noise_variance: float
    accounted_variance: float

    @classmethod
    def of(
        cls,
        settings: SecureSumSettings,
        privacy: PrivacySettings,
        bounds: CohortBounds,
        dim: int,
        rounds: int,
        scale: float = 1.0,
    ) -> "SecurePlan":
        """The plan of a run.

        Args:
            settings: of secure sums.
            privacy: of the run; only its distributed noise is in the sums.
            bounds: how many devices are in one.
            dim: numbers that a device sends.
            rounds: of the run.
            scale: that noise is multiplied with, in a scaled run.

        Raises:
            SettingsError: if a sum could overflow.
        """
        is_noised = privacy.mechanism == "distributed"
        multiplier = privacy.noise_multiplier if is_noised else 0.0
        ring = Ring(settings.bits)
        load = Load(
            dim=dim,
            rotated=settings.rotation,
            devices=bounds.most,
            noise_steps=scale * multiplier * float(np.sqrt(bounds.most / bounds.fewest)),
            rounds=rounds,
        )
        levels = settings.levels or most_levels(ring, load)
        check_fit(ring, load, levels)
        quantiser = load.quantiser(levels)
        variance = multiplier**2 * quantiser.norm_bound_squared
        return cls(ring, quantiser, bounds, scale**2 * variance / bounds.fewest, variance)

    def fill(self, num_devices: int, at: Address) -> NDArray[np.int64]:
        """Noise that the cloud adds so that its level does not tell how many devices are in a sum.

        Args:
            num_devices: in the sum, with a share each.
            at: where the draws live.

        Returns:
            (width,), zeros unless noise is distributed and devices are drawn by themselves.
        """
        missing = max(0, self.bounds.filled - num_devices) * self.noise_variance
        if not missing:
            return np.zeros(self.quantiser.width, np.int64)
        rng = generator(at.seed, "noise that fills up", at.round_number)
        return skellam(missing, self.quantiser.width, rng)

    @property
    def rounding(self) -> Rounding:
        """What nodes are told."""
        quantiser = self.quantiser
        return Rounding(
            bits=self.ring.bits,
            levels=quantiser.levels,
            rotated=quantiser.rotated,
            noise_variance=self.noise_variance,
        )

    @property
    def stretch(self) -> float:
        """What rounding lengthens an update by, at most: the sum's sensitivity / clip norm."""
        return float(self.quantiser.norm_bound_squared**0.5 / self.quantiser.levels)

    @property
    def mechanism(self) -> SkellamMechanism:
        """What a noised sum costs."""
        quantiser = self.quantiser
        return SkellamMechanism(
            quantiser.norm_bound_squared, quantiser.l1_bound, self.accounted_variance
        )
