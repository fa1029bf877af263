"""What a node puts behind its masks: the sum of its devices' integers.

    device   update -> clipped -> rounded -> + its share of the noise      all of it on the phone
    node     sum over its devices, modulo 2^bits                           exact, so masks cancel

Phones would mask their own; between the phones of a node masks cancel, so the node adds integers.
Every device rounds and noises by itself, at addresses of its own: from the same updates comes the
same sum of integers, however they are spread over nodes and blocks.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from clients.local_evaluation import Ranks
from clients.local_training import LocalUpdates
from clients.protocol.messages import TrainTask
from clients.protocol.secure_sum.noise import noise_share
from clients.protocol.secure_sum.quantisation import Address
from clients.protocol.secure_sum.tasks import MetricVector, Rounding, counts_of
from clients.shard import DeviceShard
from models.errors import DataError
from models.metrics import METRICS, PROTOCOLS
from models.seeds import uniforms


def vector_of_updates(
    blocks: Iterable[tuple[NDArray[np.int64], LocalUpdates]],
    task: TrainTask,
    rounding: Rounding,
    dim: int,
    noise_seed: int,
) -> NDArray[np.int64]:
    """Add up a cohort's rounded updates, and the counts that belong to them.

    Args:
        blocks: device ids and their updates, block by block.
        task: clip norm, and which counts may be known.
        rounding: steps and noise.
        dim: numbers of an update.
        noise_seed: the run's.

    Returns:
        (length,) integers.
    """
    quantiser, clip_norm = rounding.quantiser(dim), task.training.clip_norm
    at, names = Address(noise_seed, task.round_number), counts_of(task.privacy)
    total = np.zeros(quantiser.width + len(names), dtype=np.int64)
    update = total[: quantiser.width]
    for device_ids, block in blocks:
        update += quantiser.encode(block.rows().numpy(), device_ids, clip_norm, at).sum(axis=0)
        for device in device_ids.tolist():
            update += noise_share(rounding.noise_variance, quantiser.width, device, at)
        counts = _counts(block, clip_norm)
        total[quantiser.width :] += np.array([counts[name] for name in names], np.int64)
    return total


def _counts(block: LocalUpdates, clip_norm: float) -> dict[str, int]:
    finite = torch.isfinite(block.norms)
    short = finite & (block.norms <= clip_norm)
    return {
        "num_clipped": int((finite & ~short).sum()),
        "num_refused": int((~finite).sum()),
        "num_unclipped": int(short.sum()),
    }


def vector_of_metrics(
    blocks: Iterable[tuple[NDArray[np.int64], Ranks]],
    shard: DeviceShard,
    layout: MetricVector,
    at: Address,
) -> NDArray[np.int64]:
    """Add up the metrics of devices, each rounded at random so that it is right on average.

    Args:
        blocks: local rows and where their held-out items stand.
        shard: the node's devices.
        layout: where each sum lies.
        at: part of the address of the rounding: the run's noise seed, and rounds done.

    Raises:
        DataError: if the world has a kind of phone that the cloud does not know.
    """
    if unknown := sorted(set(shard.manifest.tiers) - set(layout.tiers)):
        raise DataError(f"the world has phones of tier {unknown}, the run knows {layout.tiers}")
    place = np.array([layout.tiers.index(tier) for tier in shard.manifest.tiers])
    total = np.zeros((len(layout.tiers), layout.per_tier), dtype=np.int64)
    numbers = np.arange(layout.per_tier - 1)
    for rows, ranks in blocks:
        values = np.stack(
            [ranks.values(protocol)[name] for protocol in PROTOCOLS for name in METRICS], axis=1
        )
        device_ids = rows + shard.first_device
        drawn = uniforms(
            at.seed, "rounding of metrics", device_ids[:, None], at.round_number, numbers
        )
        rounded = np.floor(values * layout.levels + drawn).astype(np.int64)
        mine = np.concatenate([rounded, np.ones((len(rows), 1), np.int64)], axis=1)
        np.add.at(total, place[np.asarray(shard.tier[rows])], mine)
    return total.reshape(-1)
