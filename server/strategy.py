"""The round loop of the cloud, on Flower's Grid.

    nodes  <- which partition does each node hold?           (one query)
    repeat    cohort of the round, from the plan
              TrainTask to each node that has devices in it
              TrainReply from each of them, checked, added in partition order
              mean update -> server optimizer -> new parameters -> checkpoint
              now and then: EvalTask to all nodes -> metric sums

Flower's own strategies average replies; here a reply is a sum over a shard, so the loop is ours.
Replies are read in order of partition before their floats are added.

The evaluation before round 1 is a rehearsal: whatever goes wrong there stops the run. Later a node
that fails, is lost, or sends what cannot be used costs the round its devices and no more; a run in
which nobody's update arrives for `federation.patience` rounds in a row stops.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, EvalTask, TrainReply, TrainTask
from clients.protocol.partitions import partition_bounds
from models.errors import EngineError
from models.seeds import generator
from server.aggregation import ServerState, server_optimizer
from server.checkpoints import Checkpoint
from server.cohorts import Cohort, CohortSource
from server.history import History, RoundRow
from server.nodes import Nodes
from server.settings import ServerJob


@dataclass(frozen=True, slots=True)
class TrainedRound:
    """What the nodes made of a round.

    Attributes:
        replies: of the nodes that answered well, in order of partition.
        num_lost: devices that were to report and whose node failed.
        faults: what went wrong, a line each.
    """

    replies: Sequence[TrainReply]
    num_lost: int
    faults: tuple[str, ...]

    def total(self, num_parameters: int) -> TrainReply:
        """All replies added up."""
        return sum(self.replies, start=TrainReply.nothing(num_parameters))

    @property
    def smallest_sum(self) -> int | None:
        """Devices in the smallest sum that a node sent."""
        return min((each.num_devices for each in self.replies), default=None)


def federate(grid: Grid, job: ServerJob, cohorts: CohortSource) -> NDArray[np.float32]:
    """Run all rounds of a job and return the final parameters (P,).

    A job with a checkpoint goes on after the round it names; one that has ended is not run again.

    Raises:
        EngineError: if the nodes are not all there and well before round 1, or nobody's update
            arrives for too many rounds.
    """
    federation = job.federation
    history, checkpoint = History(job.folder), Checkpoint.read(job.folder)
    if history.is_whole():
        return history.read_final()
    nodes = Nodes.find(grid, federation.num_nodes, federation.reply_timeout_s)
    optimizer = server_optimizer(federation.optimizer)
    state = optimizer.start(np.load(job.initial, allow_pickle=False))
    done = 0
    if checkpoint is None:
        history.clear()
        history.append(_rehearse(nodes, job, state))
    else:
        done, state = checkpoint.rounds_done, checkpoint.state
        history.keep(done)  # its row may be missing: the run was stopped while it evaluated
        if history.last_round() < done:
            history.append(_with_evaluation(checkpoint.row, nodes, job, state))
    for round_number in range(done + 1, federation.rounds + 1):
        started = time.perf_counter()
        cohort = cohorts.cohort(round_number)
        trained = train_round(nodes, job, state, cohort, round_number)
        reply = trained.total(job.num_parameters)
        if reply.num_devices:
            state = optimizer.step(state, reply.update_sum / reply.num_devices)
        row = RoundRow.of(
            round_number,
            cohort,
            reply,
            trained.smallest_sum,
            num_lost=trained.num_lost,
            faults=trained.faults,
            seconds=time.perf_counter() - started,
        )
        Checkpoint(round_number, state, row).write(job.folder)
        history.append(_with_evaluation(row, nodes, job, state))
        _stop_if_nobody_reports(history, federation.patience)
    history.write_final(state.as_sent())
    Checkpoint.forget(job.folder)
    return state.as_sent()


def _rehearse(nodes: Nodes, job: ServerJob, state: ServerState) -> RoundRow:
    """Round 0: every node must answer, and well."""
    evaluated, faults = evaluate_round(nodes, job, state, 0)
    if faults:
        raise EngineError(f"before round 1: {'; '.join(faults)}")
    return RoundRow.before_training(evaluated)


def _with_evaluation(row: RoundRow, nodes: Nodes, job: ServerJob, state: ServerState) -> RoundRow:
    """Evaluate after a round if it is time; return its row, whole."""
    federation = job.federation
    last = row.round_number == federation.rounds
    if not last and row.round_number % federation.evaluate_every:
        return row
    return row.evaluated(*evaluate_round(nodes, job, state, row.round_number))


def _stop_if_nobody_reports(history: History, patience: int) -> None:
    latest = history.rows()[1:][-patience:]
    if len(latest) == patience and not any(row["num_reported"] for row in latest):
        faults = [fault for row in latest for fault in row["faults"]]
        why = "; ".join(dict.fromkeys(faults)) or "all invited devices dropped out or were late"
        raise EngineError(
            f"no update arrived in the last {patience} rounds ({why}): mend it and go on with "
            "--resume, or be more patient with federation.patience"
        )


def train_round(
    nodes: Nodes, job: ServerJob, state: ServerState, cohort: Cohort, round_number: int
) -> TrainedRound:
    """Let the cohort's reporting devices train."""
    num_nodes = job.federation.num_nodes
    tasks: dict[int, RecordDict] = {}
    sizes: dict[int, int] = {}
    for partition in range(num_nodes):
        first, end = partition_bounds(job.num_devices, partition, num_nodes)
        mine = cohort.reported[(cohort.reported >= first) & (cohort.reported < end)]
        if len(mine):
            task = TrainTask(state.as_sent(), mine, round_number, job.federation.training)
            tasks[partition], sizes[partition] = task.to_record(), len(mine)

    def read(partition: int, content: RecordDict) -> TrainReply:
        reply = TrainReply.from_record(content, job.num_parameters)
        counted = reply.num_devices + reply.num_refused
        if counted != sizes[partition]:
            raise EngineError(
                f"{counted} devices are in its sum, {sizes[partition]} were asked: "
                "it holds another world than the plan"
            )
        return reply

    answers = nodes.ask(tasks, MessageType.TRAIN, str(round_number), read)
    lost = sum(size for node, size in sizes.items() if node not in answers.by_partition)
    return TrainedRound(tuple(answers.by_partition.values()), lost, answers.faults)


def evaluate_round(
    nodes: Nodes, job: ServerJob, state: ServerState, round_number: int
) -> tuple[EvalReply, tuple[str, ...]]:
    """Let devices evaluate themselves; return the sums over all that did, and the faults."""
    block_bytes = job.federation.training.block_bytes
    tasks = {
        partition: EvalTask(state.as_sent(), devices, round_number, block_bytes).to_record()
        for partition, devices in _evaluated(job).items()
    }
    answers = nodes.ask(
        tasks,
        MessageType.EVALUATE,
        str(round_number),
        lambda _, content: EvalReply.from_record(content),
    )
    return sum(answers.by_partition.values(), start=EvalReply({})), answers.faults


def _evaluated(job: ServerJob) -> dict[int, NDArray[np.int64]]:
    """The devices of each partition that evaluate; none stands for all of them.

    A sample is drawn once for a run, so that its figures of different rounds can be compared.
    """
    federation, chosen = job.federation, np.empty(0, dtype=np.int64)
    if 0 < federation.evaluate_devices < job.num_devices:
        rng = generator(job.seed, "evaluated devices")
        size = federation.evaluate_devices
        chosen = np.sort(rng.choice(job.num_devices, size, replace=False, shuffle=False))
    tasks = {}
    for partition in range(federation.num_nodes):
        first, end = partition_bounds(job.num_devices, partition, federation.num_nodes)
        mine = chosen[(chosen >= first) & (chosen < end)]
        if len(mine) or not len(chosen):
            tasks[partition] = mine
    return tasks
