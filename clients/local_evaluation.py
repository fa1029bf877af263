"""Evaluation on the phones: each device ranks its own held-out item, and only sums come back.

Full ranking is against every item the device has not chosen in training; the sampled protocol is
against 99 of those, drawn at the device's own address (seed, "sampled-negatives", device id).
Devices without a held-out item take no part.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, EvalTask
from clients.shard import DeviceShard
from models.errors import SettingsError
from models.histories import Histories
from models.metrics import MetricSums, held_out_ranks, metrics_of_ranks
from models.recommender import RecommenderSettings, parameter_layout
from models.scoring import score_users
from models.seeds import first_of_each, uniforms

NUM_SAMPLED_NEGATIVES = 99
DRAWN_FOR_SAMPLED = 160
"""Draws in which nearly every device finds its 99, of a catalogue much larger than that."""

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the held-out items of some users stand.

    Attributes:
        full: (B,) rank among all unseen items, from 0, ties half.
        num_negatives: (B,) how many those are.
        sampled: (B,) rank among sampled ones.
        num_sampled: (B,) how many those are: 99, or all unseen items where there are fewer.
    """

    full: NDArray[np.float64]
    num_negatives: NDArray[np.int64]
    sampled: NDArray[np.float64]
    num_sampled: NDArray[np.int64]

    def values(self, protocol: str) -> dict[str, NDArray[np.float64]]:
        """Per-user metrics under "full" or "sampled-99"."""
        if protocol == "full":
            return metrics_of_ranks(self.full, self.num_negatives)
        return metrics_of_ranks(self.sampled, self.num_sampled)


def rank_held_out(
    scores: NDArray[np.float32],
    held_out: NDArray[np.integer],
    seen: NDArray[np.bool_],
    device_ids: NDArray[np.integer],
    seed: int,
) -> Ranks:
    """Rank held-out items under both protocols; every arm of a comparison goes through here.

    Args:
        scores: (B, N).
        held_out: (B,) item indices, all >= 0.
        seen: (B, N) what each user chose in training: no candidates.
        device_ids: (B,) part of the address of the sampled negatives.
        seed: the run's seed.

    Raises:
        SettingsError: if a score is no number, as after training that diverged.
    """
    lost = int(np.isnan(scores).any(axis=1).sum())
    if lost:
        raise SettingsError(
            f"training diverged: the scores of {lost} of {len(scores)} devices are not numbers; "
            "lower the rates (training.rate, training.personal_rate) or training.local_epochs"
        )
    full, num_negatives = held_out_ranks(scores, held_out, ~seen)
    num_sampled = np.minimum(num_negatives, NUM_SAMPLED_NEGATIVES)
    chosen = sampled_rivals(held_out, seen, device_ids, seed)
    rows = np.arange(len(held_out))
    own, rivals = scores[rows, held_out][:, None], scores[rows[:, None], chosen]
    inside = np.arange(chosen.shape[1]) < num_sampled[:, None]
    sampled = ((rivals > own) & inside).sum(axis=1) + 0.5 * ((rivals == own) & inside).sum(axis=1)
    return Ranks(full, num_negatives, sampled, num_sampled)


def sampled_rivals(
    held_out: NDArray[np.integer],
    seen: NDArray[np.bool_],
    device_ids: NDArray[np.integer],
    seed: int,
) -> NDArray[np.int64]:
    """Draw 99 unseen items for each device, all different; the same under every arm.

    Items are drawn until 99 different unseen ones are there. A device that has too few of them
    left for that gives every item a number, and the lowest win.

    Returns:
        (B, min(99, N)); where a device has fewer than 99 unseen items, seen ones fill up the end.
    """
    rows, num_items = np.arange(len(held_out)), seen.shape[1]
    count = min(NUM_SAMPLED_NEGATIVES, num_items)
    drawn = uniforms(seed, "sampled-negatives", device_ids[:, None], np.arange(DRAWN_FOR_SAMPLED))
    items = (drawn * num_items).astype(np.int64)
    usable = ~seen[rows[:, None], items] & (items != held_out[:, None])
    usable &= first_of_each(items, num_items)
    rank = usable.cumsum(axis=1)
    enough = rank[:, -1] >= count
    chosen = np.empty((len(held_out), count), dtype=np.int64)
    chosen[enough] = items[usable & (rank <= count) & enough[:, None]].reshape(-1, count)
    for row in np.flatnonzero(~enough):
        keys = uniforms(seed, "few unseen items", int(device_ids[row]), np.arange(num_items))
        keys[seen[row]] = 2.0
        keys[held_out[row]] = 3.0
        chosen[row] = np.argsort(keys)[:count]
    return chosen


def score_devices(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    parameters: NDArray[np.float32],
    settings: RecommenderSettings,
) -> NDArray[np.float32]:
    """Scores of the whole catalogue for some devices, (B, N)."""
    return _score(shard, rows, shard.events.cut(rows)[0], parameters, settings)


def _score(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    histories: Histories,
    parameters: NDArray[np.float32],
    settings: RecommenderSettings,
) -> NDArray[np.float32]:
    layout = parameter_layout(settings, *shard.text.shape)
    shared = layout.unflatten(torch.from_numpy(np.array(parameters)))
    taste = np.asarray(shard.taste[rows])
    users = np.arange(len(rows))
    return score_users(shared, shard.text, histories, users, taste, settings.max_history)


def evaluate_devices(
    shard: DeviceShard, task: EvalTask, settings: RecommenderSettings, seed: int
) -> EvalReply:
    """Evaluate the devices of the task, or all of the node, that have a held-out item."""
    reply = EvalReply({})
    for rows, ranks in evaluated_blocks(shard, task, settings, seed):
        reply = reply + _sums_per_tier(shard, rows, ranks)
    return reply


def evaluated_blocks(
    shard: DeviceShard, task: EvalTask, settings: RecommenderSettings, seed: int
) -> Iterator[tuple[NDArray[np.int64], Ranks]]:
    """Evaluate the devices of the task, or all of the node, block by block.

    Yields:
        local rows (B,) of devices that have a held-out item, and where it stands.
    """
    shard.personal.settle(task.round_number)
    num_items = shard.manifest.num_items
    at_a_time = max(1, task.block_bytes // (BYTES_PER_NUMBER * num_items))
    asked = shard.rows(task.device_ids) if len(task.device_ids) else np.arange(shard.num_devices)
    for start in range(0, len(asked), at_a_time):
        rows = asked[start : start + at_a_time]
        histories, held_out = shard.events.cut(rows)
        if (held_out < 0).any():
            evaluated = np.flatnonzero(held_out >= 0)
            rows, held_out = rows[evaluated], held_out[evaluated]
            histories = histories.cut(evaluated)
        scores = _score(shard, rows, histories, task.parameters, settings)
        seen = histories.seen(np.arange(len(rows)), num_items)
        yield rows, rank_held_out(scores, held_out, seen, rows + shard.first_device, seed)


def _sums_per_tier(shard: DeviceShard, rows: NDArray[np.int64], ranks: Ranks) -> EvalReply:
    sums = {}
    tiers = np.asarray(shard.tier[rows])
    for protocol in ("full", "sampled-99"):
        values = ranks.values(protocol)
        for index in np.unique(tiers):
            inside = tiers == index
            mine = {name: value[inside] for name, value in values.items()}
            sums[shard.manifest.tiers[index], protocol] = MetricSums.of(mine)
    return EvalReply(sums)
