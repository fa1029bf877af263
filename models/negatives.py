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
from models.seeds import generator


class LeakError(PocketfleetError):
    """A held-out item was spared in training, or was trained on: the figures would be false."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """How negatives are chosen.

    Attributes:
        num_negatives: K draws per user and step; 0 pushes down the whole catalogue at once.
    """

    num_negatives: int

    def chances(self, histories: Histories, user: int, num_items: int) -> NDArray[np.float64]:
        """The chance of each item to be pushed down for this user, (N,).

        Uniform over the whole catalogue when `num_negatives` is 0, else over what the user has not
        chosen in training. Drawing and leak detection both read this one function.
        """
        allowed = np.ones(num_items, dtype=np.float64)
        if self.num_negatives:
            allowed[histories.items[histories.offsets[user] : histories.offsets[user + 1]]] = 0.0
        return allowed / max(float(allowed.sum()), 1.0)

    def draw(
        self, histories: Histories, user: int, num_items: int, address: tuple[int, int, int]
    ) -> NDArray[np.int64]:
        """Draw K items with replacement.

        Args:
            histories: training events only.
            user: row in `histories`.
            num_items: N.
            address: (seed, round number, device id): where this draw lives.

        Returns:
            (K,) item indices.
        """
        seed, round_number, device_id = address
        chances = self.chances(histories, user, num_items)
        rng = generator(seed, "negatives", round_number, device_id)
        return rng.choice(num_items, size=self.num_negatives, p=chances)


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
    num_devices = trained_on = spared = 0
    for user in np.flatnonzero(held_out >= 0):
        item = int(held_out[user])
        events = histories.items[histories.offsets[user] : histories.offsets[user + 1]]
        num_devices += 1
        if (events == item).any():
            trained_on += 1
        elif negatives.chances(histories, int(user), num_items)[item] == 0.0:
            spared += 1
    return LeakCheck(num_devices, trained_on, spared)
