"""The common job in Flower as its examples have it: one node per client, FedAvg, local Ray.

    python -m benchmarks.common_job.flower_peer 100        (nodes; 1000 is all users)

With 100 nodes every node trains in every round, on the rows of its own user: the same work per
client, another population. The first round, in which Ray starts its actors, is not counted.
"""

import json
import os
import sys
import time

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.common_job import job
from benchmarks.common_job.torch_peers import _batches, _model

ROUNDS = int(os.environ.get("FLOWER_ROUNDS", "4"))
client, server = ClientApp(), ServerApp()
opened: dict[str, torch.Tensor] = {}
ends: list[tuple[float, float]] = []


@client.train()
def train(message: Message, context: Context) -> Message:
    if not opened:
        torch.set_num_threads(1)
        features, labels = job.rows()
        opened.update(features=torch.from_numpy(features), labels=torch.from_numpy(labels))
    model, user = _model(), int(context.node_config["partition-id"])
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=job.RATE)
    own = slice(user, user + 1)
    for x, y in _batches(opened["features"][own], opened["labels"][own]):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(x[0]), y[0]).backward()
        optimizer.step()
    metrics = MetricRecord({"num-examples": job.NUM_ROWS})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


class Timed(FedAvg):
    """Notes when each round ends."""

    def aggregate_train(self, server_round, replies):  # type: ignore[no-untyped-def]
        found = super().aggregate_train(server_round, replies)
        ends.append((time.perf_counter(), job.cpu_seconds()))
        return found


@server.main()
def main(grid: Grid, context: Context) -> None:
    nodes = int(os.environ["FLOWER_NODES"])
    model = _model()
    for weight, start in zip(model.parameters(), job.initial(), strict=True):
        weight.data.copy_(torch.from_numpy(start))
    strategy = Timed(
        fraction_train=job.COHORT_SIZE / nodes,
        fraction_evaluate=0.0,
        min_train_nodes=job.COHORT_SIZE,
        min_available_nodes=nodes,
    )
    initial = ArrayRecord(model.state_dict())
    strategy.start(grid=grid, initial_arrays=initial, num_rounds=ROUNDS, timeout=3600)


def run(nodes: int) -> None:
    os.environ["FLOWER_NODES"] = str(nodes)
    backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0}, "init_args": {"num_cpus": 2}}
    run_simulation(
        server_app=server, client_app=client, num_supernodes=nodes, backend_config=backend
    )
    (wall, cpu), (last_wall, last_cpu) = ends[0], ends[-1]
    clients = job.COHORT_SIZE * (len(ends) - 1)
    line = {
        "clients_per_s": clients / (last_wall - wall),
        "clients_per_cpu_s": clients / (last_cpu - cpu),
        "wall_s": last_wall - wall,
        "cpu_s": last_cpu - cpu,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    run(int(sys.argv[1]))
