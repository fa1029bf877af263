"""Evaluation on the phones: each ranks its own held-out item, and only sums come back.

Before it ranks, a phone does what its method says: PFedRec tunes the items it was sent, FedRecon
and FCF work the user's vector out. What it draws for that is what it would draw in the next round,
if it took part in it. None of it is sent or kept.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from clients.local_evaluation import Ranks, rank_held_out
from clients.protocol.messages import EvalReply, EvalTask, LocalTraining
from clients.recommenders.devices import RatingDevices
from clients.recommenders.training import blocks_of, draw, personal_of, rates_of, rows_of
from models.metrics import MetricSums
from models.recommenders.methods import method_of
from models.recommenders.settings import MethodSettings


def scored_blocks(
    devices: RatingDevices,
    rows: NDArray[np.int64],
    parameters: NDArray[np.float32],
    rounds_done: int,
    training: LocalTraining,
    settings: MethodSettings,
    seed: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Score the whole catalogue for some devices, block by block.

    Yields:
        local rows (B,) and scores (B, N).
    """
    method, rates = method_of(settings), rates_of(training)
    shared = method.layout(devices.num_items).unflatten(torch.from_numpy(np.array(parameters)))
    devices.personal.settle(rounds_done)
    negatives = 0 if method.is_dense else training.num_negatives
    for block in blocks_of(devices, rows, training.block_bytes, negatives, method):
        personal, _ = personal_of(devices, block, method, seed)
        drawn = draw(devices, block, rounds_done + 1, negatives, settings, seed)
        local = method.serving_examples(drawn, rates)
        with torch.no_grad():
            yield block, method.scores(shared, personal, local, rates).numpy()


def evaluate_devices(
    devices: RatingDevices,
    task: EvalTask,
    training: LocalTraining,
    settings: MethodSettings,
    seed: int,
    tier: NDArray[np.int8],
    tiers: tuple[str, ...],
) -> EvalReply:
    """Evaluate the devices of the task, or all of the node, that have a held-out item.

    Args:
        devices: of the node.
        task: which of them, and the parameters.
        training: how a phone trains, for what it does before it ranks.
        settings: of the method.
        seed: the run's seed.
        tier: (B,) index into `tiers` of each device of the node.
        tiers: their names.
    """
    asked = rows_of(devices, task.device_ids) if len(task.device_ids) else np.arange(len(tier))
    rows = asked[devices.held_out[asked, 0] >= 0]
    reply = EvalReply({})
    for block, scores in scored_blocks(
        devices, rows, task.parameters, task.round_number, training, settings, seed
    ):
        seen = devices.histories.seen(block, devices.num_items)
        ids = block + devices.first_device
        ranks = rank_held_out(scores, devices.held_out[block, 0], seen, ids, seed)
        reply = reply + sums_per_tier(ranks, tier[block], tiers)
    return reply


def sums_per_tier(ranks: Ranks, tier: NDArray[np.int8], tiers: tuple[str, ...]) -> EvalReply:
    """Metric sums of some devices under both protocols.

    Args:
        ranks: (B,) where their held-out items stand.
        tier: (B,) index into `tiers`.
        tiers: their names.
    """
    sums = {}
    for protocol in ("full", "sampled-99"):
        values = ranks.values(protocol)
        for index in np.unique(tier):
            mine = {name: value[tier == index] for name, value in values.items()}
            sums[tiers[index], protocol] = MetricSums.of(mine)
    return EvalReply(sums)
