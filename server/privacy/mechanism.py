"""What the cloud does with a sum before anything is made of it.

    sum of clipped updates -> + N(0, (z C)^2) on each number, once a round -> / (q N), always

Formal guarantees of the central mechanism:

* Sensitivity. A device is in a round once, its update has a norm of at most C
  (`clients.privacy.clipping`), and a stale one weighs at most 1: it moves the sum by at most C.
* Fixed denominator. The noised sum is divided by the number of devices that a round wants, whatever
  came back: dropouts, absent devices and failed nodes are zero updates. All devices weigh the same.
* One noise a round, also of a round in which nobody reported. It lives at the address ("privacy
  noise", round): no two rounds share it, and a round that is played again after a crash has the
  same noise on the same sum, of which nothing had left the cloud.

Under the local mechanism the noise is in the updates already, under the distributed one in the sum
that the cloud gets to see (`server.secure_sum`), and the cloud adds none.

NumPy's generator and floating point are a simulator's: whoever knows the seed knows the noise, and
the low bits of a float64 can tell more than its value [1]. A deployment needs a cryptographic
source and a discrete mechanism.

[1] I. Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.protocol.messages import NOT_PRIVATE, EvalReply, TrainReply, UpdatePrivacy
from models.metrics import METRICS, PROTOCOLS, MetricSums
from models.seeds import generator
from server.privacy.adaptive_clipping import next_clip_norm, noise_of_updates
from server.privacy.settings import PrivacySettings

EVALUATION_SENSITIVITY = float(np.sqrt(len(METRICS) * len(PROTOCOLS) + 1))
"""L2 norm, at most, of what one device adds to the metric sums: every metric is in 0 .. 1, under
both protocols, and the device is counted once. It is in the sums of one tier."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """How sums of a run are released.

    Attributes:
        settings: of the promise, the noise multiplier solved.
        expected: devices that a round wants, q N: the denominator of a private run.
        num_devices: the population, N.
        noise_seed: the run's; secret wherever the promise is meant.
        stretch: what rounding for a secure sum lengthens an update by, at most.
    """

    settings: PrivacySettings
    expected: int
    num_devices: int
    noise_seed: int
    stretch: float = 1.0

    @property
    def asked_of_nodes(self) -> UpdatePrivacy:
        """What nodes keep to themselves, and devices add."""
        settings = self.settings
        if not settings.is_private:
            return NOT_PRIVATE
        local = settings.noise_multiplier if settings.mechanism == "local" else 0.0
        return UpdatePrivacy(
            hidden=True, count_unclipped=settings.is_adaptive, local_noise_multiplier=local
        )

    @property
    def scale(self) -> float:
        """N / N': what noise is multiplied with so that the mean has that of N' phones; else 1."""
        scaled = self.settings.scaled_population
        return self.num_devices / scaled if scaled else 1.0

    def noise_std(self, clip_norm: float) -> float:
        """Of each number of the sum; 0 if the cloud adds none."""
        if self.settings.mechanism != "central":
            return 0.0
        multiplier = noise_of_updates(self.settings, self.settings.noise_multiplier)
        return multiplier * clip_norm * self.stretch * self.scale

    def mean_update(
        self, reply: TrainReply, clip_norm: float, round_number: int
    ) -> NDArray[np.float64] | None:
        """What a round moves the parameters by, (P,); None: nobody reported, nothing was promised.

        Args:
            reply: the sum over all nodes.
            clip_norm: that clipped the updates.
            round_number: counted from 1.
        """
        if not self.settings.is_private:
            return reply.update_sum / reply.num_devices if reply.num_devices else None
        if self.settings.mechanism == "distributed":  # the noise is in the sum, if there is one
            return reply.update_sum / self.expected if reply.num_devices else None
        rng = generator(self.noise_seed, "privacy noise", round_number)
        noise = self.noise_std(clip_norm) * rng.standard_normal(len(reply.update_sum))
        return (reply.update_sum + noise) / self.expected

    def next_clip_norm(self, reply: TrainReply, clip_norm: float, round_number: int) -> float:
        """The clip norm of the round after this one."""
        settings = self.settings
        if not settings.is_adaptive:
            return clip_norm
        rng = generator(self.noise_seed, "clip norm noise", round_number)
        noise = settings.clip_noise_multiplier * self.scale * rng.standard_normal()
        short_enough = reply.num_unclipped or 0
        total = short_enough - settings.target_quantile * reply.num_devices + noise
        return next_clip_norm(clip_norm, total, settings.clip_rate, self.expected)

    def evaluated(self, reply: EvalReply, tiers: Sequence[str], round_number: int) -> EvalReply:
        """Metric sums as the history may hold them: noised, if evaluation is covered.

        A noised sum may lie outside 0 .. number of users; the history cuts the means.

        Args:
            reply: exact sums over the nodes that answered.
            tiers: all kinds of phone, also those of which none evaluated.
            round_number: rounds done.
        """
        multiplier = self.settings.evaluation_noise_multiplier
        if not multiplier:
            return reply
        std = multiplier * EVALUATION_SENSITIVITY * self.scale
        rng = generator(self.noise_seed, "evaluation noise", round_number)
        sums: dict[tuple[str, str], MetricSums] = {}
        for tier in tiers:
            noise = std * rng.standard_normal((len(PROTOCOLS), len(METRICS)))
            counted = reply.sums.get((tier, PROTOCOLS[0]), MetricSums({}, 0)).num_users
            users = max(1, round(counted + std * rng.standard_normal()))
            for row, protocol in zip(noise, PROTOCOLS, strict=True):
                exact = reply.sums.get((tier, protocol), MetricSums({}, 0)).sums
                noised = {
                    name: exact.get(name, 0.0) + float(more)
                    for name, more in zip(METRICS, row, strict=True)
                }
                sums[tier, protocol] = MetricSums(noised, users)
        return EvalReply(sums)
