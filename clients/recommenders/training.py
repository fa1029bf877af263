"""A phone's round of a federated recommender, a block of phones at once; sums leave the node.

    rows of the task -> blocks of like length -> negatives drawn, examples counted -> the method's
    steps -> LocalUpdates -> clipped, summed (`clients.local_training`);  what is personal is staged

A method's own mathematics is in `models.recommenders`. Everything from `LocalUpdates` on is the
product's: clipping, noise of a phone's own, replies, faults, resuming.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.local_training import (
    LocalUpdates,
    add_up_rows,
    as_it_is,
    blocks_within,
    sum_of_clipped,
    updates_of,
)
from clients.protocol.messages import LocalTraining, TrainReply, TrainTask
from clients.recommenders.devices import RatingDevices
from models.errors import DataError
from models.parameters import Layout
from models.recommenders.examples import Drawn, LocalExamples
from models.recommenders.method import Method, Rates, Trained
from models.recommenders.methods import method_of
from models.recommenders.settings import MethodSettings

BYTES_PER_NUMBER = 4


def rates_of(training: LocalTraining) -> Rates:
    """What a method reads of the task's settings."""
    return Rates(training.local_epochs, training.rate, training.personal_rate)


def train_cohort(
    devices: RatingDevices,
    task: TrainTask,
    settings: MethodSettings,
    seed: int,
    *,
    noise_seed: int,
) -> TrainReply:
    """Train the devices of a task, clip each by itself, and add them up.

    Args:
        devices: of the node.
        task: which of them, from which parameters, and how.
        settings: of the method.
        seed: the run's seed.
        noise_seed: the run's, for the noise that devices add under local privacy.
    """
    layout = method_of(settings).layout(devices.num_items)
    blocks = trained_blocks(devices, task, settings, seed)
    return sum_of_clipped(blocks, task, layout.size, noise_seed)


def trained_blocks(
    devices: RatingDevices, task: TrainTask, settings: MethodSettings, seed: int
) -> Iterator[LocalUpdates]:
    """Train the devices of a task, block by block; when all are done what is personal is staged.

    Yields:
        what training made of each block.
    """
    method, training = method_of(settings), task.training
    layout, rates = method.layout(devices.num_items), rates_of(training)
    shared = layout.unflatten(torch.from_numpy(task.parameters.copy()))
    devices.personal.settle(task.round_number - 1)
    rows = rows_of(devices, task.device_ids)
    changed: list[tuple[NDArray[np.int64], Tensor]] = []
    negatives = 0 if method.is_dense else training.num_negatives
    for block in blocks_of(devices, rows, training.block_bytes, negatives, method):
        personal, begin = personal_of(devices, block, method, seed)
        drawn = draw(devices, block, task.round_number, negatives, settings, seed)
        local = method.examples(drawn, rates)
        with torch.no_grad():
            trained = method.train(shared, personal, local, rates, devices.population)
        changed.append((block, trained.personal - begin))
        yield _updates(trained, local, layout)
    if changed and method.personal_size:
        all_rows = np.concatenate([block for block, _ in changed])
        values = torch.cat([difference for _, difference in changed]).numpy()
        devices.personal.stage(task.round_number, all_rows, values)


def _updates(trained: Trained, local: LocalExamples, layout: Layout) -> LocalUpdates:
    """What leaves the phones of a block, before clipping."""

    def add_up(name: str, values: Tensor, weights: Tensor) -> Tensor:
        by_row = name in trained.by_row
        return local.weighted_sum(values, weights) if by_row else add_up_rows(name, values, weights)

    def spread(name: str, values: Tensor) -> Tensor:
        return local.spread(values) if name in trained.by_row else as_it_is(name, values)

    return updates_of(trained.losses, trained.moved, layout, add_up, spread)


def rows_of(devices: RatingDevices, device_ids: NDArray[np.integer]) -> NDArray[np.int64]:
    """Local rows of these devices.

    Raises:
        DataError: if one lives on another node.
    """
    rows = np.asarray(device_ids, dtype=np.int64) - devices.first_device
    if ((rows < 0) | (rows >= devices.histories.num_users)).any():
        last = devices.first_device + devices.histories.num_users - 1
        raise DataError(
            f"devices {np.asarray(device_ids)[:10].tolist()} are not all on this node, which holds "
            f"{devices.first_device} .. {last}"
        )
    return rows


def blocks_of(
    devices: RatingDevices,
    rows: NDArray[np.int64],
    block_bytes: int,
    num_negatives: int,
    method: Method,
) -> Iterator[NDArray[np.int64]]:
    """Devices of like length, so that padding is small and a block's work fits the cache."""
    num_items = devices.num_items
    per_row = method.layout(num_items).size // num_items + method.personal_size

    def bytes_of(length: int) -> int:
        touched = num_items if method.is_dense else length * (1 + num_negatives)
        return BYTES_PER_NUMBER * min(num_items, touched) * per_row

    return blocks_within(rows, devices.histories.lengths()[rows], bytes_of, block_bytes)


def personal_of(
    devices: RatingDevices, rows: NDArray[np.int64], method: Method, seed: int
) -> tuple[Tensor, Tensor]:
    """Personal parameters of some devices and where they began, (B, k) each."""
    begin = method.personal_start(seed, rows + devices.first_device)
    stored = np.array(devices.personal.settled[rows, : method.personal_size])
    return begin + torch.from_numpy(stored), begin


def draw(
    devices: RatingDevices,
    rows: NDArray[np.int64],
    round_number: int,
    num_negatives: int,
    settings: MethodSettings,
    seed: int,
) -> Drawn:
    """The examples of some devices in a round."""
    sampler = devices.sampler(settings, num_negatives)
    return Drawn.of(sampler, rows, (seed, round_number, rows + devices.first_device))
