"""Training the recommender on the phone: one device in a readable loop, and many devices at once.

`train_one_device` is the definition: plain SGD over the recent history, one moment after another,
with torch's own gradients. `train_devices` does the same for a block of devices, with written out
gradients (`models.recommender_gradients`), batched products, padding and masks; no device has a
copy of the model, only what its steps change. A test holds the two to each other, and adding
padding devices changes nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clients.local_training import (
    LocalUpdates,
    blocks_within,
    processor_of,
    sum_of_clipped,
    updates_of,
)
from clients.privacy.clipping import clip_factors
from clients.protocol.messages import LocalTraining, TrainReply, TrainTask
from clients.shard import DeviceShard
from models.histories import Histories
from models.negatives import Negatives
from models.parameters import Layout
from models.recommender import (
    Personal,
    RecommenderSettings,
    Shared,
    item_vectors,
    parameter_layout,
    state_of_one_user,
    trained_names,
)
from models.recommender_gradients import LocalCatalogue, gradients

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class TrainedDevices:
    """A block after its training.

    Attributes:
        updates: what may leave the phones, clipped and added up.
        personal: the devices' own parameters after training; they stay on the phone.
        duals: (B, P) float32, FedDyn's, which stay there too; (B, 0) without it.
    """

    updates: LocalUpdates
    personal: Personal
    duals: Tensor


def train_cohort(
    shard: DeviceShard,
    task: TrainTask,
    settings: RecommenderSettings,
    seed: int,
    *,
    noise_seed: int,
) -> TrainReply:
    """Train the devices of a task, clip each by itself, and add them up.

    Args:
        shard: the node's devices.
        task: which of them, from which parameters, and how.
        settings: the shape of the recommender.
        seed: the run's seed.
        noise_seed: the run's, for the noise that devices add under local privacy.
    """
    blocks = (updates for _, updates in trained_blocks(shard, task, settings, seed))
    return sum_of_clipped(blocks, task, num_trained(shard, task, settings), noise_seed)


def num_trained(shard: DeviceShard, task: TrainTask, settings: RecommenderSettings) -> int:
    """Numbers of an update that is sent."""
    layout = parameter_layout(settings, *shard.text.shape)
    return layout.only(trained_names(layout, task.training.trained)).size


def trained_blocks(
    shard: DeviceShard, task: TrainTask, settings: RecommenderSettings, seed: int
) -> Iterator[tuple[NDArray[np.int64], LocalUpdates]]:
    """Train the devices of a task, block by block.

    When all are done their personal parameters are staged: they count once the cloud has the round.

    Args:
        shard: the node's devices.
        task: which of them, from which parameters, and how.
        settings: the shape of the recommender.
        seed: the run's seed.

    Yields:
        device ids (B,) and what training made of them.
    """
    layout = parameter_layout(settings, *shard.text.shape)
    sent = torch.from_numpy(task.parameters.copy()).to(processor_of(task.training))
    parameters = layout.unflatten(sent)
    shard.personal.settle(task.round_number - 1)
    changed: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for rows in _blocks(shard, task, settings):
        trained = train_devices(shard, rows, parameters, task, settings, seed)
        kept = torch.cat([trained.personal.taste, trained.duals], dim=1)
        changed.append((rows, kept.numpy()))
        yield rows + shard.first_device, trained.updates
    if changed:
        all_rows, values = (np.concatenate(each) for each in zip(*changed, strict=True))
        shard.personal.stage(task.round_number, all_rows, values)


def _blocks(
    shard: DeviceShard, task: TrainTask, settings: RecommenderSettings
) -> Iterator[NDArray[np.int64]]:
    rows = shard.rows(task.device_ids)
    lengths = np.minimum(shard.events.lengths(rows), settings.max_history)
    num_items, negatives = shard.manifest.num_items, task.training.num_negatives

    def bytes_of(length: int) -> int:
        candidates = negatives if negatives else num_items
        items = min(num_items, 2 * length + negatives) if negatives else num_items
        return BYTES_PER_NUMBER * (length * candidates + items * settings.dim)

    return blocks_within(rows, lengths, bytes_of, task.training.block_bytes)


def train_devices(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    parameters: Shared,
    task: TrainTask,
    settings: RecommenderSettings,
    seed: int,
) -> TrainedDevices:
    """Train a block of devices at once, each with steps of its own.

    Args:
        shard: the node's devices.
        rows: (B,) local rows.
        parameters: shared parameters without a leading axis; where they are is where the block is
            trained. What is returned can be used by a processor.
        task: round number and local training settings.
        settings: the shape of the recommender.
        seed: the run's seed.
    """
    training, processor = task.training, parameters["scale"].device
    histories, _ = shard.events.cut(rows)
    history = histories.training_block(np.arange(len(rows)), settings.max_history)
    local = LocalCatalogue.of(
        history, _negatives(shard, rows, histories, task, seed), shard.manifest.num_items
    ).to(processor)
    text = local.text(torch.from_numpy(shard.text).to(processor))
    start = local.parameters(parameters)
    taste = torch.from_numpy(np.array(shard.taste[rows])).to(processor)
    layout = parameter_layout(settings, *shard.text.shape)
    names = trained_names(layout, training.trained)
    duals = _duals(shard, rows, layout.only(names), training, processor)
    first = gradients(start, text, local, taste, names, training.precision)
    wanted = {name: first.shared[name] - duals.get(name, 0.0) for name in names}
    moved = {name: grad.mul_(-training.rate) for name, grad in wanted.items()}
    taste = taste - training.personal_rate * first.taste
    for _ in range(training.local_epochs - 1):
        own = start | {name: start[name] + moved[name] for name in names}
        step = gradients(own, text, local, taste, names, training.precision)
        for name, grad in step.shared.items():
            if training.proximal:
                grad.add_(moved[name], alpha=training.proximal)
            if training.dynamic:
                grad.sub_(duals[name])
            moved[name].add_(grad, alpha=-training.rate)
        taste = taste - training.personal_rate * step.taste
    updates = updates_of(first.losses, moved, layout.only(names), local.weighted_sum, local.spread)
    kept = _new_duals(duals, moved, updates, training, layout.only(names))
    return TrainedDevices(updates, Personal(taste.cpu()), kept)


def _duals(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    layout: Layout,
    training: LocalTraining,
    processor: torch.device,
) -> Shared:
    """What FedDyn keeps on each phone, by name; nothing without it."""
    if not training.dynamic:
        return {}
    flat = torch.from_numpy(np.array(shard.duals[rows])).to(processor)
    sizes = [math.prod(shape) for shape in layout.shapes]
    parts = flat.split(sizes, dim=1)
    return {
        name: part.reshape(len(rows), *shape)
        for name, shape, part in zip(layout.names, layout.shapes, parts, strict=True)
    }


def _new_duals(
    duals: Shared, moved: Shared, updates: LocalUpdates, training: LocalTraining, layout: Layout
) -> Tensor:
    """FedDyn [1]: g <- g - alpha * (update), the clipped one, as the cloud gets it; (B, P).

    [1] D. Acar et al., "Federated Learning Based on Dynamic Regularization", ICLR 2021.
    """
    if not training.dynamic:
        return torch.empty(len(updates.norms), 0)
    factors = training.proximal * clip_factors(updates.norms, training.clip_norm)
    new = {
        name: duals[name] - factors.to(tensor.device).reshape(-1, *[1] * (tensor.ndim - 1)) * tensor
        for name, tensor in moved.items()
    }
    return layout.flatten(new, batch_dims=1).cpu()


def train_one_device(
    shard: DeviceShard,
    row: int,
    parameters: Shared,
    task: TrainTask,
    settings: RecommenderSettings,
    seed: int,
) -> TrainedDevices:
    """Train one device in a plain loop: the definition of `train_devices`.

    Arguments and result as there, for a block of one.
    """
    training = task.training
    histories, _ = shard.events.cut(np.array([row]))
    begin = max(0, len(histories.items) - settings.max_history - 1)
    events = torch.from_numpy(np.array(histories.items[begin:], dtype=np.int64))
    written = histories.private_of(0)
    private = None if written is None else torch.from_numpy(written[begin:])
    text = torch.from_numpy(shard.text)
    negatives = _negatives(shard, np.array([row]), histories, task, seed)
    layout = parameter_layout(settings, *shard.text.shape)
    names = trained_names(layout, training.trained)
    own = {name: tensor.clone() for name, tensor in parameters.items()}
    duals = _duals(shard, np.array([row]), layout.only(names), training, torch.device("cpu"))
    taste = torch.from_numpy(np.array(shard.taste[row]))
    first_loss = torch.zeros(())
    for epoch in range(training.local_epochs):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        taste = taste.detach().requires_grad_()
        loss = _loss_of_one(leaves, text, events, private, taste, negatives)
        if epoch == 0:
            first_loss = loss.detach()
        loss.backward()
        for name in names:
            leaf = leaves[name]
            step = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            pull = training.proximal * (leaf.detach() - parameters[name])
            if training.dynamic:
                pull = pull - duals[name][0]
            own[name] = leaf.detach() - training.rate * (step + pull)
        if taste.grad is not None:
            taste = taste.detach() - training.personal_rate * taste.grad
    moved = {name: (own[name] - parameters[name]).unsqueeze(0) for name in names}
    update = layout.only(names).flatten(moved, batch_dims=1)[0]
    updates = LocalUpdates(
        first_loss.reshape(1),
        update.norm().reshape(1),
        lambda weights: weights[0] * update,
        lambda: update.unsqueeze(0),
    )
    kept = _new_duals(duals, moved, updates, training, layout.only(names))
    return TrainedDevices(updates, Personal(taste.unsqueeze(0).detach()), kept)


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
    shard: DeviceShard,
    rows: NDArray[np.int64],
    histories: Histories,
    task: TrainTask,
    seed: int,
) -> Tensor | None:
    """Each device's sampled negatives (B, K), drawn at its own address; None: whole catalogue."""
    if task.training.num_negatives == 0:
        return None
    sampling = Negatives(task.training.num_negatives)
    drawn = sampling.draw(
        histories,
        np.arange(len(rows)),
        shard.manifest.num_items,
        (seed, task.round_number, rows + shard.first_device),
    )
    return torch.from_numpy(drawn)
