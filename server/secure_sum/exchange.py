"""A round's update and an evaluation's metrics as secure sums over the nodes of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, TrainReply, TrainTask
from clients.protocol.partitions import partition_bounds
from clients.protocol.secure_sum.neighbourhoods import threshold_of
from clients.protocol.secure_sum.quantisation import Address
from clients.protocol.secure_sum.tasks import EVALUATION_BITS, MetricVector, train_reply
from server.nodes import Nodes
from server.secure_sum.plan import SecurePlan
from server.secure_sum.rounds import SumTask, hidden_sum
from server.settings import ServerJob


@dataclass(frozen=True, slots=True)
class HiddenUpdate:
    """The update of a round, of all nodes that were left.

    Attributes:
        reply: their sum.
        num_asked: devices that are in it, those whose update was not finite too.
    """

    reply: TrainReply
    num_asked: int


def hidden_update(
    nodes: Nodes, job: ServerJob, plan: SecurePlan, tasks: Mapping[int, TrainTask]
) -> tuple[list[HiddenUpdate], tuple[str, ...]]:
    """Let nodes train, and add their sums up unseen.

    Args:
        nodes: who holds what.
        job: the cloud's side of the run.
        plan: how sums are hidden.
        tasks: partition -> what it trains; all of one round.

    Returns:
        one update, or none if too few nodes or devices were left; and the faults.
    """
    if not tasks:
        return [], ()
    settings, rounding = job.federation.secure_sum, plan.rounding
    one = next(iter(tasks.values()))
    told = ConfigRecord(rounding.model_dump())
    wanted = SumTask(
        purpose="train",
        group=str(one.round_number),
        bits=settings.bits,
        length=rounding.length(job.num_trained, one.privacy),
        degree=settings.neighbours,
        threshold=settings.threshold,
        min_devices=plan.bounds.fewest,
        tasks={
            partition: RecordDict({**task.to_record(), "rounding": told})
            for partition, task in tasks.items()
        },
        devices={partition: len(task.device_ids) for partition, task in tasks.items()},
    )
    found = hidden_sum(nodes, wanted)
    if found.total is None:
        return [], found.faults
    at, clip_norm = Address(job.noise_seed, one.round_number), one.training.clip_norm
    total = found.total.copy()
    total[: plan.quantiser.width] += plan.fill(found.num_devices, at)
    reply = train_reply(
        total, found.num_devices, job.num_trained, rounding, one.privacy, clip_norm, at
    )
    return [HiddenUpdate(reply, found.num_devices)], found.faults


def hidden_metrics(
    nodes: Nodes,
    job: ServerJob,
    tasks: Mapping[int, RecordDict],
    asked: Mapping[int, NDArray[np.int64]],
    round_number: int,
) -> tuple[EvalReply, tuple[str, ...]]:
    """Let nodes evaluate, and add their metric sums up unseen.

    Args:
        nodes: who holds what.
        job: the cloud's side of the run.
        tasks: partition -> what it evaluates.
        asked: partition -> its devices; none stands for all of them.
        round_number: rounds done.

    Returns:
        the sums, none if too few nodes were left; and the faults.
    """
    settings, num_nodes = job.federation.secure_sum, job.federation.num_nodes
    devices = {}
    for partition, mine in asked.items():
        first, end = partition_bounds(job.num_devices, partition, num_nodes)
        devices[partition] = len(mine) or end - first
    total = sum(devices.values())
    layout = MetricVector.of(job.tiers, total)
    told = ConfigRecord({"tiers": list(layout.tiers), "levels": layout.levels})
    wanted = SumTask(
        purpose="evaluate",
        group=str(round_number),
        bits=EVALUATION_BITS,
        length=layout.length,
        degree=settings.neighbours,
        threshold=settings.threshold,
        min_devices=threshold_of(total, settings.threshold),
        tasks={
            partition: RecordDict({**task, "metric_vector": told})
            for partition, task in tasks.items()
        },
        devices=devices,
    )
    found = hidden_sum(nodes, wanted)
    return EvalReply({}) if found.total is None else layout.reply(found.total), found.faults
