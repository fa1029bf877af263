"""A node as a party: Flower's messages in, Flower's messages out, state kept in between.

The two vectors, training and evaluation, go through the same four stages. What the node is asked to
put into a vector comes with the third.
"""

from collections.abc import Callable

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from clients.job import DeviceJob
from clients.local_evaluation import evaluated_blocks
from clients.protocol.messages import EvalTask, TrainTask
from clients.protocol.secure_sum.quantisation import Address
from clients.protocol.secure_sum.questions import Invitation, Letters, Roster, Survivors
from clients.protocol.secure_sum.ring import Ring
from clients.protocol.secure_sum.tasks import MetricVector, Rounding, envelope, opened
from clients.recommender_training import num_trained, trained_blocks
from clients.secure_sum.memory import recall, remember
from clients.secure_sum.party import advertise, mask, share_keys, unmask
from clients.secure_sum.vectors import vector_of_metrics, vector_of_updates
from clients.shard import DeviceShard
from models.errors import EngineError


def say_keys(content: RecordDict, state: RecordDict, purpose: str) -> RecordDict:
    """Stage 0: draw secrets, advertise keys."""
    message, numbers = opened(content)
    party, said = advertise(Invitation.from_bytes(message), numbers["num_devices"])
    remember(state, purpose, party)
    return envelope(said.to_bytes())


def say_shares(content: RecordDict, state: RecordDict, purpose: str) -> RecordDict:
    """Stage 1: deal the secrets out."""
    message, _ = opened(content)
    party, said = share_keys(recall(state, purpose), Roster.from_bytes(message))
    remember(state, purpose, party)
    return envelope(said.to_bytes())


def say_update(
    content: RecordDict, state: RecordDict, job: DeviceJob, shard: DeviceShard
) -> RecordDict:
    """Stage 2 of training: train, round, mask."""
    task = TrainTask.from_record(content)
    rounding = Rounding.model_validate(dict(content["rounding"]))
    dim = num_trained(shard, task, job.recommender)

    def vector() -> NDArray[np.int64]:
        blocks = trained_blocks(shard, task, job.recommender, job.seed)
        return vector_of_updates(blocks, task, rounding, dim, job.noise_seed)

    return _masked(content, state, "train", len(task.device_ids), vector)


def say_metrics(
    content: RecordDict, state: RecordDict, job: DeviceJob, shard: DeviceShard
) -> RecordDict:
    """Stage 2 of evaluation: evaluate, round, mask."""
    task, config = EvalTask.from_record(content), content["metric_vector"]
    layout = MetricVector(tuple(config["tiers"]), int(config["levels"]))

    def vector() -> NDArray[np.int64]:
        blocks = evaluated_blocks(shard, task, job.recommender, job.seed)
        return vector_of_metrics(blocks, shard, layout, Address(job.noise_seed, task.round_number))

    return _masked(content, state, "evaluate", len(task.device_ids) or shard.num_devices, vector)


def _masked(
    content: RecordDict,
    state: RecordDict,
    purpose: str,
    num_devices: int,
    vector: Callable[[], NDArray[np.int64]],
) -> RecordDict:
    message, _ = opened(content)
    party = recall(state, purpose)
    if num_devices != party.advertised.num_devices:
        raise EngineError(
            f"{num_devices} devices are asked for a secure sum, {party.advertised.num_devices} "
            "were announced"
        )
    elements = Ring(party.terms.bits).wrap(vector())
    party, said = mask(party, Letters.from_bytes(message), elements)
    remember(state, purpose, party)
    return envelope(said.to_bytes())


def say_unmasking(content: RecordDict, state: RecordDict, purpose: str) -> RecordDict:
    """Stage 3: reveal a share for each neighbour, once."""
    message, _ = opened(content)
    party, said = unmask(recall(state, purpose), Survivors.from_bytes(message))
    remember(state, purpose, party)
    return envelope(said.to_bytes())
