"""Training a perceptron on rows that phones have labelled: the shortest local training there is.

It shows what a model of one's own takes to be trained by the fleet: a `LocalUpdates` for a block of
devices. Messages, clipping, sums, rounds, faults and resuming are the product's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clients.local_training import (
    LocalUpdates,
    add_up_rows,
    blocks_within,
    sum_of_clipped,
    updates_of,
)
from clients.protocol.messages import TrainReply, TrainTask
from models.perceptron import PerceptronSettings, Rows, perceptron_layout, sgd_step

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class LabelledDevices:
    """The devices of a node and the rows they have labelled.

    Attributes:
        first_device: id of the device in row 0.
        offsets: (B + 1,) int64, device b owns rows offsets[b] .. offsets[b + 1].
        features: (E, inputs) float32.
        labels: (E,) float32, 0 or 1.
    """

    first_device: int
    offsets: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.float32]

    def rows(self, devices: NDArray[np.int64]) -> Rows:
        """Padded rows of some devices (local numbers)."""
        starts = self.offsets[devices]
        lengths = self.offsets[devices + 1] - starts
        steps = np.arange(int(lengths.max(initial=0)))
        inside = steps < lengths[:, None]
        at = np.where(inside, starts[:, None] + steps, 0)
        mask = None if inside.all() else torch.from_numpy(inside[..., None].astype(np.float32))
        labels = torch.from_numpy(self.labels[at][..., None])
        return Rows(torch.from_numpy(self.features[at]), labels, mask)


def train_cohort(
    devices: LabelledDevices, task: TrainTask, settings: PerceptronSettings, noise_seed: int
) -> TrainReply:
    """Train the devices of a task, clip each by itself, and add them up.

    The noise seed is for the noise that devices add under local privacy; nothing else is drawn.
    """
    layout = perceptron_layout(settings)
    start = layout.unflatten(torch.from_numpy(task.parameters.copy()))
    numbers = np.asarray(task.device_ids, dtype=np.int64) - devices.first_device
    lengths = devices.offsets[numbers + 1] - devices.offsets[numbers]

    def bytes_of(length: int) -> int:
        return BYTES_PER_NUMBER * (layout.size + length * settings.inputs)

    def blocks() -> Iterator[LocalUpdates]:
        for block in blocks_within(numbers, lengths, bytes_of, task.training.block_bytes):
            yield train_block(devices.rows(block), start, task, settings)

    return sum_of_clipped(blocks(), task, layout.size, noise_seed)


def train_block(
    rows: Rows, start: dict[str, torch.Tensor], task: TrainTask, settings: PerceptronSettings
) -> LocalUpdates:
    """Plain SGD, `local_epochs` passes over each device's rows in their order.

    The loss that a device reports is that of the first pass, each batch before its own step: to
    read all rows once more beforehand would cost a quarter of the training.

    Args:
        rows: of B devices.
        start: parameters without a leading axis.
        task: how to train.
        settings: shape and batch size.
    """
    count, num_rows = rows.labels.shape[:2]
    own = {name: tensor.repeat(count, *[1] * tensor.ndim) for name, tensor in start.items()}
    with torch.no_grad():
        weights = rows.shares_of_batches(settings.batch_size)
        losses = torch.zeros(count)
        for epoch in range(task.training.local_epochs):
            for number, first in enumerate(range(0, num_rows, settings.batch_size)):
                batch = rows.batch(first, settings.batch_size)
                before = sgd_step(own, batch, task.training.rate)
                if epoch == 0:
                    losses += weights[:, number] * before
        for name, tensor in own.items():
            tensor.sub_(start[name])
    return updates_of(losses, own, perceptron_layout(settings), add_up_rows)
