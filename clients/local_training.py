"""Training on the phone: one device in a readable loop, and many devices at once.

`train_one_device` is the definition: plain SGD over the recent history, one moment after another.
`train_devices` does the same for a block of devices whose parameters have a leading device axis,
with batched matrix products, padding and masks. A test holds the two to each other, and adding
padding devices changes nothing.

Training on a phone is simulated here in torch; serving on a phone (`clients.serving`) never needs
it. What comes out of a node is a sum of clipped updates, in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clients.privacy import clip
from clients.protocol.messages import TrainReply, TrainTask
from clients.shard import DeviceShard
from models.negatives import Negatives
from models.recommender import (
    Personal,
    RecommenderSettings,
    Shared,
    item_vectors,
    losses,
    parameter_layout,
    state_of_one_user,
)


@dataclass(frozen=True, slots=True)
class LocalUpdates:
    """What training made of B devices, before clipping.

    Attributes:
        updates: (B, P) float32, parameters after minus parameters before.
        personal: the devices' own parameters after training; they stay on the phone.
        losses: (B,) mean loss of each device before its first step.
    """

    updates: Tensor
    personal: Personal
    losses: Tensor


def train_cohort(
    shard: DeviceShard, task: TrainTask, settings: RecommenderSettings, seed: int
) -> TrainReply:
    """Train the devices of a task, clip each by itself, and add them up.

    The personal parameters of the devices are staged: they count once the cloud has the round.

    Args:
        shard: the node's devices.
        task: which of them, from which parameters, and how.
        settings: the shape of the recommender.
        seed: the run's seed.
    """
    layout = parameter_layout(settings, *shard.text.shape)
    parameters = layout.unflatten(torch.from_numpy(task.parameters.copy()))
    reply = TrainReply.nothing(layout.size)
    shard.personal.settle(task.round_number - 1)
    changed: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for rows in blocks_by_length(shard, task.device_ids, task.training.block_size):
        trained = train_devices(shard, rows, parameters, task, settings, seed)
        reply = reply + _clipped_sum(trained, task.training.clip_norm)
        changed.append((rows, trained.personal.taste.numpy()))
    if changed:
        rows, values = (np.concatenate(each) for each in zip(*changed, strict=True))
        shard.personal.stage(task.round_number, rows, values)
    return reply


def blocks_by_length(
    shard: DeviceShard, device_ids: NDArray[np.integer], block_size: int
) -> Iterator[NDArray[np.int64]]:
    """Cut a cohort into blocks of devices with histories of like length, so padding is small."""
    rows = np.sort(shard.rows(device_ids))
    lengths = shard.histories.lengths()[rows]
    rows = rows[np.argsort(lengths, kind="stable")]
    for start in range(0, len(rows), block_size):
        yield rows[start : start + block_size]


def train_devices(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    parameters: Shared,
    task: TrainTask,
    settings: RecommenderSettings,
    seed: int,
) -> LocalUpdates:
    """Train a block of devices at once, each on its own copy of the parameters.

    Args:
        shard: the node's devices.
        rows: (B,) local rows.
        parameters: shared parameters without a leading axis.
        task: round number and local training settings.
        settings: the shape of the recommender.
        seed: the run's seed.
    """
    training = task.training
    history = shard.histories.training_block(rows, settings.max_history)
    text = torch.from_numpy(shard.text)
    negatives = _negatives(shard, rows, task, seed)
    own = {name: tensor.expand(len(rows), *tensor.shape) for name, tensor in parameters.items()}
    taste = torch.from_numpy(np.array(shard.taste[rows]))
    first_losses: Tensor | None = None
    for _ in range(training.local_epochs):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        taste = taste.detach().requires_grad_()
        each = losses(leaves, text, history, taste, negatives)  # (B,)
        first_losses = each.detach() if first_losses is None else first_losses
        grads = torch.autograd.grad(
            each.sum(), [*leaves.values(), taste], allow_unused=True, materialize_grads=True
        )
        own = {
            name: leaf.detach() - training.rate * grad
            for (name, leaf), grad in zip(leaves.items(), grads[:-1], strict=True)
        }
        taste = taste.detach() - training.personal_rate * grads[-1]
    assert first_losses is not None  # local_epochs >= 1
    layout = parameter_layout(settings, *shard.text.shape)
    updates = layout.flatten(own, batch_dims=1) - layout.flatten(parameters)
    return LocalUpdates(updates, Personal(taste), first_losses)


def train_one_device(
    shard: DeviceShard,
    row: int,
    parameters: Shared,
    task: TrainTask,
    settings: RecommenderSettings,
    seed: int,
) -> LocalUpdates:
    """Train one device in a plain loop: the definition of `train_devices`.

    Arguments and result as there, for a block of one.
    """
    training = task.training
    start, end = shard.histories.offsets[row : row + 2]
    start = max(start, end - settings.max_history - 1)
    events = torch.from_numpy(np.array(shard.histories.items[start:end], dtype=np.int64))
    private = _private_vectors_of(shard, int(start), int(end))
    text = torch.from_numpy(shard.text)
    negatives = _negatives(shard, np.array([row]), task, seed)
    own = {name: tensor.clone() for name, tensor in parameters.items()}
    taste = torch.from_numpy(np.array(shard.taste[row]))
    first_loss = torch.zeros(())
    for epoch in range(training.local_epochs):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        taste = taste.detach().requires_grad_()
        loss = _loss_of_one(leaves, text, events, private, taste, negatives)
        if epoch == 0:
            first_loss = loss.detach()
        loss.backward()
        for name, leaf in leaves.items():
            step = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            own[name] = leaf.detach() - training.rate * step
        if taste.grad is not None:
            taste = taste.detach() - training.personal_rate * taste.grad
    layout = parameter_layout(settings, *shard.text.shape)
    update = layout.flatten(own) - layout.flatten(parameters)
    return LocalUpdates(update.unsqueeze(0), Personal(taste.unsqueeze(0).detach()), first_loss)


def _loss_of_one(
    parameters: Shared,
    text: Tensor,
    events: Tensor,
    private: Tensor | None,
    taste: Tensor,
    negatives: Tensor | None,
) -> Tensor:
    """Mean loss over the moments of one device: after event t, which item comes next?"""
    items = item_vectors({k: v.unsqueeze(0) for k, v in parameters.items()}, text)[0]
    total = torch.zeros(())
    for moment in range(len(events) - 1):
        seen = None if private is None else private[: moment + 1]
        state = state_of_one_user(parameters, items, events[: moment + 1], seen, taste)
        scores = parameters["scale"] * (items @ state) + parameters["item_bias"]
        target = events[moment + 1]
        if negatives is not None:
            rivals = negatives[0][negatives[0] != target]
            scores = scores[torch.cat([target.reshape(1), rivals])]
            target = torch.zeros((), dtype=torch.long)
        total = total + F.cross_entropy(scores, target)
    return (total + 0.0 * taste.sum()) / max(len(events) - 1, 1)


def _negatives(
    shard: DeviceShard, rows: NDArray[np.int64], task: TrainTask, seed: int
) -> Tensor | None:
    """Each device's sampled negatives (B, K), drawn at its own address; None: whole catalogue."""
    if task.training.num_negatives == 0:
        return None
    sampling = Negatives(task.training.num_negatives)
    drawn = [
        sampling.draw(
            shard.histories,
            int(row),
            shard.manifest.num_items,
            (seed, task.round_number, shard.first_device + int(row)),
        )
        for row in rows
    ]
    return torch.from_numpy(np.stack(drawn))


def _private_vectors_of(shard: DeviceShard, start: int, end: int) -> Tensor | None:
    """Vectors of what one device wrote with its events start .. end, 0 where nothing."""
    histories = shard.histories
    if histories.private_row is None or histories.private_vectors is None:
        return None
    vectors = np.zeros((end - start, histories.private_vectors.shape[1]), dtype=np.float32)
    for position, private_row in enumerate(histories.private_row[start:end]):
        if private_row >= 0:
            vectors[position] = histories.private_vectors[private_row]
    return torch.from_numpy(vectors)


def _clipped_sum(trained: LocalUpdates, clip_norm: float) -> TrainReply:
    clipped, norms = clip(trained.updates, clip_norm)
    return TrainReply(
        update_sum=clipped.double().sum(dim=0).numpy(),
        num_devices=len(clipped),
        num_clipped=int((norms > clip_norm).sum()),
        loss_sum=float(trained.losses.double().sum()),
        norm_sum=float(norms.double().sum()),
    )
