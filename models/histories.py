"""Many users' interactions as columns plus offsets, and padded blocks cut from them.

    items    3 7 1 | 4 | 9 2        user 0 chose 3, then 7, then 1; user 1 chose 4; ...
    offsets  0       3   4     6

Columns, because a million users are then six arrays that can lie memory-mapped on disk. A block is
cut for the users at hand: only the last `max_history` events, padded on the right to the longest.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.recommender import HistoryBlock

NO_PRIVATE_TEXT = -1
"""Value in `private_row` of an event with which nothing was written."""


@dataclass(frozen=True, slots=True)
class Histories:
    """The training events of U users, oldest first within each user.

    Attributes:
        offsets: (U + 1,) int64, user u owns events offsets[u] .. offsets[u + 1].
        items: (E,) int32 item index of each event.
        private_row: (E,) int32 row in `private_vectors`, or -1; None when nobody may read texts.
        private_vectors: (M, text_dim) float32, or None.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    private_row: NDArray[np.int32] | None = None
    private_vectors: NDArray[np.float32] | None = None

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """How many events each user has, (U,)."""
        return np.diff(self.offsets)

    def private_of(self, user: int) -> NDArray[np.float32] | None:
        """Vectors of what one user wrote with each event, (T, text_dim), 0 where nothing."""
        if self.private_row is None or self.private_vectors is None:
            return None
        rows = np.asarray(self.private_row[self.offsets[user] : self.offsets[user + 1]])
        vectors = np.zeros((len(rows), self.private_vectors.shape[1]), dtype=np.float32)
        written = rows != NO_PRIVATE_TEXT
        vectors[written] = self.private_vectors[rows[written]]
        return vectors

    def seen(self, users: NDArray[np.integer], num_items: int) -> NDArray[np.bool_]:
        """Which items each of these users has interacted with in training, (B, N)."""
        seen = np.zeros((len(users), num_items), dtype=np.bool_)
        events, lengths = self._events_of(users)
        seen[np.repeat(np.arange(len(users)), lengths), self.items[events]] = True
        return seen

    def cut(self, users: NDArray[np.integer]) -> "Histories":
        """The events of these users alone, as users 0 .. B - 1."""
        events, lengths = self._events_of(users)
        private_row = None if self.private_row is None else np.asarray(self.private_row[events])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Histories(offsets, np.asarray(self.items[events]), private_row, self.private_vectors)

    def _events_of(self, users: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the events of these users lie, one user after another, and how many each has."""
        starts = np.asarray(self.offsets[users])
        lengths = np.asarray(self.offsets[np.asarray(users) + 1]) - starts
        firsts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) + np.repeat(starts - firsts, lengths), lengths

    def training_block(self, users: NDArray[np.integer], max_history: int) -> HistoryBlock:
        """Inputs and next-item targets from each user's last `max_history` + 1 events."""
        starts, lengths = self._last(users, max_history + 1)
        events, mask = _padded(starts, np.maximum(lengths - 1, 0))
        items = self._take(self.items, events, mask)
        targets = self._take(self.items, events + 1, mask)
        inside = torch.from_numpy(mask)
        return HistoryBlock(items, inside, targets, inside, self._private(events, mask))

    def recent_block(self, users: NDArray[np.integer], max_history: int) -> HistoryBlock:
        """Each user's last `max_history` events and no targets: what serving looks at."""
        events, mask = _padded(*self._last(users, max_history))
        items = self._take(self.items, events, mask)
        nothing = torch.zeros_like(items)
        return HistoryBlock(
            items, torch.from_numpy(mask), nothing, nothing.bool(), self._private(events, mask)
        )

    def _last(
        self, users: NDArray[np.integer], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ends = self.offsets[users + 1]
        starts = np.maximum(self.offsets[users], ends - count)
        return starts, ends - starts

    @staticmethod
    def _take(
        column: NDArray[np.int32], events: NDArray[np.int64], mask: NDArray[np.bool_]
    ) -> Tensor:
        values = np.zeros(mask.shape, dtype=np.int64)
        values[mask] = column[events[mask]]
        return torch.from_numpy(values)

    def _private(self, events: NDArray[np.int64], mask: NDArray[np.bool_]) -> Tensor | None:
        if self.private_row is None or self.private_vectors is None:
            return None
        block = np.zeros((*mask.shape, self.private_vectors.shape[1]), dtype=np.float32)
        rows = np.full(mask.shape, NO_PRIVATE_TEXT, dtype=np.int64)
        rows[mask] = self.private_row[events[mask]]
        written = rows != NO_PRIVATE_TEXT
        block[written] = self.private_vectors[rows[written]]
        return torch.from_numpy(block)


def _padded(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Event indices (B, T) and which of them are real; T is the longest, at least 1."""
    width = max(1, int(lengths.max(initial=0)))
    steps = np.arange(width)
    return starts[:, None] + steps, steps < lengths[:, None]
