"""The round loop of the cloud, on Flower's Grid.

    nodes  <- which partition does each node hold?           (one query)
    repeat    cohort of the round, from the plan
              TrainTask to each node that has devices in it
              TrainReply from each of them, checked, added in partition order
              (with secure sums: four messages, and one sum over all nodes, server.secure_sum)
              sum -> mean update, noised in a private run (server.privacy.mechanism)
              mean update -> server optimizer -> new parameters -> checkpoint
              now and then: EvalTask to all nodes -> metric sums

Flower's own strategies average replies; here a reply is a sum over a shard, so the loop is ours.
Replies are read in order of partition before their floats are added.

The evaluation before round 1 is a rehearsal: whatever goes wrong there stops the run. Later a node
that fails, is lost, or sends what cannot be used costs the round its devices and no more; a run in
which nobody's update arrives for `federation.patience` rounds in a row stops.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from clients.protocol.messages import (
    NOT_PRIVATE,
    EvalReply,
    EvalTask,
    TrainReply,
    TrainTask,
    UpdatePrivacy,
)
from clients.protocol.partitions import partition_bounds
from models.errors import EngineError
from models.seeds import generator
from server.aggregation import ServerState, server_optimizer, staleness_weight
from server.checkpoints import Checkpoint
from server.cohorts import Cohort, CohortSource
from server.history import History, RoundRow
from server.nodes import Answers, Nodes
from server.privacy.accounts import Accounts
from server.robust_aggregation import combined
from server.secure_sum.exchange import hidden_metrics, hidden_update
from server.settings import ServerJob


@dataclass(frozen=True, slots=True)
class TrainedRound:
    """What the nodes made of a round.

    Attributes:
        replies: of the nodes that answered well, the oldest version first, in order of partition.
        weights: what the sum of each weighs.
        num_lost: devices that were to report and whose node failed.
        faults: what went wrong, a line each.
    """

    replies: Sequence[TrainReply]
    weights: Sequence[float]
    num_lost: int
    faults: tuple[str, ...]

    def total(self, num_trained: int, privacy: UpdatePrivacy = NOT_PRIVATE) -> TrainReply:
        """All replies added up, the updates by their weights."""
        weighted = [
            replace(reply, update_sum=weight * reply.update_sum)
            for reply, weight in zip(self.replies, self.weights, strict=True)
        ]
        return sum(weighted, start=TrainReply.nothing(num_trained, privacy))

    def rows(self, num_trained: int) -> NDArray[np.float64]:
        """The updates of nodes of one device each, (B, P'); refused ones are left out."""
        sums = [reply.update_sum for reply in self.replies if reply.num_devices]
        return np.stack(sums) if sums else np.empty((0, num_trained))

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
    accounts, mechanism = Accounts.of(job, cohorts), job.mechanism
    nodes = Nodes.find(grid, federation.num_nodes, federation.reply_timeout_s)
    optimizer = server_optimizer(federation.optimizer, federation.training.proximal)
    state = optimizer.start(np.load(job.initial, allow_pickle=False))
    done, sent, clip_norm = 0, {0: state.as_sent()}, federation.training.clip_norm
    if checkpoint is None:
        history.clear()
        history.append(_rehearse(nodes, job, state, accounts))
    else:
        done, state, sent = checkpoint.rounds_done, checkpoint.state, dict(checkpoint.sent)
        clip_norm = checkpoint.clip_norm
        history.keep(done)  # its row may be missing: the run was stopped while it evaluated
        if history.last_round() < done:
            history.append(_with_evaluation(checkpoint.row, nodes, job, state, accounts))
    for round_number in range(done + 1, accounts.last_round + 1):
        started = time.perf_counter()
        cohort = cohorts.cohort(round_number)
        trained = train_round(nodes, job, sent, cohort, round_number, clip_norm)
        reply = trained.total(job.num_trained, mechanism.asked_of_nodes)
        if federation.aggregation.rule == "mean":
            update = mechanism.mean_update(reply, clip_norm, round_number)
        else:
            update = combined(trained.rows(job.num_trained), federation.aggregation)
        if update is not None:
            state = optimizer.step(state, job.whole(update), reply.num_devices / job.num_devices)
        sent[round_number] = state.as_sent()
        sent.pop(round_number - federation.schedule.kept_versions, None)
        row = RoundRow.of(
            round_number,
            cohort,
            reply,
            trained.smallest_sum,
            clip_norm=clip_norm,
            spent=accounts.spent(round_number),
            num_lost=trained.num_lost,
            faults=trained.faults,
            seconds=time.perf_counter() - started,
            traffic=federation.traffic_of_a_phone(job.num_trained, len(cohort.reported)),
        )
        clip_norm = mechanism.next_clip_norm(reply, clip_norm, round_number)
        Checkpoint(round_number, state, sent, row, clip_norm).write(job.folder)
        history.append(_with_evaluation(row, nodes, job, state, accounts))
        _stop_if_nobody_reports(history, federation.patience)
    accounts.write(job.folder, history)
    history.write_final(state.as_sent())
    Checkpoint.forget(job.folder)
    return state.as_sent()


def _rehearse(nodes: Nodes, job: ServerJob, state: ServerState, accounts: Accounts) -> RoundRow:
    """Round 0: every node must answer, and well."""
    evaluated, faults = evaluate_round(nodes, job, state, 0)
    if faults:
        raise EngineError(f"before round 1: {'; '.join(faults)}")
    return RoundRow.before_training(evaluated, accounts.spent(0))


def _with_evaluation(
    row: RoundRow, nodes: Nodes, job: ServerJob, state: ServerState, accounts: Accounts
) -> RoundRow:
    """Evaluate after a round if it is time; return its row, whole."""
    last = row.round_number == accounts.last_round
    if not last and row.round_number % job.federation.evaluate_every:
        return row
    return row.evaluated(*evaluate_round(nodes, job, state, row.round_number))


def _stop_if_nobody_reports(history: History, patience: int) -> None:
    # A round of which Poisson sampling draws nobody who is there is no failure.
    latest = [row for row in history.rows()[1:] if row["num_invited"]][-patience:]
    if len(latest) == patience and not any(row["num_reported"] for row in latest):
        faults = [fault for row in latest for fault in row["faults"]]
        why = "; ".join(dict.fromkeys(faults)) or "all invited devices dropped out or were late"
        raise EngineError(
            f"no update arrived in the last {patience} rounds ({why}): mend it and go on with "
            "--resume, or be more patient with federation.patience"
        )


def train_round(
    nodes: Nodes,
    job: ServerJob,
    sent: Mapping[int, NDArray[np.float32]],
    cohort: Cohort,
    round_number: int,
    clip_norm: float,
) -> TrainedRound:
    """Let the cohort's reporting devices train, each from the parameters that it had fetched.

    Args:
        nodes: who holds what.
        job: the cloud's side of the run.
        sent: rounds done -> the parameters that phones fetched then.
        cohort: the devices of the round.
        round_number: counted from 1.
        clip_norm: of this round.
    """
    if (plan := job.secure_plan) is not None:
        tasks = _tasks(job, sent[round_number - 1], cohort.reported, round_number, clip_norm)
        found, faults = hidden_update(nodes, job, plan, tasks)
        lost = len(cohort.reported) - sum(each.num_asked for each in found)
        return TrainedRound([each.reply for each in found], [1.0] * len(found), lost, faults)
    replies: list[TrainReply] = []
    weights: list[float] = []
    lost, faults = 0, tuple[str, ...]()
    for version in np.unique(cohort.version):
        mine = cohort.reported[cohort.version == version]
        tasks = _tasks(job, sent[int(version)], mine, round_number, clip_norm)
        answers = _ask(nodes, job, tasks, round_number, int(version))
        replies += answers.by_partition.values()
        weight = staleness_weight(round_number - 1 - int(version))
        weights += [weight] * len(answers.by_partition)
        lost += sum(len(tasks[node].device_ids) for node in set(tasks) - set(answers.by_partition))
        faults += answers.faults
    return TrainedRound(replies, weights, lost, faults)


def _tasks(
    job: ServerJob,
    parameters: NDArray[np.float32],
    devices: NDArray[np.int64],
    round_number: int,
    clip_norm: float,
) -> dict[int, TrainTask]:
    """A task for each partition that holds some of these devices."""
    tasks, num_nodes = {}, job.federation.num_nodes
    training = job.federation.training.model_copy(update={"clip_norm": clip_norm})
    privacy = job.mechanism.asked_of_nodes
    for partition in range(num_nodes):
        first, end = partition_bounds(job.num_devices, partition, num_nodes)
        mine = devices[(devices >= first) & (devices < end)]
        if len(mine):
            tasks[partition] = TrainTask(parameters, mine, round_number, training, privacy)
    return tasks


def _ask(
    nodes: Nodes, job: ServerJob, tasks: Mapping[int, TrainTask], round_number: int, version: int
) -> Answers[TrainReply]:
    def read(partition: int, content: RecordDict) -> TrainReply:
        task = tasks[partition]
        reply = TrainReply.from_record(content, job.num_trained, task.privacy)
        counted, asked = reply.num_devices + (reply.num_refused or 0), len(task.device_ids)
        if counted != asked:
            raise EngineError(
                f"{counted} devices are in its sum, {asked} were asked: "
                "it holds another world than the plan"
            )
        return reply

    records = {partition: task.to_record() for partition, task in tasks.items()}
    # An answer to an older version's question must not be taken for one to this.
    group = str(round_number) if version == round_number - 1 else f"{round_number}-{version}"
    return nodes.ask(records, MessageType.TRAIN, group, read)


def evaluate_round(
    nodes: Nodes, job: ServerJob, state: ServerState, round_number: int
) -> tuple[EvalReply, tuple[str, ...]]:
    """Let devices evaluate themselves; return the sums over all that did, and the faults.

    In a private run that covers evaluation the sums are noised before anything is made of them.
    """
    block_bytes, asked = job.federation.training.block_bytes, _evaluated(job)
    tasks = {
        partition: EvalTask(state.as_sent(), devices, round_number, block_bytes).to_record()
        for partition, devices in asked.items()
    }
    if job.federation.secure_sum.enabled:
        exact, faults = hidden_metrics(nodes, job, tasks, asked, round_number)
        return job.mechanism.evaluated(exact, job.tiers, round_number), faults
    answers = nodes.ask(
        tasks,
        MessageType.EVALUATE,
        str(round_number),
        lambda _, content: EvalReply.from_record(content),
    )
    if not answers.by_partition:
        return EvalReply({}), answers.faults
    exact = sum(answers.by_partition.values(), start=EvalReply({}))
    return job.mechanism.evaluated(exact, job.tiers, round_number), answers.faults


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
