"""The ClientApp: unpack a message, call the phones, pack the reply.

One node is a shard of devices. Its files are named in the run folder, whose absolute path is the
one key of the run config; a node that holds a folder of its own names it in its node config.
Nothing of a device travels in a message.

With secure sums a node answers four messages in place of one, and Flower keeps what it has to
remember in between (`clients.secure_sum.node`).
"""

import functools
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.discretion import discreet
from clients.job import DeviceJob
from clients.protocol.messages import EvalTask, TrainTask
from clients.recommenders import node as recommender
from clients.secure_sum import node
from clients.shard import DeviceShard

app = ClientApp(mods=[discreet])


@functools.cache
def _open(run_folder: str, partition_id: int, num_partitions: int) -> tuple[DeviceJob, DeviceShard]:
    job = DeviceJob.read(Path(run_folder))
    shard = DeviceShard.open(
        job.world,
        job.phones,
        job.taste,
        partition_id=partition_id,
        num_partitions=num_partitions,
        read_private_text=job.read_private_text,
        taste_size=job.taste_size,
    )
    return job, shard


def forget_shards() -> None:
    """Close all shards: the next message opens its files anew."""
    _open.cache_clear()


def _node(context: Context) -> tuple[DeviceJob, DeviceShard]:
    job, shard = _open(
        str(context.node_config.get("run-folder") or context.run_config["run-folder"]),
        int(context.node_config["partition-id"]),
        int(context.node_config["num-partitions"]),
    )
    torch.set_num_threads(job.threads)
    return job, shard


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which partition this node holds: node ids are random in every Flower run."""
    config = ConfigRecord(
        {
            "partition_id": int(context.node_config["partition-id"]),
            "num_partitions": int(context.node_config["num-partitions"]),
        }
    )
    return Message(content=RecordDict({"config": config}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the devices named in the task; reply with sums."""
    job, shard = _node(context)
    task = TrainTask.from_record(message.content)
    reply = recommender.train(shard, task, job)
    return Message(content=reply.to_record(), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate every device of the node; reply with metric sums per tier."""
    job, shard = _node(context)
    task = EvalTask.from_record(message.content)
    reply = recommender.evaluate(shard, task, job)
    return Message(content=reply.to_record(), reply_to=message)


@app.query("train_keys")
def train_keys(message: Message, context: Context) -> Message:
    """Advertise keys for a secure sum of updates."""
    return _reply(message, node.say_keys(message.content, context.state, "train"))


@app.query("train_shares")
def train_shares(message: Message, context: Context) -> Message:
    """Deal out the secrets of a secure sum of updates."""
    return _reply(message, node.say_shares(message.content, context.state, "train"))


@app.train("masked")
def train_masked(message: Message, context: Context) -> Message:
    """Train the devices named in the task; reply with their sum behind masks."""
    job, shard = _node(context)
    recommender.refuse_cited(job)
    return _reply(message, node.say_update(message.content, context.state, job, shard))


@app.query("train_unmask")
def train_unmask(message: Message, context: Context) -> Message:
    """Reveal what takes the masks off the sum of all nodes."""
    return _reply(message, node.say_unmasking(message.content, context.state, "train"))


@app.query("evaluate_keys")
def evaluate_keys(message: Message, context: Context) -> Message:
    """Advertise keys for a secure sum of metrics."""
    return _reply(message, node.say_keys(message.content, context.state, "evaluate"))


@app.query("evaluate_shares")
def evaluate_shares(message: Message, context: Context) -> Message:
    """Deal out the secrets of a secure sum of metrics."""
    return _reply(message, node.say_shares(message.content, context.state, "evaluate"))


@app.evaluate("masked")
def evaluate_masked(message: Message, context: Context) -> Message:
    """Evaluate devices of the node; reply with metric sums behind masks."""
    job, shard = _node(context)
    recommender.refuse_cited(job)
    return _reply(message, node.say_metrics(message.content, context.state, job, shard))


@app.query("evaluate_unmask")
def evaluate_unmask(message: Message, context: Context) -> Message:
    """Reveal what takes the masks off the metric sums of all nodes."""
    return _reply(message, node.say_unmasking(message.content, context.state, "evaluate"))


def _reply(message: Message, content: RecordDict) -> Message:
    return Message(content=content, reply_to=message)
