"""The common job through the whole product: messages, clipping, sums, checkpoints, history.

    python -m benchmarks.common_job.product

The round loop (`server.strategy.federate`), the inline engine and the perceptron's training are the
product's; what a user with a model of one's own would write is the ClientApp below. Evaluation is
left out, as the peers do none; clipping is on, at a norm that clips nobody, as the job wants.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.common_job import job
from clients.perceptron_training import LabelledDevices, train_cohort
from clients.protocol.messages import EvalReply, LocalTraining, TrainTask
from models.metrics import MetricSums
from models.perceptron import PerceptronSettings, perceptron_layout
from server.aggregation_settings import AggregationSettings
from server.cohorts import CohortPlan, Outcome
from server.privacy.settings import PrivacySettings
from server.secure_sum.settings import SecureSumSettings
from server.settings import Federation, Schedule, ServerJob, ServerOptimizerSettings
from server.strategy import federate
from simulation.engines.hardware import block_bytes
from simulation.engines.inline import RUN_ID, SERVER_NODE_ID, InlineGrid, task_identity

SHAPE = PerceptronSettings(inputs=job.INPUTS, hidden=job.HIDDEN, batch_size=job.BATCH_SIZE)


def client_app(devices: LabelledDevices) -> ClientApp:
    """One node that holds all users."""
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        partition = int(context.node_config["partition-id"])
        content = RecordDict({"config": ConfigRecord({"partition_id": partition})})
        return Message(content=content, reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        reply = train_cohort(devices, TrainTask.from_record(message.content), SHAPE, 0)
        return Message(content=reply.to_record(), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        nobody = EvalReply({("all", "full"): MetricSums({}, 0)})
        return Message(content=nobody.to_record(), reply_to=message)

    return app


def main(num_nodes: int = 1) -> None:
    torch.set_num_threads(1)
    features, labels = job.rows()
    offsets = np.arange(job.NUM_USERS + 1) * job.NUM_ROWS
    devices = LabelledDevices(0, offsets, features.reshape(-1, job.INPUTS), labels.reshape(-1))
    layout = perceptron_layout(SHAPE)
    names = [f"{kind}_{layer}" for layer in (1, 2, 3) for kind in ("weight", "bias")]
    start = dict(zip(names, map(torch.from_numpy, job.initial()), strict=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "initial.npy", layout.flatten(start).numpy())
        server_job = _job(folder, layout.size, num_nodes)
        grid = InlineGrid(client_app(devices), num_nodes, {})
        with task_identity(SERVER_NODE_ID), job.timed() as clock:
            final = federate(grid, server_job, _plan())
    assert grid.run.run_id == RUN_ID
    found = layout.unflatten(torch.from_numpy(final))
    job.report(clock, [found[name].numpy() for name in names])


def _job(folder: Path, num_parameters: int, num_nodes: int) -> ServerJob:
    training = LocalTraining(
        local_epochs=1,
        rate=job.RATE,
        personal_rate=0.0,
        clip_norm=100.0,
        num_negatives=0,
        trained="all",
        proximal=0.0,
        dynamic=False,
        processor="cpu",
        precision="fp32",
        block_bytes=block_bytes(),
    )
    federation = Federation(
        rounds=job.ROUNDS,
        cohort_size=job.COHORT_SIZE,
        num_nodes=num_nodes,
        evaluate_every=job.ROUNDS,
        evaluate_devices=0,
        patience=1,
        reply_timeout_s=600,
        schedule=Schedule(
            start_s=0,
            over_selection=1,
            deadline_s=60,
            pause_s=0,
            retry_s=60,
            window_s=0,
            sampling="available",
            mode="synchronous",
            concurrency=0,
            look_every_s=1,
            max_staleness=0,
        ),
        optimizer=ServerOptimizerSettings(name="fedavg", rate=1.0, beta1=0, beta2=0, tau=1e-3),
        aggregation=AggregationSettings(rule="mean", feared_share=0),
        training=training,
        privacy=PrivacySettings(
            mechanism="none",
            noise_multiplier=0,
            target_epsilon=0,
            budget_epsilon=0,
            delta=0,
            target_quantile=0,
            clip_rate=0,
            clip_noise_multiplier=0,
            evaluation_noise_multiplier=0,
            scaled_population=0,
        ),
        secure_sum=SecureSumSettings(
            enabled=False,
            bits=32,
            levels=0,
            threshold=1,
            min_devices=0,
            neighbours=0,
            rotation=False,
        ),
    )
    return ServerJob(
        seed=0,
        noise_seed=0,
        num_devices=job.NUM_USERS,
        num_parameters=num_parameters,
        trained=((0, num_parameters),),
        tiers=("all",),
        federation=federation,
        plan=folder / "none",
        initial=folder / "initial.npy",
        folder=folder,
    )


def _plan() -> CohortPlan:
    invited = np.concatenate([np.sort(cohort) for cohort in job.cohorts()])
    return CohortPlan(
        offsets=np.arange(job.ROUNDS + 1) * job.COHORT_SIZE,
        invited=invited,
        outcome=np.full(len(invited), Outcome.REPORTED, np.int8),
        start_s=np.zeros(job.ROUNDS),
        duration_s=np.ones(job.ROUNDS),
        version=np.repeat(np.arange(job.ROUNDS), job.COHORT_SIZE),
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
