"""A block of devices' examples, counted: how often is which item in which step, and as what.

    device 0   positives 3 7    drawn 5 8 | 5 1    steps of 3 in random order:  7 5 8 | 3 5 1
    rows       1 3 5 7 8                           the items it touches, each once
    counts     0 0 1 1 1 | 1 1 1 0 0               (S, L)
    positives  0 0 0 1 0 | 0 1 0 0 0               (S, L)

All losses here depend on an item through its score alone, so a step over examples is a step over
items with counts: no example is ever looked up by itself, and what a phone changes of the item
table has L rows and not N. With n, p a step's counts and positives, m = sum n, s the scores:

    loss = sum ( n softplus(s) - p s ) / m          binary cross-entropy, mean over examples
    g    = d loss / d s = ( n sigmoid(s) - p ) / m
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.recommenders.negatives import NegativeSampler
from models.seeds import uniforms


@dataclass(frozen=True, slots=True)
class Drawn:
    """The positives and negatives of B devices in a round, before they are cut into steps.

    Attributes:
        items: (B, T, 1 + K) a positive and its negatives, T positives of the longest device; N
            where there is none.
        keys: (B, T) in [0, 1) of each positive, to halve them by; 2 where there is none.
        num_items: N.
        address: (seed, round number, device ids (B,)).
    """

    items: NDArray[np.int64]
    keys: NDArray[np.float64]
    num_items: int
    address: tuple[int, int, NDArray[np.int64]]

    @classmethod
    def of(
        cls,
        sampler: NegativeSampler,
        users: NDArray[np.int64],
        address: tuple[int, int, NDArray[np.int64]],
    ) -> "Drawn":
        """Draw the negatives of these users (rows of the sampler's histories)."""
        own = sampler.histories.cut(users)
        lengths = own.lengths()
        width = max(1, int(lengths.max(initial=0)))
        inside = np.arange(width) < lengths[:, None]
        positives = np.full(inside.shape, sampler.num_items, dtype=np.int64)
        positives[inside] = own.items
        seed, round_number, device_ids = address
        keys = uniforms(seed, "halves", round_number, device_ids[:, None], np.arange(width))
        keys[~inside] = 2.0
        examples = positives[:, :, None]
        if sampler.num_negatives:
            negatives = sampler.draw(users, address)
            negatives[~inside] = sampler.num_items
            examples = np.concatenate([examples, negatives], axis=2)
        return cls(examples, keys, sampler.num_items, address)

    def together(self) -> "LocalExamples":
        """All examples in one step."""
        return self._counted(np.zeros((1, *self.items.shape), dtype=np.int64), 1)

    def in_halves(self) -> "LocalExamples":
        """Two steps: a random half of the positives with their negatives, and the other half."""
        lengths = (self.keys < 2.0).sum(axis=1)
        # The larger half is the first: who has one positive has it there.
        middle = np.sort(self.keys, axis=1)[np.arange(len(lengths)), (lengths - 1) // 2]
        second = (self.keys > middle[:, None])[:, :, None]
        steps = np.broadcast_to(second, self.items.shape).astype(np.int64)
        return self._counted(steps[None], 2)

    def in_batches(self, size: int, epochs: int) -> "LocalExamples":
        """Steps of `size` examples, in an order that is drawn anew for each epoch."""
        inside = (self.items < self.num_items).reshape(len(self.items), -1)
        per_epoch = -(-int(inside.sum(axis=1).max(initial=1)) // size)
        steps = np.zeros((epochs, *inside.shape), dtype=np.int64)
        if per_epoch > 1:
            seed, round_number, device_ids = self.address
            at = (device_ids[:, None], np.arange(inside.shape[1]))
            for epoch in range(epochs):
                keys = uniforms(seed, "order of examples", round_number, epoch, *at)
                keys[~inside] = 2.0
                order = np.argsort(keys, axis=1)
                batch = np.broadcast_to(np.arange(order.shape[1]) // size, order.shape)
                np.put_along_axis(steps[epoch], order, batch, axis=1)
        steps += per_epoch * np.arange(epochs)[:, None, None]
        return self._counted(steps.reshape(epochs, *self.items.shape), per_epoch * epochs)

    def _counted(self, steps: NDArray[np.int64], num_steps: int) -> "LocalExamples":
        """Count examples by step and item.

        Args:
            steps: (passes, B, T, 1 + K) the step in which an example is, once in each pass.
            num_steps: S.
        """
        count, num_items = len(self.items), self.num_items
        flat = self.items.reshape(count, -1)
        present = np.zeros((count, num_items + 1), dtype=np.bool_)
        present[np.arange(count)[:, None], flat] = True
        present[:, num_items] = False
        place = np.cumsum(present, axis=1, dtype=np.int32) - 1
        width = max(1, int(place[:, -1].max(initial=0)) + 1)
        devices, items = np.nonzero(present)
        rows = np.full((count, width), num_items, dtype=np.int64)
        rows[devices, place[devices, items]] = items
        slots = np.take_along_axis(place, flat, axis=1).reshape(self.items.shape)
        at = (np.arange(count)[:, None, None] * num_steps + steps) * width + slots
        size, shape = count * num_steps * width, (count, num_steps, width)
        at = np.where(self.items < num_items, at, size)  # what is none is counted at the end
        counts = np.bincount(at.ravel(), minlength=size + 1)[:size]
        positives = np.bincount(at[..., 0].ravel(), minlength=size + 1)[:size]
        return LocalExamples(
            torch.from_numpy(rows),
            torch.from_numpy(counts.reshape(shape).astype(np.float32)),
            torch.from_numpy(positives.reshape(shape).astype(np.float32)),
            num_items,
        )


@dataclass(frozen=True, slots=True)
class LocalExamples:
    """Counted examples of B devices.

    Attributes:
        rows: (B, L) int64 the items that each device touches, ascending; N where there is none.
        counts: (B, S, L) float32, n: examples of each item in each step.
        positives: (B, S, L) float32, p: how many of them are positive.
        num_items: N.
    """

    rows: Tensor
    counts: Tensor
    positives: Tensor
    num_items: int

    @property
    def num_steps(self) -> int:
        """S."""
        return self.counts.shape[1]

    def take(self, table: Tensor) -> Tensor:
        """The devices' own copies of rows of an item table, (N, ...) -> (B, L, ...)."""
        places = self.rows.clamp(max=self.num_items - 1).reshape(-1)
        return table.index_select(0, places).reshape(*self.rows.shape, *table.shape[1:])

    def sizes(self, step: int) -> Tensor:
        """Examples of each device in a step, (B, 1); 1 where there is none."""
        return self.counts[:, step].sum(dim=1, keepdim=True).clamp(min=1)

    def slope(self, step: int, scores: Tensor) -> Tensor:
        """G of the module's head at scores (B, L)."""
        counts, positives = self.counts[:, step], self.positives[:, step]
        return (scores.sigmoid().mul_(counts) - positives).div_(self.sizes(step))

    def loss(self, step: int, scores: Tensor) -> Tensor:
        """The loss of each device in a step at scores (B, L), (B,)."""
        each = self.counts[:, step] * F.softplus(scores) - self.positives[:, step] * scores
        return (each / self.sizes(step)).sum(dim=1)

    def weighted_sum(self, values: Tensor, weights: Tensor) -> Tensor:
        """Add up what devices have for their rows: (B, L, ...) and weights (B,) -> (N, ...)."""
        shape = values.shape[2:]
        total = torch.zeros(self.num_items + 1, *shape)
        scaled = values * weights.reshape(-1, *[1] * (values.ndim - 1))
        total.index_add_(0, self.rows.reshape(-1), scaled.reshape(-1, *shape))
        return total[:-1]

    def spread(self, values: Tensor) -> Tensor:
        """The same rows over the whole catalogue, (B, L, ...) -> (B, N, ...)."""
        whole = torch.zeros(len(values), self.num_items + 1, *values.shape[2:])
        at = self.rows.reshape(*self.rows.shape, *[1] * (values.ndim - 2)).expand(values.shape)
        return whole.scatter_(1, at, values)[:, :-1]

    def put_over(self, scores: Tensor, own: Tensor) -> Tensor:
        """Scores of the catalogue (B, N) with a device's own scores (B, L) in their places."""
        whole = torch.cat([scores, torch.zeros(len(scores), 1)], dim=1)
        return whole.scatter_(1, self.rows, own)[:, :-1]

    def batch(self, device: int, step: int) -> tuple[Tensor, Tensor]:
        """One device's step, example by example: items (M,) and labels (M,), for the slow truth."""
        counts, positives = (each[device, step].long() for each in (self.counts, self.positives))
        rows = self.rows[device]
        items = torch.cat(
            [rows.repeat_interleave(positives), rows.repeat_interleave(counts - positives)]
        )
        labels = torch.zeros(len(items))
        labels[: int(positives.sum())] = 1.0
        return items, labels
