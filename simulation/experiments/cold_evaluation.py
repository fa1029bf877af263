"""The second question under `split.cold_items`: is this item found, which has just been launched?

The cold held-out item of each user (`simulation.data.splits`) is ranked twice against what the user
never chose, under the same scores (B, N) that answer the first question:

    protocol            competes                              asks
    cold-among-all      every item that the user never chose  does a new item come through at all?
    cold-among-cold     the cold ones among those             can text tell new items apart?

"Never chose" looks at all that the split knows: training events, events that were left out for a
cold item or a cold user, and the first held-out item. Those are right answers too, and would
otherwise stand above the one that counts. Ties are half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.baselines import Scores
from models.errors import DataError
from models.metrics import held_out_ranks, metrics_of_ranks
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, Split

PROTOCOLS = ("cold-among-all", "cold-among-cold")


@dataclass(frozen=True, slots=True)
class ColdReferee:
    """Ranks cold held-out items under the scores of any arm.

    Attributes:
        users: (C,) users with a cold held-out item, ascending.
        held_out: (C,) those items.
        chosen: (C, N) what they chose, the cold held-out item apart.
        cold_item: (N,) bool.
        cold_user: (C,) bool, which of these users have a short history.
    """

    users: NDArray[np.int64]
    held_out: NDArray[np.int32]
    chosen: NDArray[np.bool_]
    cold_item: NDArray[np.bool_]
    cold_user: NDArray[np.bool_]

    @classmethod
    def for_split(cls, parts: Split) -> "ColdReferee":
        """For the users of a split who have a cold held-out item; perhaps nobody."""
        users = np.flatnonzero(parts.cold_held_out != NOTHING_HELD_OUT)
        row = np.full(parts.interactions.num_users, -1)
        row[users] = np.arange(len(users))
        chosen = np.zeros((len(users), parts.interactions.num_items), np.bool_)
        for events in (parts.train, parts.left_out):
            owner = row[events[Columns.USER].to_numpy()]
            chosen[owner[owner >= 0], events[Columns.ITEM].to_numpy()[owner >= 0]] = True
        asked, held_out = np.arange(len(users)), parts.cold_held_out[users]
        chosen[asked, parts.held_out[users]] = True  # who has a cold one has a first one too
        chosen[asked, held_out] = False
        return cls(users, held_out, chosen, parts.cold_item, parts.cold_user[users])

    def values(self, scores: Scores) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Rank the cold items.

        Args:
            scores: (C, N) of `users`, higher is better, of parameters that are `launched`.

        Returns:
            protocol -> metric -> (C,); a metric of `models.metrics.metrics_of_ranks`.

        Raises:
            DataError: if the scores are not of these users and items.
        """
        if scores.shape != self.chosen.shape:
            raise DataError(
                f"scores must be {self.chosen.shape}, a row per user with a cold held-out item and "
                f"a column per item, got {scores.shape}"
            )
        fields = (~self.chosen, ~self.chosen & self.cold_item)
        return {
            protocol: metrics_of_ranks(*held_out_ranks(scores, self.held_out, field))
            for protocol, field in zip(PROTOCOLS, fields, strict=True)
        }
