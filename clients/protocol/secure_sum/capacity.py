"""Overflow, ruled out before any training.

    most devices * largest number of one device  +  reach of their noise  <=  2^(bits - 1) - 1

The first part is certain, whatever the devices hold. Noise has no largest value: its reach is
chosen so that the chance that any number of any round of the run is beyond it is below 2^-40. A sum
that wraps would be wrong and not less private: the guarantee of a mechanism holds after any
function of its result, the remainder modulo 2^bits among them.
"""

import math
from dataclasses import dataclass, replace

from clients.protocol.secure_sum.noise import noise_reach
from clients.protocol.secure_sum.quantisation import Quantiser
from clients.protocol.secure_sum.ring import RING_BITS, Ring
from models.errors import SettingsError

LOG_OVERFLOW_CHANCE = -40 * math.log(2)
MOST_LEVELS = 1 << 20
"""More would be finer than float32, in which phones train."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a ring has to hold.

    Attributes:
        dim: numbers of an update.
        rotated: whether updates are rotated.
        devices: the most that may be in one sum.
        noise_steps: standard deviation of the noise when that many have added their shares, in
            units of D2, the norm bound of the quantiser; 0 without noise.
        rounds: of the run.
    """

    dim: int
    rotated: bool
    devices: int
    noise_steps: float
    rounds: int

    def quantiser(self, levels: int) -> Quantiser:
        """The quantiser with so many levels."""
        return Quantiser(self.dim, levels, self.rotated)

    def largest_sum(self, levels: int) -> int:
        """The largest |sum| there can be, in steps."""
        quantiser = self.quantiser(levels)
        variance = self.noise_steps**2 * quantiser.norm_bound_squared
        numbers = math.log(quantiser.width) + math.log(self.rounds)
        reach = noise_reach(variance, LOG_OVERFLOW_CHANCE - numbers)
        return self.devices * quantiser.largest_number + reach

    def fits(self, ring: Ring, levels: int) -> bool:
        """Whether sums come back as they were."""
        return self.largest_sum(levels) <= ring.largest


def most_levels(ring: Ring, load: Load) -> int:
    """The finest rounding that fits, at most `MOST_LEVELS`.

    Raises:
        SettingsError: if not even one level fits.
    """
    if not load.fits(ring, 1):
        _refuse(ring, load, 1)
    low, high = 1, MOST_LEVELS + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if load.fits(ring, middle) else (low, middle)
    return low


def check_fit(ring: Ring, load: Load, levels: int) -> None:
    """Refuse what could overflow.

    Raises:
        SettingsError: naming the least number of bits, or the greatest cohort.
    """
    if not load.fits(ring, levels):
        _refuse(ring, load, levels)


def _refuse(ring: Ring, load: Load, levels: int) -> None:
    wider = [bits for bits in RING_BITS if load.fits(Ring(bits), levels)]
    cohort = greatest_cohort(ring, load, levels)
    cures = [f"federation.secure_sum.bits = {wider[0]}"] if wider else []
    cures += [f"at most {cohort:,} devices in a sum"] if cohort else []
    cures += ["federation.secure_sum.levels = 0 (as many as fit)"] if levels > 1 else []
    raise SettingsError(
        f"a sum over {load.devices:,} devices with {levels:,} levels can reach "
        f"{load.largest_sum(levels):,}, a ring of {ring.bits} bits holds {ring.largest:,}: ask for "
        f"{', or for '.join(cures) if cures else 'less noise'}"
    )


def greatest_cohort(ring: Ring, load: Load, levels: int) -> int:
    """The most devices whose sum fits, the noise of each as it is; 0 if none."""

    def of(devices: int) -> Load:
        share = math.sqrt(devices / load.devices)
        return replace(load, devices=devices, noise_steps=load.noise_steps * share)

    low, high = 0, load.devices
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if of(middle).fits(ring, levels) else (low, middle)
    return low
