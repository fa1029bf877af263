"""What every local training has in common: blocks of devices, and sums of their clipped updates.

    devices of the task -> blocks with a working set that fits the cache -> LocalUpdates of a block
    -> norm of each device -> clipped -> one sum in float64, the only thing that leaves the node
       (with noise that each device adds to its own update, where the run wants that)

What is trained is another file's matter: the recommender (`clients.recommender_training`), or a
perceptron on labelled rows (`clients.perceptron_training`). Training on a phone is simulated here
in torch; serving on a phone (`clients.serving`) never needs it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.privacy.clipping import clip_factors
from clients.privacy.local_noise import noise_of_devices
from clients.protocol.messages import LocalTraining, TrainReply, TrainTask
from models.errors import EngineError
from models.parameters import Layout

Shared = dict[str, Tensor]
AddUp = Callable[[str, Tensor, Tensor], Tensor]
Spread = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LocalUpdates:
    """What training made of B devices, before clipping.

    No device's update need be laid out as one row: a block knows the norms, and how to add its
    updates up. Where each device rounds or noises its own, `rows` lays them out, a block at a time.

    Attributes:
        losses: (B,) mean loss of each device before its first step.
        norms: (B,) L2 norm of each device's whole update.
        weighted_sum: weights (B,) -> sum over devices of weight * update, (P,) float32; a device
            whose norm is not finite counts as zeros.
        rows: -> the updates themselves, (B, P) float32, before clipping; zeros for such a device.
    """

    losses: Tensor
    norms: Tensor
    weighted_sum: Callable[[Tensor], Tensor]
    rows: Callable[[], Tensor]

    def each(self) -> Tensor:
        """The updates one by one, (B, P), out of sums: the slow truth of `rows`."""
        return torch.stack([self.weighted_sum(one) for one in torch.eye(len(self.norms))])


def processor_of(training: LocalTraining) -> torch.device:
    """Where blocks are trained.

    Raises:
        EngineError: if this machine has no such processor.
    """
    wanted = training.processor
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            'federation.training.processor is "cuda", and torch finds no such GPU on this machine: '
            'set it to "cpu", or install a torch that knows it'
        )
    return torch.device("cpu" if wanted == "auto" else wanted)


def as_it_is(name: str, values: Tensor) -> Tensor:
    """What every device has whole is laid out already."""
    return values


def updates_of(
    losses: Tensor, moved: Shared, layout: Layout, add_up: AddUp, spread: Spread = as_it_is
) -> LocalUpdates:
    """The updates of a block from what each device has moved.

    Args:
        losses: (B,) mean loss of each device.
        moved: name -> (B, ...); the rows of a device that is not finite are set to 0, in place.
        layout: of what is sent.
        add_up: name, (B, ...) and weights (B,) -> the weighted sum over devices.
        spread: name, (B, ...) -> the same over the whole catalogue.
    """
    squares = [tensor.reshape(len(losses), -1).norm(dim=1).square() for tensor in moved.values()]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    for device in torch.isfinite(norms).logical_not().nonzero():  # 0 * NaN would be NaN
        for tensor in moved.values():
            tensor[device] = 0.0

    def weighted_sum(weights: Tensor) -> Tensor:
        here = weights.to(losses.device)
        added = {name: add_up(name, tensor, here) for name, tensor in moved.items()}
        return layout.flatten(added).cpu()

    def rows() -> Tensor:
        whole = {name: spread(name, tensor) for name, tensor in moved.items()}
        return layout.flatten(whole, batch_dims=1).cpu()

    return LocalUpdates(losses.cpu(), norms.cpu(), weighted_sum, rows)


def add_up_rows(name: str, values: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of tensors that every device has whole: (B, ...) -> (...)."""
    return (weights @ values.reshape(len(values), -1)).reshape(values.shape[1:])


def sum_of_clipped(
    blocks: Iterable[LocalUpdates], task: TrainTask, num_parameters: int, noise_seed: int
) -> TrainReply:
    """Clip every device's update by itself and add them up; in a private run say no more.

    Args:
        blocks: the devices of the task, block by block.
        task: clip norm, and what must not leave the node.
        num_parameters: P, of an update.
        noise_seed: the run's, for the noise that devices add.
    """
    clip_norm, privacy = task.training.clip_norm, task.privacy
    update_sum = torch.zeros(num_parameters, dtype=torch.float64)
    counts = {"num_devices": 0, "num_clipped": 0, "num_refused": 0, "num_unclipped": 0}
    loss_sum = norm_sum = 0.0
    for block in blocks:
        update_sum += block.weighted_sum(clip_factors(block.norms, clip_norm))
        finite = torch.isfinite(block.norms)
        counts["num_devices"] += int(finite.sum())
        counts["num_refused"] += int((~finite).sum())
        counts["num_clipped"] += int((block.norms[finite] > clip_norm).sum())
        counts["num_unclipped"] += int((block.norms[finite] <= clip_norm).sum())
        loss_sum += float(block.losses[finite].double().sum())
        norm_sum += float(block.norms[finite].double().sum())
    noised = update_sum.numpy()
    if privacy.local_noise_multiplier:
        std = privacy.local_noise_multiplier * clip_norm
        devices, round_number = task.device_ids, task.round_number
        noised += noise_of_devices(noise_seed, round_number, devices, num_parameters, std)
    reply = TrainReply(noised, **counts, loss_sum=loss_sum, norm_sum=norm_sum)
    return reply.allowed_by(privacy)


def blocks_within(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], bytes_of: Callable[[int], int], limit: int
) -> Iterator[NDArray[np.int64]]:
    """Cut devices into blocks of like length, so that padding is small and blocks fit the cache.

    Args:
        rows: (D,) devices.
        lengths: (D,) of their histories.
        bytes_of: working set of one device in a block whose longest history has this length.
        limit: bytes of a block; a device that alone needs more is a block of its own.

    Yields:
        rows, each once; the same devices and limit give the same blocks.
    """
    order = np.lexsort((rows, lengths))
    rows, lengths = rows[order], lengths[order]
    end = len(rows)
    while end > 0:  # from the longest: it says how many go with it
        count = max(1, limit // max(1, bytes_of(int(lengths[end - 1]))))
        start = max(0, end - count)
        yield rows[start:end]
        end = start
