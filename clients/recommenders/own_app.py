"""The ClientApp of somebody's own recommender: unpack a message, call the phones, pack the reply.

The model is an object that the user's own program hands over, in this process. No file and no
message names a class or a module to be loaded: that would be a way to run code from outside.
"""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.discretion import discreet
from clients.protocol.messages import EvalTask, TrainTask
from clients.recommenders.own import OwnDevices, evaluate_devices, train_cohort
from models.parameters import Layout
from models.recommenders.own import OwnModel


def own_app(
    population: OwnDevices, model: OwnModel, layout: Layout, seed: int, noise_seed: int
) -> ClientApp:
    """The app that every node of a run runs.

    Args:
        population: all devices; a node takes its partition of them.
        model: what they train.
        layout: of its parameters.
        seed: the run's seed.
        noise_seed: the run's, for noise that devices add.
    """
    app, partitions = ClientApp(mods=[discreet]), dict[int, OwnDevices]()

    def node(context: Context) -> OwnDevices:
        partition = _number(context, "partition-id")
        if partition not in partitions:
            partitions[partition] = population.partition(
                partition, _number(context, "num-partitions")
            )
        return partitions[partition]

    @app.query()
    def query(message: Message, context: Context) -> Message:
        held = {name.replace("-", "_"): _number(context, name) for name in _PARTITION}
        content = RecordDict({"config": ConfigRecord(held)})
        return Message(content=content, reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        task = TrainTask.from_record(message.content)
        mine = node(context)
        sums = train_cohort(mine, model, layout, task, seed, noise_seed=noise_seed)
        return Message(content=sums.to_record(), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        task = EvalTask.from_record(message.content)
        sums = evaluate_devices(node(context), model, layout, task, seed)
        return Message(content=sums.to_record(), reply_to=message)

    return app


_PARTITION = ("partition-id", "num-partitions")


def _number(context: Context, name: str) -> int:
    return int(context.node_config[name])
