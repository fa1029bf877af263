"""What a phone does for somebody's own recommender (`models.recommenders.own`), a block at a time.

    rows of the task -> blocks of like length -> negatives drawn -> local_epochs steps of SGD on the
    whole history -> LocalUpdates -> clipped, summed (`clients.local_training`)

Each phone of a block has a whole copy of the parameters: a model that knows which rows a phone
touches trains much faster (`clients.recommenders.training`), and can do no more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.local_evaluation import Ranks, rank_held_out
from clients.local_training import (
    LocalUpdates,
    add_up_rows,
    blocks_within,
    sum_of_clipped,
    updates_of,
)
from clients.protocol.messages import EvalReply, EvalTask, LocalTraining, TrainReply, TrainTask
from clients.protocol.partitions import partition_bounds
from clients.recommenders.evaluation import sums_per_tier
from models.errors import DataError
from models.histories import Histories
from models.negatives import Negatives
from models.parameters import Layout
from models.recommenders.own import (
    OwnModel,
    Parameters,
    Phone,
    losses_and_gradients,
    scores_of,
)

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class OwnDevices:
    """The devices of a node. Rows are local: device `first_device + row`.

    Attributes:
        first_device: id of the device in row 0.
        histories: training events of the node's devices.
        held_out: (B,) int32 item that each evaluates itself on, -1 where it has none.
        tier: (B,) int8.
        tiers: names of the tiers.
        num_items: N.
    """

    first_device: int
    histories: Histories
    held_out: NDArray[np.int32]
    tier: NDArray[np.int8]
    tiers: tuple[str, ...]
    num_items: int

    def partition(self, partition_id: int, num_partitions: int) -> "OwnDevices":
        """One node's part of the population."""
        first, end = partition_bounds(self.histories.num_users, partition_id, num_partitions)
        rows = np.arange(first, end)
        cut = self.histories.cut(rows)
        return OwnDevices(
            first, cut, self.held_out[rows], self.tier[rows], self.tiers, self.num_items
        )

    def rows(self, device_ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Local rows of these devices.

        Raises:
            DataError: if one lives on another node.
        """
        rows = np.asarray(device_ids, dtype=np.int64) - self.first_device
        if ((rows < 0) | (rows >= self.histories.num_users)).any():
            last = self.first_device + self.histories.num_users - 1
            raise DataError(
                f"devices {np.asarray(device_ids)[:10].tolist()} are not all on this node, which "
                f"holds {self.first_device} .. {last}"
            )
        return rows

    def phones(self, rows: NDArray[np.int64], negatives: NDArray[np.int64]) -> Phone:
        """Some devices as a model sees them, padded to the longest.

        Args:
            rows: (B,).
            negatives: (B, K).
        """
        starts, lengths = self.histories.offsets[rows], self.histories.lengths()[rows]
        steps = np.arange(max(1, int(lengths.max(initial=0))))
        inside = steps < lengths[:, None]
        items = np.zeros(inside.shape, dtype=np.int64)
        items[inside] = self.histories.items[(starts[:, None] + steps)[inside]]
        here = torch.from_numpy(inside.astype(np.float32))
        return Phone(torch.from_numpy(items), here, torch.from_numpy(negatives))

    def training_phones(
        self, rows: NDArray[np.int64], num_negatives: int, seed: int, round_number: int
    ) -> Phone:
        """The same with the negatives of a round."""
        if not num_negatives:
            return self.phones(rows, np.zeros((len(rows), 0), dtype=np.int64))
        address = (seed, round_number, rows + self.first_device)
        drawn = Negatives(num_negatives).draw(self.histories, rows, self.num_items, address)
        return self.phones(rows, drawn)


def train_cohort(
    devices: OwnDevices,
    model: OwnModel,
    layout: Layout,
    task: TrainTask,
    seed: int,
    *,
    noise_seed: int,
) -> TrainReply:
    """Train the devices of a task, clip each by itself, and add them up.

    Args:
        devices: of the node.
        model: the recommender.
        layout: of its parameters.
        task: which devices, from which parameters, and how.
        seed: the run's seed.
        noise_seed: the run's, for the noise that devices add under local privacy.
    """
    blocks = trained_blocks(devices, model, layout, task, seed)
    return sum_of_clipped(blocks, task, layout.size, noise_seed)


def trained_blocks(
    devices: OwnDevices, model: OwnModel, layout: Layout, task: TrainTask, seed: int
) -> Iterator[LocalUpdates]:
    """Train the devices of a task, block by block.

    Yields:
        what training made of each block.
    """
    training = task.training
    start = layout.unflatten(torch.from_numpy(np.array(task.parameters)))
    rows = devices.rows(task.device_ids)
    for block in _blocks(devices, rows, layout, training.block_bytes):
        phones = devices.training_phones(block, training.num_negatives, seed, task.round_number)
        losses, moved = train_block(model, start, phones, training)
        yield updates_of(losses, moved, layout, add_up_rows)


def _blocks(
    devices: OwnDevices, rows: NDArray[np.int64], layout: Layout, limit: int
) -> Iterator[NDArray[np.int64]]:
    def bytes_of(length: int) -> int:
        return BYTES_PER_NUMBER * (layout.size + length)

    return blocks_within(rows, devices.histories.lengths()[rows], bytes_of, limit)


def train_block(
    model: OwnModel, start: Parameters, phones: Phone, training: LocalTraining
) -> tuple[Tensor, Parameters]:
    """Plain SGD on each phone's own loss; `proximal` pulls it back to where the round began.

    A phone without any event has nothing to learn from: its update and its loss are 0.

    Returns:
        losses (B,) before the first step, and name -> (B, ...) what each phone changed.
    """
    count = len(phones.items)
    own = {name: each.repeat(count, *[1] * each.ndim) for name, each in start.items()}
    first = torch.zeros(count)
    for epoch in range(training.local_epochs):
        losses, gradients = losses_and_gradients(model, own, phones)
        first = losses if epoch == 0 else first
        for name, gradient in gradients.items():
            pull = training.proximal * (own[name] - start[name])
            own[name] = own[name] - training.rate * (gradient + pull)
    empty = phones.here.sum(dim=1) == 0
    moved = {name: own[name] - start[name] for name in start}
    for each in moved.values():
        each[empty] = 0.0
    return first.masked_fill(empty, 0.0), moved


def train_one(
    model: OwnModel, start: Parameters, phone: Phone, training: LocalTraining
) -> tuple[Tensor, Parameters]:
    """One phone without padding, by torch's own gradients: the slow truth of `train_block`."""
    own = {name: each.clone().requires_grad_() for name, each in start.items()}
    first = torch.zeros(())
    for epoch in range(training.local_epochs):
        loss = model.loss(own, phone)
        first = loss.detach() if epoch == 0 else first
        gradients = torch.autograd.grad(loss, [*own.values()], materialize_grads=True)
        for name, gradient in zip(list(own), gradients, strict=True):
            pull = training.proximal * (own[name].detach() - start[name])
            stepped = own[name].detach() - training.rate * (gradient + pull)
            own = own | {name: stepped.requires_grad_()}
    return first, {name: own[name].detach() - start[name] for name in start}


def ranked_blocks(
    devices: OwnDevices,
    model: OwnModel,
    parameters: Parameters,
    rows: NDArray[np.int64],
    block_bytes: int,
    seed: int,
) -> Iterator[tuple[NDArray[np.int64], Ranks]]:
    """Let devices that have a held-out item rank it.

    Args:
        devices: of the node.
        model: the recommender.
        parameters: by name.
        rows: (B,) which devices.
        block_bytes: working set of devices that rank at once.
        seed: the run's seed.

    Yields:
        local rows of some devices, and where their held-out items stand.
    """
    at_a_time = max(1, block_bytes // (BYTES_PER_NUMBER * devices.num_items))
    rows = rows[devices.held_out[rows] >= 0]
    for first in range(0, len(rows), at_a_time):
        block = rows[first : first + at_a_time]
        phones = devices.training_phones(block, 0, seed, 0)
        scores = scores_of(model, parameters, phones).numpy()
        seen = devices.histories.seen(block, devices.num_items)
        ids = block + devices.first_device
        yield block, rank_held_out(scores, devices.held_out[block], seen, ids, seed)


def evaluate_devices(
    devices: OwnDevices, model: OwnModel, layout: Layout, task: EvalTask, seed: int
) -> EvalReply:
    """Evaluate the devices of the task, or all of the node; metric sums per tier."""
    everybody = np.arange(devices.histories.num_users)
    rows = devices.rows(task.device_ids) if len(task.device_ids) else everybody
    parameters = layout.unflatten(torch.from_numpy(np.array(task.parameters)))
    reply = EvalReply({})
    for block, ranks in ranked_blocks(devices, model, parameters, rows, task.block_bytes, seed):
        reply = reply + sums_per_tier(ranks, devices.tier[block], devices.tiers)
    return reply
