"""Updates as integers: rounded at random, unbiased, with a norm that is bounded exactly.

    x, ||x|| <= C   ->   x * levels / C   ->  (rotated)  ->  cut off  ->  rounded to integers z

A step is C / levels: an update as long as the clip norm allows becomes integers of norm `levels`,
whatever C is. Each number is rounded up or down at random so that it is right on average. Rounding
may lengthen a vector; a draw that lengthens it beyond

    D2^2 = min( (levels + sqrt(n))^2,
                levels^2 + n / 4 + sqrt(2 ln(1 / beta)) (levels + sqrt(n) / 2) )

is thrown away and drawn again (conditional rounding [1, section 4.1]). The first bound always
holds; a draw is beyond the second with probability below beta = 2^-20, and that share of the draws
is all that keeps the mean from being exact. Should 32 draws in a row be too long, the vector is
rounded towards 0.

Formal guarantees, of every row of `encode`, whatever was in it (not finite counts as zeros):
    - its L2 norm is at most sqrt(`norm_bound_squared`), its L1 norm at most `l1_bound`;
    - each of its numbers is at most `largest_number` in size;
    - it depends on this row, its device, the round and the seed, and on nothing else.

[1] P. Kairouz, Z. Liu, T. Steinke, "The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation", ICML 2021.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.protocol.secure_sum.rotation import padded_width, rotate, rotate_back
from models.seeds import generator

LOG_INVERSE_BETA = 20 * math.log(2)
"""beta = 2^-20: so rarely is a draw thrown away."""
TRIES = 32
CUT_CHANCE = 2.0**-20
"""Of a number of a rotated update to be cut off, at most."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the draws of a round live.

    Attributes:
        seed: the run's seed.
        round_number: counted from 1.
    """

    seed: int
    round_number: int


@dataclass(frozen=True, slots=True)
class Quantiser:
    """How updates become integers, and their sum numbers again.

    Attributes:
        dim: numbers of an update.
        levels: steps to the clip norm, >= 1.
        rotated: whether updates are rotated first.

    >>> quantiser = Quantiser(dim=4, levels=100, rotated=False)
    >>> quantiser.norm_bound_squared, quantiser.largest_number, quantiser.width
    (10404, 100, 4)
    """

    dim: int
    levels: int
    rotated: bool

    @property
    def width(self) -> int:
        """Numbers that are sent."""
        return padded_width(self.dim) if self.rotated else self.dim

    @property
    def norm_bound_squared(self) -> int:
        """D2^2: the largest squared L2 norm of what a device sends, in steps."""
        root, levels = math.sqrt(self.width), self.levels
        always = (levels + root) ** 2
        nearly = math.sqrt(2 * LOG_INVERSE_BETA) * (levels + root / 2)
        return math.floor(min(always, levels**2 + self.width / 4 + nearly))

    @property
    def l1_bound(self) -> int:
        """D1: an integer is at most its square, and Cauchy-Schwarz."""
        squared = self.norm_bound_squared
        return min(squared, math.isqrt(self.width * squared))

    @property
    def largest_number(self) -> int:
        """The largest number of one device, in steps; more is cut off."""
        if not self.rotated:
            return self.levels
        # Hoeffding: a signed sum of numbers with norm `levels` is beyond t with 2 exp(-t^2 / 2).
        spread = math.sqrt(2 * math.log(2 / CUT_CHANCE) / self.width)
        return min(self.levels, math.ceil(self.levels * spread))

    def encode(
        self,
        rows: NDArray[np.floating],
        device_ids: NDArray[np.integer],
        clip_norm: float,
        at: Address,
    ) -> NDArray[np.int64]:
        """Clip and round updates.

        Args:
            rows: (B, dim), clipped or not.
            device_ids: (B,).
            clip_norm: C.
            at: part of the address of the rounding.

        Returns:
            (B, width) integers.
        """
        scaled = self.clipped(rows, clip_norm)
        if self.rotated:
            scaled = rotate(scaled, at.seed, at.round_number)
        scaled = scaled.clip(-self.largest_number, self.largest_number)
        rounded = np.empty(scaled.shape, dtype=np.int64)
        for place, device in enumerate(device_ids):
            rng = generator(at.seed, "rounding", at.round_number, int(device))
            rounded[place] = self._rounded(scaled[place], rng)
        return rounded

    def clipped(self, rows: NDArray[np.floating], clip_norm: float) -> NDArray[np.float64]:
        """Rows in steps, none longer than `levels`; zeros for one that is not finite."""
        # Divided by the largest number first: a square of 1e200 would be infinite.
        wide = np.asarray(rows, dtype=np.float64) / clip_norm
        wide = np.where(np.isfinite(wide).all(axis=1, keepdims=True), wide, 0.0)
        peak = np.maximum(np.abs(wide).max(axis=1, keepdims=True, initial=0.0), 1.0)
        norms = peak * np.linalg.norm(wide / peak, axis=1, keepdims=True)
        return np.asarray(wide * (self.levels / np.maximum(norms, 1.0)))

    def _rounded(self, scaled: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
        for _ in range(TRIES):
            rounded = np.floor(scaled + rng.random(len(scaled))).astype(np.int64)
            if int(rounded @ rounded) <= self.norm_bound_squared:
                return np.asarray(rounded)
        return np.trunc(scaled).astype(np.int64)

    def decode(
        self, total: NDArray[np.int64], clip_norm: float, at: Address
    ) -> NDArray[np.float64]:
        """A sum of encoded updates, (width,), as the sum of the updates, (dim,).

        Without rotation it is within (number of devices) * (C / levels) of the exact sum, in every
        number; noise aside.
        """
        steps = np.asarray(total, dtype=np.float64) * (clip_norm / self.levels)
        if not self.rotated:
            return np.asarray(steps)
        return np.asarray(rotate_back(steps[None], self.dim, at.seed, at.round_number)[0])
