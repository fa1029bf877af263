"""The round loop of the cloud, on Flower's Grid.

    nodes  <- which partition does each node hold?           (one query)
    repeat    cohort of the round, from the plan
              TrainTask to each node that has devices in it
              TrainReply from each of them, checked, added in partition order
              mean update -> server optimizer -> new parameters -> checkpoint
              now and then: EvalTask to all nodes -> metric sums

Flower's own strategies average replies; here a reply is a sum over a shard, so the loop is ours.
Replies are sorted by partition before their floats are added: node ids are random in every run.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, EvalTask, TrainReply, TrainTask
from clients.protocol.partitions import partition_bounds
from models.errors import EngineError
from server.aggregation import ServerState, server_optimizer
from server.checkpoints import Checkpoint
from server.cohorts import Cohort, CohortSource
from server.history import History, RoundRow
from server.settings import ServerJob

NODE_WAIT_S = 120.0
REPLY_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the grid, by what they hold.

    Attributes:
        grid: how they are reached.
        node_of: partition id -> node id.
    """

    grid: Grid
    node_of: Mapping[int, int]

    @classmethod
    def find(cls, grid: Grid, num_nodes: int) -> "Nodes":
        """Wait for the nodes and ask each which partition it holds.

        Raises:
            EngineError: if too few nodes appear, or two hold the same partition.
        """
        node_ids = _wait_for_nodes(grid, num_nodes)
        asked = [
            Message(content=RecordDict(), message_type=MessageType.QUERY, dst_node_id=node_id)
            for node_id in node_ids
        ]
        replies = _replies(grid, asked)
        node_of = {
            int(reply.content["config"]["partition_id"]): reply.metadata.src_node_id
            for reply in replies
        }
        if sorted(node_of) != list(range(num_nodes)):
            raise EngineError(f"nodes hold partitions {sorted(node_of)}, wanted 0..{num_nodes - 1}")
        return cls(grid, node_of)

    def ask(self, tasks: Mapping[int, RecordDict], kind: str, group: str) -> list[RecordDict]:
        """Send one task per partition; return the replies in order of partition.

        Raises:
            EngineError: if a node fails or does not answer.
        """
        partition_of = {node: partition for partition, node in self.node_of.items()}
        messages = [
            Message(
                content=content,
                message_type=kind,
                dst_node_id=self.node_of[partition],
                group_id=group,
            )
            for partition, content in sorted(tasks.items())
        ]
        replies = _replies(self.grid, messages)
        replies.sort(key=lambda reply: partition_of[reply.metadata.src_node_id])
        return [reply.content for reply in replies]


def federate(grid: Grid, job: ServerJob, cohorts: CohortSource) -> NDArray[np.float32]:
    """Run all rounds of a job and return the final parameters (P,).

    A job with a checkpoint goes on after the round it names; one that has ended is not run again.

    Raises:
        EngineError: if a node is missing, fails, or replies something impossible.
    """
    federation = job.federation
    nodes = Nodes.find(grid, federation.num_nodes)
    optimizer = server_optimizer(federation.optimizer)
    state = optimizer.start(np.load(job.initial, allow_pickle=False))
    history, checkpoint = History(job.folder), Checkpoint.read(job.folder)
    if history.is_whole():
        return history.read_final()
    done = 0
    if checkpoint is None:
        history.clear()
        history.append(RoundRow.before_training(evaluate_round(nodes, job, state, 0)))
    else:
        done, state = checkpoint.rounds_done, checkpoint.state
        history.keep(done)  # its row may be missing: the run was stopped while it evaluated
        if history.last_round() < done:
            history.append(_with_evaluation(checkpoint.row, nodes, job, state))
    for round_number in range(done + 1, federation.rounds + 1):
        started = time.perf_counter()
        cohort = cohorts.cohort(round_number)
        replies = train_round(nodes, job, state, cohort, round_number)
        reply = sum(replies, start=TrainReply.nothing(job.num_parameters))
        if reply.num_devices:
            state = optimizer.step(state, reply.update_sum / reply.num_devices)
        smallest = min((each.num_devices for each in replies), default=None)
        seconds = time.perf_counter() - started
        row = RoundRow.of(round_number, cohort, reply, smallest, seconds)
        Checkpoint(round_number, state, row).write(job.folder)
        history.append(_with_evaluation(row, nodes, job, state))
    history.write_final(state.as_sent())
    Checkpoint.forget(job.folder)
    return state.as_sent()


def _with_evaluation(row: RoundRow, nodes: Nodes, job: ServerJob, state: ServerState) -> RoundRow:
    """Evaluate after a round if it is time; return its row, whole."""
    federation = job.federation
    last = row.round_number == federation.rounds
    if not last and row.round_number % federation.evaluate_every:
        return row
    return row.evaluated(evaluate_round(nodes, job, state, row.round_number))


def train_round(
    nodes: Nodes, job: ServerJob, state: ServerState, cohort: Cohort, round_number: int
) -> list[TrainReply]:
    """Let the cohort's reporting devices train; return what each node replied, by partition."""
    num_nodes = job.federation.num_nodes
    tasks = {}
    for partition in range(num_nodes):
        first, end = partition_bounds(job.num_devices, partition, num_nodes)
        mine = cohort.reported[(cohort.reported >= first) & (cohort.reported < end)]
        if len(mine):
            task = TrainTask(state.as_sent(), mine, round_number, job.federation.training)
            tasks[partition] = task.to_record()
    contents = nodes.ask(tasks, MessageType.TRAIN, str(round_number))
    replies = [TrainReply.from_record(content, job.num_parameters) for content in contents]
    counted = sum(reply.num_devices for reply in replies)
    if counted != len(cohort.reported):
        raise EngineError(
            f"round {round_number}: {counted} devices are in the sums, "
            f"{len(cohort.reported)} were asked; the nodes hold another world than the plan"
        )
    return replies


def evaluate_round(
    nodes: Nodes, job: ServerJob, state: ServerState, round_number: int
) -> EvalReply:
    """Let every device evaluate itself; return the sums over all of them."""
    block_size = job.federation.training.block_size
    record = EvalTask(state.as_sent(), round_number, block_size).to_record
    tasks = {partition: record() for partition in range(job.federation.num_nodes)}
    total = EvalReply({})
    for content in nodes.ask(tasks, MessageType.EVALUATE, str(round_number)):
        total = total + EvalReply.from_record(content)
    return total


def _wait_for_nodes(grid: Grid, num_nodes: int) -> list[int]:
    """Round 1 may start before the nodes are registered: wait until all are."""
    deadline = time.monotonic() + NODE_WAIT_S
    while len(node_ids := sorted(grid.get_node_ids())) < num_nodes:
        if time.monotonic() > deadline:
            raise EngineError(
                f"{len(node_ids)} of {num_nodes} nodes appeared within {NODE_WAIT_S:.0f} s: "
                "look into the engine's log, or ask for fewer with federation.num_nodes"
            )
        time.sleep(0.1)
    return node_ids


def _replies(grid: Grid, messages: list[Message]) -> list[Message]:
    """Send and receive, and let no failed or missing reply pass for a good one."""
    replies = list(grid.send_and_receive(messages, timeout=REPLY_TIMEOUT_S))
    for reply in replies:
        if reply.has_error():
            raise EngineError(f"node {reply.metadata.src_node_id} failed: {reply.error.reason}")
    if len(replies) != len(messages):
        raise EngineError(f"{len(replies)} of {len(messages)} nodes replied: see the engine's log")
    return replies
