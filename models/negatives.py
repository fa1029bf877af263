"""Which items may be pushed down in training, and the detector of the leak hidden there.

The habitual sampler of federated recommenders draws negatives from items a user has *never*
chosen, the held-out one included in "chosen". The held-out item is then spared while its rivals
are pushed down, which flatters every figure (docs/sharp-edges.md). No phone could know which item
to spare. Here a phone draws from what it has not chosen *in training*, and a run in which a
held-out item could not have been drawn fails.

    chosen in training   held out        may be drawn
    3 7 1                9               everything but 3 7 1, so 9 too
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import PocketfleetError
from models.histories import Histories
from models.seeds import uniforms

USERS_AT_A_TIME = 1024


class LeakError(PocketfleetError):
    """A held-out item was spared in training, or was trained on: the figures would be false."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """How negatives are chosen.

    Attributes:
        num_negatives: K draws per user and step; 0 pushes down the whole catalogue at once.
    """

    num_negatives: int

    def allowed(
        self, histories: Histories, users: NDArray[np.integer], num_items: int
    ) -> NDArray[np.bool_]:
        """Which items may be pushed down for some users, (B, N).

        The whole catalogue when `num_negatives` is 0, else what a user has not chosen in training
        (everything for one who has chosen everything). Drawing and leak detection both read this
        one function.
        """
        if not self.num_negatives:
            return np.ones((len(users), num_items), dtype=np.bool_)
        allowed = ~histories.seen(users, num_items)
        allowed[~allowed.any(axis=1)] = True
        return allowed

    def draw(
        self,
        histories: Histories,
        users: NDArray[np.integer],
        num_items: int,
        address: tuple[int, int, NDArray[np.integer]],
    ) -> NDArray[np.int64]:
        """Draw K items for each user, uniformly and with replacement, from what is allowed.

        Args:
            histories: training events only.
            users: (B,) rows in `histories`.
            num_items: N.
            address: (seed, round number, device ids (B,)): where these draws live.

        Returns:
            (B, K) item indices.
        """
        seed, round_number, device_ids = address
        allowed = self.allowed(histories, users, num_items)
        counts = allowed.sum(axis=1)
        slots = np.arange(self.num_negatives)
        drawn = uniforms(seed, "negatives", round_number, device_ids[:, None], slots)
        places = (drawn * counts[:, None]).astype(np.int64)  # the how-manieth of those allowed
        firsts = np.cumsum(counts) - counts
        return np.asarray(np.flatnonzero(allowed)[firsts[:, None] + places] % num_items)


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """What the detector looked at and found: users without a held-out item are not counted."""

    num_devices: int
    trained_on: int
    spared: int

    @property
    def passed(self) -> bool:
        """Whether every held-out item was unseen in training and could be drawn as a negative."""
        return self.trained_on == 0 and self.spared == 0

    def raise_if_leaking(self) -> None:
        """Stop the run.

        Raises:
            LeakError: if the check did not pass.
        """
        if not self.passed:
            raise LeakError(
                f"of {self.num_devices} held-out items {self.trained_on} are in the training "
                f"events and {self.spared} could not be drawn as a negative (both must be 0): "
                "split before training, and draw negatives without looking at held-out items"
            )


def check_for_leaks(
    histories: Histories, held_out: NDArray[np.integer], negatives: Negatives, num_items: int
) -> LeakCheck:
    """Look at every user's held-out item (U,), -1 where there is none."""
    users = np.flatnonzero(held_out >= 0)
    trained_on = spared = 0
    for start in range(0, len(users), USERS_AT_A_TIME):
        block = users[start : start + USERS_AT_A_TIME]
        items, rows = np.asarray(held_out[block]), np.arange(len(block))
        in_training = histories.seen(block, num_items)[rows, items]
        may_be_drawn = negatives.allowed(histories, block, num_items)[rows, items]
        trained_on += int(in_training.sum())
        spared += int((~in_training & ~may_be_drawn).sum())
    return LeakCheck(len(users), trained_on, spared)
