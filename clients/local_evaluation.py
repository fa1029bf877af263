"""Evaluation on the phones: each device ranks its own held-out item, and only sums come back.

Full ranking is against every item the device has not chosen in training; the sampled protocol is
against 99 of those, drawn at the device's own address (seed, "sampled-negatives", device id).
Devices without a held-out item take no part.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, EvalTask
from clients.shard import DeviceShard
from models.metrics import MetricSums, held_out_ranks, metrics_of_ranks
from models.recommender import RecommenderSettings, parameter_layout
from models.scoring import score_users
from models.seeds import generator

NUM_SAMPLED_NEGATIVES = 99


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
    """
    full, num_negatives = held_out_ranks(scores, held_out, ~seen)
    num_sampled = np.minimum(num_negatives, NUM_SAMPLED_NEGATIVES)
    sampled = np.empty(len(held_out))
    for row, device_id in enumerate(device_ids):
        pool = ~seen[row]
        pool[held_out[row]] = False
        rng = generator(seed, "sampled-negatives", int(device_id))
        chosen = rng.choice(np.flatnonzero(pool), num_sampled[row], replace=False)
        own, rivals = scores[row, held_out[row]], scores[row, chosen]
        sampled[row] = (rivals > own).sum() + 0.5 * (rivals == own).sum()
    return Ranks(full, num_negatives, sampled, num_sampled)


def score_devices(
    shard: DeviceShard,
    rows: NDArray[np.int64],
    parameters: NDArray[np.float32],
    settings: RecommenderSettings,
) -> NDArray[np.float32]:
    """Scores of the whole catalogue for some devices, (B, N)."""
    layout = parameter_layout(settings, *shard.text.shape)
    shared = layout.unflatten(torch.from_numpy(np.array(parameters)))
    taste = np.asarray(shard.taste[rows])
    return score_users(shared, shard.text, shard.histories, rows, taste, settings.max_history)


def evaluate_devices(
    shard: DeviceShard, task: EvalTask, settings: RecommenderSettings, seed: int
) -> EvalReply:
    """Evaluate every device of the node that has a held-out item."""
    shard.personal.settle(task.round_number)
    reply = EvalReply({})
    rows = np.flatnonzero(np.asarray(shard.held_out) >= 0)
    for start in range(0, len(rows), task.block_size):
        block = rows[start : start + task.block_size]
        scores = score_devices(shard, block, task.parameters, settings)
        seen = shard.histories.seen(block, shard.manifest.num_items)
        ranks = rank_held_out(scores, shard.held_out[block], seen, block + shard.first_device, seed)
        reply = reply + _sums_per_tier(shard, block, ranks)
    return reply


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
