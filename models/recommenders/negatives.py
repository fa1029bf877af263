"""Two samplers of negatives: what a phone may know, and the habit of the published codes.

    a user    train 3 7 1    held out 9 (test), 4 (validation)     catalogue 0 .. 11
    closed    may draw       0 2 4 5 6 8 9 10 11     all but train: what a phone knows
    published may draw       0 2   5 6 8   10 11     9 and 4 are spared: the leak

The published codes of the NCF family draw negatives from items that a user never rates, so the
item that the model is later judged by is never pushed down, while in each round a part of its 99
rivals is. Nobody but the one who holds the item out could know which one to spare. It is here to
repeat published figures and for nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.histories import Histories
from models.recommenders.settings import Rule
from models.seeds import uniforms


@dataclass(frozen=True, slots=True)
class NegativeSampler:
    """Draws negatives for each positive of each user.

    Guarantee, held by `test_leak*`: under "closed" every held-out item is reachable; under
    "published" none is.

    Attributes:
        rule: "closed" or "published".
        num_negatives: K for each positive.
        histories: training events of U users.
        held_out: (U, H) int32 items that they are judged by, -1 where there is none. "closed"
            never looks at it.
        num_items: N.
    """

    rule: Rule
    num_negatives: int
    histories: Histories
    held_out: NDArray[np.int32]
    num_items: int

    def reachable(self, user: int) -> NDArray[np.bool_]:
        """Which items may be drawn as a negative of this user, (N,)."""
        return np.asarray(self.reachable_of(np.array([user]))[0])

    def reachable_of(self, users: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The same for some users, (B, N).

        One who would have nothing left may draw from the whole catalogue.
        """
        taken = self.histories.seen(users, self.num_items)
        if self.rule == "published":
            spared = self.held_out[users]
            rows, places = np.nonzero(spared >= 0)
            taken[rows, spared[rows, places]] = True
        free = ~taken
        free[~free.any(axis=1)] = True
        return np.asarray(free)

    def draw(
        self, users: NDArray[np.integer], address: tuple[int, int, NDArray[np.integer]]
    ) -> NDArray[np.int64]:
        """Draw K different items for each positive; several positives may draw the same.

        Args:
            users: (B,) rows of the histories.
            address: (seed, round number, device ids (B,)): where these draws live.

        Returns:
            (B, T, K) items, T the longest history; what stands beyond a user's own is not meant.
        """
        seed, round_number, device_ids = address
        width = int(self.histories.lengths()[users].max(initial=1))
        free = self.reachable_of(users)
        counts = free.sum(axis=1)
        drawn = uniforms(
            seed,
            "negatives of a positive",
            round_number,
            device_ids[:, None, None],
            np.arange(width)[:, None],
            np.arange(self.num_negatives),
        )
        places = _different_places(drawn, counts[:, None])
        firsts = np.cumsum(counts) - counts
        flat = np.flatnonzero(free)[firsts[:, None, None] + places]
        return np.asarray(flat - self.num_items * np.arange(len(users))[:, None, None])


def _different_places(drawn: NDArray[np.float64], counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Numbers in [0, 1) (..., K) -> K different places in 0 .. counts - 1, all sets alike.

    The k-th is drawn among the `counts - k` places that are left, and moved past those before it;
    where there are fewer than K places they may repeat.

    >>> _different_places(np.array([[0.0, 0.0, 0.9]]), np.array([4])).tolist()
    [[0, 1, 3]]
    """
    num_draws = drawn.shape[-1]
    different = counts >= num_draws
    chosen = np.empty(drawn.shape, dtype=np.int64)
    for k in range(num_draws):
        place = (drawn[..., k] * np.where(different, counts - k, counts)).astype(np.int64)
        for earlier in np.moveaxis(np.sort(chosen[..., :k], axis=-1), -1, 0):
            place += different & (place >= earlier)
        chosen[..., k] = place
    return chosen
