"""Leak detectors: held-out items that were spared or seen, told for each user.

    declared   ask a sampler what it can draw               can_be_drawn
    observed   watch what a sampler you cannot ask drew     watch_draws
    split      look for held-out items in the training      seen_in_training, validation_sees_test

The habitual sampler of neural collaborative filtering draws negatives from items that a user never
chose in *all* the data. The held-out item was chosen, so it is spared, while a share of its rivals
is pushed down; no phone could know which item to spare. `models.negatives` is our own sampler and
stops a run that leaks; this file judges anybody's.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from models.evaluation.checks import IntArray, checked_offsets
from models.histories import Histories
from models.negatives import LeakError, Negatives

BoolArray = NDArray[np.bool_]


class NegativeSampler(Protocol):
    """Anything that can say what it may draw.

    >>> class Everything:
    ...     def reachable(self, user: int) -> BoolArray:
    ...         return np.ones(3, dtype=bool)
    >>> can_be_drawn(Everything(), np.array([2])).tolist()
    [True]
    """

    def reachable(self, user: int) -> BoolArray:
        """Which items may be drawn as negatives for a user, (N,)."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingNegatives:
    """Our own sampler as a `NegativeSampler`: it knows training events and nothing else.

    Attributes:
        negatives: how they are drawn.
        histories: training events.
        num_items: N.

    >>> histories = Histories(np.array([0, 2]), np.array([0, 3], dtype=np.int32))
    >>> TrainingNegatives(Negatives(5), histories, 4).reachable(0).tolist()
    [False, True, True, False]
    """

    negatives: Negatives
    histories: Histories
    num_items: int

    def reachable(self, user: int) -> BoolArray:
        """Everything the user has not chosen in training, (N,)."""
        rows = self.negatives.allowed(self.histories, np.array([user]), self.num_items)
        return np.asarray(rows[0])


def can_be_drawn(sampler: NegativeSampler, held_out: NDArray[np.integer]) -> BoolArray:
    """Whether each user's held-out item can be drawn as a negative, (U,).

    Args:
        sampler: what draws negatives in training.
        held_out: (U,) item of each user, -1 where there is none: True, nothing is spared.

    >>> histories = Histories(np.array([0, 2]), np.array([0, 3], dtype=np.int32))
    >>> honest = TrainingNegatives(Negatives(5), histories, 4)
    >>> can_be_drawn(honest, np.array([1])).tolist()
    [True]

    A sampler that was shown all the data, the held-out item 1 too, spares it:

    >>> all_data = Histories(np.array([0, 3]), np.array([0, 3, 1], dtype=np.int32))
    >>> habitual = TrainingNegatives(Negatives(5), all_data, 4)
    >>> can_be_drawn(habitual, np.array([1])).tolist()
    [False]
    """
    found = np.ones(len(held_out), dtype=np.bool_)
    for user in np.flatnonzero(held_out >= 0):
        found[user] = sampler.reachable(int(user))[held_out[user]]
    return found


def raise_if_spared(sampler: NegativeSampler, held_out: NDArray[np.integer]) -> None:
    """Stop where a held-out item could not have been drawn.

    Raises:
        LeakError: naming how many users, and the first of them.

    >>> all_data = Histories(np.array([0, 3]), np.array([0, 3, 1], dtype=np.int32))
    >>> raise_if_spared(
    ...     TrainingNegatives(Negatives(5), all_data, 4), np.array([1])
    ... )  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    models.negatives.LeakError: the sampler spares the held-out item of 1 of 1 users (0): ...
    """
    spared = np.flatnonzero(~can_be_drawn(sampler, held_out))
    if len(spared):
        first = ", ".join(map(str, spared[:10].tolist()))
        raise LeakError(
            f"the sampler spares the held-out item of {len(spared)} of "
            f"{int((held_out >= 0).sum())} users ({first}): it knows more than the training "
            "events; draw negatives from what was not chosen in training"
        )


@dataclass(frozen=True, slots=True)
class WatchedDraws:
    """What was seen of a sampler that cannot be asked.

    Attributes:
        hits: how often a held-out item was drawn as a negative.
        expected: how often an honest, uniform sampler draws one on average.
        p_value: the chance that an honest sampler draws so few.

    >>> WatchedDraws(hits=0, expected=12.0, p_value=6e-06).looks_spared()
    True
    """

    hits: int
    expected: float
    p_value: float

    def looks_spared(self, level: float = 1e-3) -> bool:
        """Whether chance is a poor excuse for how seldom held-out items were drawn."""
        return self.p_value < level


def watch_draws(
    drawn: NDArray[np.integer], held_out: NDArray[np.integer], num_reachable: NDArray[np.integer]
) -> WatchedDraws:
    """Count held-out items among drawn negatives, for samplers of other people's code.

    An honest uniform sampler draws the held-out item of user u with the chance 1 / n_u at each of M
    draws; hits over all users are nearly Poisson with the mean sum_u M / n_u. With 943 users and
    1,600 items some 20 draws of each tell a sampler that spares from one that does not.

    Args:
        drawn: (U, M) negatives of each user.
        held_out: (U,) -1 where there is none.
        num_reachable: (U,) how many items an honest sampler would choose from: N less the
            different items of the user's training events.

    >>> drawn = np.array([[1, 2, 3, 1], [0, 0, 2, 3]])
    >>> found = watch_draws(drawn, np.array([1, 1]), np.array([4, 4]))
    >>> found.hits, found.expected, round(found.p_value, 4)  # e^-2 (1 + 2 + 2)
    (2, 2.0, 0.6767)
    """
    users = np.flatnonzero(held_out >= 0)
    hits = int((drawn[users] == held_out[users, None]).sum())
    expected = float((drawn.shape[1] / num_reachable[users]).sum())
    return WatchedDraws(hits, expected, float(pdtr(hits, expected)) if expected else 1.0)


def seen_in_training(
    offsets: NDArray[np.integer], items: NDArray[np.integer], held_out: NDArray[np.integer]
) -> IntArray:
    """Users whose held-out item is among their own training events, ascending.

    Args:
        offsets: (U + 1,) user u owns events offsets[u] .. offsets[u + 1].
        items: (E,) item of each training event.
        held_out: (U,) -1 where there is none.

    >>> seen_in_training(np.array([0, 2, 3]), np.array([4, 7, 4]), np.array([7, 9])).tolist()
    [0]
    """
    bounds = checked_offsets(offsets, len(items))
    owner = np.repeat(np.arange(len(held_out)), np.diff(bounds))
    return np.unique(owner[items == held_out[owner]])


def validation_sees_test(
    offsets: NDArray[np.integer],
    items: NDArray[np.integer],
    validation: NDArray[np.integer],
    test: NDArray[np.integer],
) -> IntArray:
    """Users whose test item has any part in the validation split, ascending.

    Who tunes on a validation split in which the test item is trained on, or is the item to find,
    has tuned on the test.

    Args:
        offsets: (U + 1,) of the validation split's training events.
        items: (E,) item of each of them.
        validation: (U,) held out for validation, -1 where there is none.
        test: (U,) held out for the test, -1 where there is none.

    >>> validation_sees_test(
    ...     np.array([0, 1, 3]), np.array([5, 5, 6]), np.array([2, 8]), np.array([2, 6])
    ... ).tolist()
    [0, 1]
    """
    same = np.flatnonzero((validation == test) & (test >= 0))
    return np.union1d(seen_in_training(offsets, items, test), same)
