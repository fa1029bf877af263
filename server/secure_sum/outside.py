"""Epsilon of a distributed run for those who see only the parameters.

The cloud knows who takes part, so nothing is amplified against it. Others do not, if each phone is
drawn by itself (`simulation.world.poisson`) and nothing else tells whether a given one is in:

* the level of the noise would, so the cloud fills the shares of a round up to a fixed number
  (`SecurePlan.fill`): the noise is then the same, whoever is in;
* whether there is a sum at all would, in a round in which one phone more or less makes the fewest
  that are accepted; so would noise that was not filled up, where more phones came than it is filled
  up to. Such rounds, by the plan, count without amplification.

That a node fails is taken to have nothing to do with who was drawn.
"""

from dataclasses import dataclass, replace

import numpy as np
from dp_accounting import rdp
from numpy.typing import NDArray

from server.cohorts import CohortSource
from server.secure_sum.plan import CohortBounds
from server.secure_sum.skellam_accounting import ORDERS, SkellamMechanism


@dataclass(frozen=True, slots=True)
class Outside:
    """What a run spends against those who see only the parameters.

    Attributes:
        mechanism: the sum of a round, with the noise of the fewest devices.
        bounds: how many devices are in a sum.
        probability: with which each device is drawn.
        edge_rounds: (rounds + 1,) rounds up to each that are not amplified.
    """

    mechanism: SkellamMechanism
    bounds: CohortBounds
    probability: float
    edge_rounds: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        mechanism: SkellamMechanism,
        bounds: CohortBounds,
        probability: float,
        cohorts: CohortSource,
        rounds: int,
    ) -> "Outside":
        """From the plan of a run."""
        reported = [len(cohorts.cohort(number).reported) for number in range(1, rounds + 1)]
        is_edge = [not bounds.fewest < count < bounds.filled for count in reported]
        edges = np.concatenate([[0], np.cumsum(is_edge)]).astype(np.int64)
        return cls(mechanism, bounds, probability, edges)

    def epsilon(self, last_round: int, delta: float) -> float:
        """After so many rounds, an upper bound."""
        edges = int(self.edge_rounds[last_round])
        more = self.bounds.filled / self.bounds.fewest
        filled = replace(self.mechanism, variance=more * self.mechanism.variance)
        spent = edges * self.mechanism.rdp() + (last_round - edges) * filled.sampled_rdp(
            self.probability
        )
        epsilon, _ = rdp.compute_epsilon(ORDERS, spent, delta)
        return float(epsilon)
