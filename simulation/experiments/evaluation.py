"""Rank every held-out item under every arm: the raw material of a comparison.

The phones of a simulation belong to the experimenter, so this may look at each user's rank; a
server cannot, and gets sums (`clients.local_evaluation.evaluate_devices`). A test holds the sums of
these ranks to those sums.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.local_evaluation import Ranks, rank_held_out, score_devices
from models.baselines import (
    Scores,
    ease_scores,
    interaction_matrix,
    item_knn_scores,
    popularity_scores,
    random_scores,
)
from models.histories import Histories
from simulation.data.splits import Split
from simulation.experiments.federation import FederatedArm
from simulation.experiments.materials import Materials
from simulation.settings import Settings

ScoresOf = Callable[[NDArray[np.int64]], Scores]
"""Maps users (B,) to scores of the catalogue (B, N)."""


@dataclass(frozen=True, slots=True)
class Referee:
    """Ranks the scores of any arm in the same way.

    Attributes:
        users: (B,) users with a held-out item.
        held_out: (B,) those items.
        seen: (B, N) what they chose in training.
        seed: the run's seed.
    """

    users: NDArray[np.int64]
    held_out: NDArray[np.int32]
    seen: NDArray[np.bool_]
    seed: int

    @classmethod
    def for_split(cls, parts: Split, pool: Histories, seed: int) -> "Referee":
        """For the users of a split who have a held-out item."""
        users = np.flatnonzero(parts.held_out >= 0)
        seen = pool.seen(users, parts.interactions.num_items)
        return cls(users, parts.held_out[users], seen, seed)

    def ranks(self, scores: Scores) -> Ranks:
        """Rank the held-out items by scores (B, N) of `users`."""
        return rank_held_out(scores, self.held_out, self.seen, self.users, self.seed)


def baseline_scorers(materials: Materials, settings: Settings) -> Iterator[tuple[str, ScoresOf]]:
    """Random, popularity, item-kNN and EASE, one after another: each holds a score of all pairs."""
    num_users, num_items = materials.pool.num_users, len(materials.catalogue)
    matrix, comparison = interaction_matrix(materials.pool, num_items), settings.comparison
    yield "random", random_scores(num_users, num_items, settings.seed).__getitem__
    yield "popularity", popularity_scores(matrix).__getitem__
    yield "item-knn", item_knn_scores(matrix, comparison.knn_neighbours).__getitem__
    yield "ease", ease_scores(matrix, comparison.ease_l2).__getitem__


def federated_scorer(arm: FederatedArm) -> ScoresOf:
    """Scores by the phones' own code with their personal parameters, every item on the market."""
    shard, launched = arm.shard(), arm.launched()
    return lambda users: score_devices(shard, users, launched, arm.job.recommender)


def federated_ranks(referee: Referee, arm: FederatedArm) -> Ranks:
    """Ranks of a federated arm."""
    return referee.ranks(federated_scorer(arm)(referee.users))
