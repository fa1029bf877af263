"""Nodes fail in every way there is; the round goes on, says so, and counts nothing twice."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Error, Message, MessageType, RecordDict

import clients.app
import clients.recommender_training
import server.app
from clients.protocol.messages import TrainReply
from clients.protocol.partitions import partition_bounds
from models.errors import EngineError
from server.cohorts import CohortPlan, Outcome
from server.history import History
from server.nodes import Nodes
from simulation.engines.inline import (
    FIRST_NODE_ID,
    RUN_ID,
    SERVER_NODE_ID,
    InlineGrid,
    run_inline,
    task_identity,
)
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation

ROUNDS, NODES, BAD = 3, 4, 2
Tamper = Callable[[Message], list[Message]]


class BadWire(InlineGrid):
    """A grid on which one node's answers to the training of the last round are tampered with."""

    tamper: Tamper
    kind = MessageType.TRAIN

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """A message knows its id from now on, as with Flower's own grids."""
        sent = list(messages)
        message_ids = list(super().push_messages(sent))
        for message, message_id in zip(sent, message_ids, strict=True):
            message.metadata.__dict__["_message_id"] = message_id
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found: list[Message] = []
        for reply in super().pull_messages(message_ids):
            about = reply.metadata
            node, group = about.src_node_id - FIRST_NODE_ID, about.group_id
            bad = (about.message_type, node, group) == (self.kind, BAD, str(ROUNDS))
            found += self.tamper(reply) if bad else [reply]
        return found


def play(folder: Path, tamper: Tamper, kind: str = MessageType.TRAIN) -> None:
    config: dict[str, bool | float | int | str] = {"run-folder": str(folder)}
    grid = BadWire(clients.app.app, NODES, config)
    grid.tamper, grid.kind = tamper, kind
    context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), config)
    clients.app.forget_shards()
    with task_identity(SERVER_NODE_ID):
        server.app.app(grid, context)
    clients.app.forget_shards()


def with_update(reply: Message, update: np.ndarray) -> Message:
    changed = copy.deepcopy(reply)
    changed.content["arrays"] = ArrayRecord({"update_sum": Array(update)})
    return changed


def error_in_place_of(reply: Message) -> Message:
    return Message(error=Error(1, "out of memory\nTraceback"), metadata=reply.metadata)


def in_the_name_of(reply: Message) -> Message:
    """What Flower's SuperLink says when a node is gone: an error from an id of its own."""
    metadata = copy.deepcopy(reply.metadata)
    metadata.__dict__["_src_node_id"] = SERVER_NODE_ID
    return Message(error=Error(5, "Node Unavailable"), metadata=metadata)


def update_of(reply: Message) -> np.ndarray:
    return reply.content["arrays"]["update_sum"].numpy()


def counting_wrongly(reply: Message) -> Message:
    changed = copy.deepcopy(reply)
    changed.content["sums"]["num_devices"] += 1
    return changed


def of_the_round_before(reply: Message) -> Message:
    changed = copy.deepcopy(reply)
    changed.metadata.__dict__["_group_id"] = str(ROUNDS - 1)
    return changed


def without_its_counts(reply: Message) -> Message:
    changed = copy.deepcopy(reply)
    del changed.content["sums"]
    return changed


USELESS: dict[str, tuple[Tamper, str]] = {
    "never": (lambda reply: [], "node 2 did not answer within 600 s"),
    "error": (lambda reply: [error_in_place_of(reply)], "node 2 failed: out of memory Traceback"),
    "gone": (lambda reply: [in_the_name_of(reply)], "node 2 failed: Node Unavailable"),
    "nan": (lambda reply: [with_update(reply, update_of(reply) * np.nan)], "not finite"),
    "oversized": (lambda reply: [with_update(reply, np.zeros(10**7))], r"shape (10000000,)"),
    "wrong shape": (lambda reply: [with_update(reply, update_of(reply)[None])], "shape (1, "),
    "wrong count": (lambda reply: [counting_wrongly(reply)], "devices are in its sum"),
    "of another round": (lambda reply: [of_the_round_before(reply)], "answered something else"),
    "unreadable": (lambda reply: [without_its_counts(reply)], "cannot be read"),
}


@pytest.mark.parametrize("fault", USELESS)
def test_a_useless_reply_costs_the_round_its_devices_and_no_more(tiny: TinyWorld, fault: str):
    tamper, words = USELESS[fault]
    bad = tiny.prepare_run("bad", federation(NODES, rounds=ROUNDS))
    play(bad, tamper)
    without, lost = tiny.prepare_run("without", federation(NODES, rounds=ROUNDS)), 0
    plan = CohortPlan.read(without / "cohorts.npz")
    first, end = partition_bounds(NUM_DEVICES, BAD, NODES)
    last = np.arange(plan.offsets[ROUNDS - 1], plan.offsets[ROUNDS])
    mine = last[(plan.invited[last] >= first) & (plan.invited[last] < end)]
    lost = int((plan.outcome[mine] == Outcome.REPORTED).sum())
    plan.outcome[mine] = Outcome.DROPPED
    plan.write(without / "cohorts.npz")
    run_inline(without, NODES)
    np.testing.assert_array_equal(History(bad).read_final(), History(without).read_final())
    row, clean = History(bad).rows()[ROUNDS], History(without).rows()[ROUNDS]
    assert row["num_lost"] == lost > 0
    assert row["num_reported"] == clean["num_reported"]
    assert len(row["faults"]) == 1 and words in row["faults"][0]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda reply: [reply, reply],
        lambda reply: [reply, error_in_place_of(reply)],
        lambda reply: [reply, with_update(reply, update_of(reply) * 2), reply],
    ],
    ids=["twice", "then an error", "then others"],
)
def test_a_reply_that_comes_twice_counts_once(tiny: TinyWorld, tamper: Tamper):
    bad = tiny.prepare_run("bad", federation(NODES, rounds=ROUNDS))
    play(bad, tamper)
    good = tiny.prepare_run("good", federation(NODES, rounds=ROUNDS))
    run_inline(good, NODES)
    np.testing.assert_array_equal(History(bad).read_final(), History(good).read_final())
    row = History(bad).rows()[ROUNDS]
    assert row["num_lost"] == 0
    assert "node 2 answered again" in row["faults"][0]


def test_an_evaluation_that_is_lost_leaves_the_others(tiny: TinyWorld):
    bad = tiny.prepare_run("bad", federation(NODES, rounds=ROUNDS))
    play(bad, USELESS["error"][0], MessageType.EVALUATE)
    row = History(bad).rows()[ROUNDS]
    assert row["metrics"]["full"]["auc"] > 0
    assert "out of memory" in row["faults"][0]


def test_a_node_that_fails_before_round_1_stops_the_run(tiny: TinyWorld):
    folder = tiny.prepare_run("run", federation(NODES))
    (tiny.world / "item.npy").unlink()
    with pytest.raises(EngineError, match=r"before round 1: node 0 failed: DataError: .*item.npy"):
        run_inline(folder, NODES)
    assert not (folder / "final.npy").exists()


def test_a_node_that_counts_other_partitions_is_found_at_once(tiny: TinyWorld):
    folder = tiny.prepare_run("run", federation(NODES))
    grid = InlineGrid(clients.app.app, NODES, {"run-folder": str(folder)})
    grid._contexts[FIRST_NODE_ID].node_config["num-partitions"] = 5
    with (
        task_identity(SERVER_NODE_ID),
        pytest.raises(EngineError, match=r"partition 0 of 5, the run has 4: .*num-partitions=4"),
    ):
        Nodes.find(grid, NODES, 600)


def test_a_run_in_which_nobody_reports_stops_and_can_go_on(tiny: TinyWorld, monkeypatch):
    def poisoned(*arguments: object, **named: object) -> TrainReply:
        return TrainReply(np.full(tiny.layout.size, np.nan), 1, 0, 0, 0.0, 0.0)

    folder = tiny.prepare_run("run", federation())
    with monkeypatch.context() as patch:
        patch.setattr(clients.recommender_training, "train_cohort", poisoned)
        with pytest.raises(EngineError, match=r"in the last 2 rounds .*not finite.*--resume"):
            run_inline(folder, 1)
    assert not (folder / "final.npy").exists()
    run_inline(folder, 1)
    assert [row["num_reported"] > 0 for row in History(folder).rows()[1:]] == [False, False, True]


def test_a_device_whose_update_is_not_finite_is_left_out(tiny: TinyWorld):
    """Its own vector is broken: it is counted as refused, and the others' sum is what it was."""
    good, bad = (tiny.prepare_run(name, federation(NODES, rounds=1)) for name in ("good", "bad"))
    reported = CohortPlan.read(bad / "cohorts.npz").cohort(1).reported
    taste = np.load(bad / "taste.npy")
    taste[reported[1]] = np.nan
    np.save(bad / "taste.npy", taste)
    without = CohortPlan.read(good / "cohorts.npz")
    without.outcome[without.invited == reported[1]] = Outcome.DROPPED
    without.write(good / "cohorts.npz")
    for folder in (good, bad):
        held_out = np.load(tiny.world / "held_out.npy")
        held_out[reported[1]] = -1  # its scores are not numbers either
        np.save(tiny.world / "held_out.npy", held_out)
        run_inline(folder, NODES)
    row = History(bad).rows()[1]
    assert (row["num_refused"], row["num_lost"], row["faults"]) == (1, 0, [])
    np.testing.assert_allclose(History(bad).read_final(), History(good).read_final(), atol=1e-6)
