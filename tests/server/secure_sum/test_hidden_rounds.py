"""Whole runs with secure sums on Flower's Grid: the same integers everywhere, nodes lost."""

import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from pydantic import ValidationError

import clients.app
import server.app
from clients.protocol.secure_sum.answers import Masked, Revealed
from clients.protocol.secure_sum.tasks import envelope, opened
from models.errors import EngineError, SettingsError
from server.history import History
from server.settings import Federation, ServerJob
from simulation.engines.inline import (
    FIRST_NODE_ID,
    RUN_ID,
    SERVER_NODE_ID,
    InlineGrid,
    run_inline,
    task_identity,
)
from simulation.engines.pool import run_in_pool
from tests.tiny_world import SECURE_SUM, TinyWorld, federation

ROUNDS, NODES, BAD = 3, 4, 2


def hidden(num_nodes: int = NODES, rounds: int = ROUNDS, **changes: object) -> Federation:
    """A run whose sums are hidden."""
    settings = SECURE_SUM.model_copy(update={"enabled": True} | changes)
    return federation(num_nodes, rounds).model_copy(update={"secure_sum": settings})


def distributed(settings: Federation, noise_multiplier: float) -> Federation:
    """The same, every device adding its share of the noise."""
    changes = {"mechanism": "distributed", "noise_multiplier": noise_multiplier}
    return settings.model_copy(update={"privacy": settings.privacy.model_copy(update=changes)})


def rows_without_time(folder: Path) -> list[dict]:
    return [row | {"seconds": 0} for row in History(folder).rows()]


def test_engines_give_the_same_integers_and_node_counts_the_same_parameters(tiny: TinyWorld):
    """Engines to the bit. With other nodes come other blocks, in which float32 training may differ
    in its last bit, and a number that is on the edge is then rounded by a step."""
    runs = {}
    for nodes in (1, 2, 8):
        runs[nodes] = tiny.prepare_run(f"nodes{nodes}", distributed(hidden(nodes), 0.3))
        run_inline(runs[nodes], nodes)
    pool = tiny.prepare_run("pool", distributed(hidden(8), 0.3))
    run_in_pool(pool, 8, 2)
    np.testing.assert_array_equal(History(pool).read_final(), History(runs[8]).read_final())
    assert rows_without_time(pool) == rows_without_time(runs[8])
    for nodes in (1, 2):
        ours, theirs = (History(runs[count]) for count in (nodes, 8))
        np.testing.assert_allclose(ours.read_final(), theirs.read_final(), atol=1e-5)
        for row, other in zip(ours.rows(), theirs.rows(), strict=True):
            for same in ("num_reported", "smallest_sum", "epsilon", "bytes_up", "faults"):
                assert row[same] == other[same]


def test_a_hidden_sum_is_the_open_one_within_its_steps(tiny: TinyWorld):
    """One round of plain FedAvg: what moves the parameters differs by less than a step."""
    settings = hidden(rounds=1)
    plain = settings.optimizer.model_copy(update={"name": "fedavg", "rate": 1.0})
    finals, rows = {}, {}
    for name, secure in (("open", SECURE_SUM), ("hidden", settings.secure_sum)):
        changes = {"optimizer": plain, "secure_sum": secure}
        folder = tiny.prepare_run(name, settings.model_copy(update=changes))
        run_inline(folder, NODES)
        finals[name], rows[name] = History(folder).read_final(), History(folder).rows()
        job = ServerJob.read(folder)
    step = settings.training.clip_norm / job.secure_plan.quantiser.levels
    assert step < 1e-6
    np.testing.assert_allclose(finals["hidden"], finals["open"], atol=step + 1e-6)
    for row, other in zip(rows["hidden"], rows["open"], strict=True):
        for same in ("num_reported", "num_clipped", "num_refused", "num_lost", "faults"):
            assert row[same] == other[same]
        for protocol, values in (row["metrics"] or {}).items():
            for metric, value in values.items():
                assert value == pytest.approx(other["metrics"][protocol][metric], abs=1e-4)
    assert rows["hidden"][1]["loss"] is None  # it has no bound, so it fits no ring
    assert rows["hidden"][1]["smallest_sum"] == rows["hidden"][1]["num_reported"]
    assert rows["open"][1]["smallest_sum"] < rows["open"][1]["num_reported"]


@pytest.mark.parametrize("changes", [{"bits": 16}, {"bits": 16, "rotation": True}, {"bits": 24}])
def test_few_bits_still_train(tiny: TinyWorld, changes: dict):
    folder = tiny.prepare_run("run", hidden(rounds=2, **changes))
    run_inline(folder, NODES)
    exact = tiny.prepare_run("exact", hidden(rounds=2))
    run_inline(exact, NODES)
    moved = np.abs(History(exact).read_final() - np.load(exact / "initial.npy")).max()
    apart = np.abs(History(folder).read_final() - History(exact).read_final())
    assert np.sqrt((apart**2).mean()) < 0.5 * moved


class Lossy(InlineGrid):
    """A grid on which one node's answers of one kind never come, or come altered."""

    kind = ""
    bad = BAD
    rounds: tuple[str, ...] = (str(ROUNDS),)
    error = True

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        message_ids = list(super().push_messages(sent))
        for message, message_id in zip(sent, message_ids, strict=True):
            message.metadata.__dict__["_message_id"] = message_id
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = []
        for reply in super().pull_messages(message_ids):
            about = reply.metadata
            mine = about.src_node_id - FIRST_NODE_ID == self.bad and about.group_id in self.rounds
            if not (mine and about.message_type == self.kind):
                found.append(reply)
            elif self.error:
                found.append(Message(error=Error(1, "out of memory"), metadata=about))
            else:
                found.append(self.altered(copy.deepcopy(reply)))
        return found

    def altered(self, reply: Message) -> Message:
        said, _ = opened(reply.content)
        if self.kind.endswith("masked"):
            masked = Masked.from_bytes(said)
            said = Masked(masked.session, masked.party, masked.vector[:-4]).to_bytes()
        else:
            told = Revealed.from_bytes(said)
            seeds = {dealer: bytes(16) for dealer in told.seeds}
            said = Revealed(told.session, told.party, seeds, told.keys).to_bytes()
        reply.content = envelope(said)
        return reply


def play(folder: Path, kind: str, **changes: object) -> None:
    config: dict[str, bool | float | int | str] = {"run-folder": str(folder)}
    grid = Lossy(clients.app.app, NODES, config)
    grid.kind = kind
    for name, value in changes.items():
        setattr(grid, name, value)
    context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), config)
    clients.app.forget_shards()
    with task_identity(SERVER_NODE_ID):
        server.app.app(grid, context)
    clients.app.forget_shards()


STAGES = ("query.train_keys", "query.train_shares", "train.masked", "query.train_unmask")


@pytest.mark.parametrize("kind", STAGES)
def test_a_node_that_is_lost_at_any_stage_costs_the_round_its_devices(tiny: TinyWorld, kind: str):
    folder = tiny.prepare_run("run", hidden())
    play(folder, kind)
    whole = tiny.prepare_run("whole", hidden())
    run_inline(whole, NODES)
    row, clean = History(folder).rows()[ROUNDS], History(whole).rows()[ROUNDS]
    assert len(row["faults"]) == 1 and "node 2 failed: out of memory" in row["faults"][0]
    if kind == STAGES[-1]:  # its vector had arrived: the others open the sum with it
        assert row["num_lost"] == 0
        np.testing.assert_array_equal(History(folder).read_final(), History(whole).read_final())
        return
    assert row["num_lost"] > 0
    assert row["num_reported"] + row["num_lost"] == clean["num_reported"]
    assert row["smallest_sum"] == row["num_reported"]


@pytest.mark.parametrize("kind", STAGES)
def test_below_the_threshold_the_round_has_no_update(tiny: TinyWorld, kind: str):
    """Four nodes, all of which are wanted: one lost is too many. The run goes on."""
    folder = tiny.prepare_run("run", hidden(threshold=1.0, min_devices=1))
    play(folder, kind, rounds=("2",))
    row = History(folder).rows()[2]
    assert row["num_reported"] == 0 and row["smallest_sum"] is None
    assert row["num_lost"] > 0
    assert "nothing is revealed" in row["faults"][-1]
    assert History(folder).rows()[ROUNDS]["num_reported"] > 0


def test_a_round_without_an_update_does_not_move_the_parameters(tiny: TinyWorld):
    settings = distributed(hidden(threshold=1.0, min_devices=1, rounds=1), 1.0)
    folder = tiny.prepare_run("run", settings)
    play(folder, "train.masked", rounds=("1",))
    np.testing.assert_array_equal(History(folder).read_final(), np.load(folder / "initial.npy"))


def test_a_vector_of_another_length_is_a_lost_node(tiny: TinyWorld):
    folder = tiny.prepare_run("run", hidden())
    play(folder, "train.masked", error=False)
    row = History(folder).rows()[ROUNDS]
    assert row["num_lost"] > 0 and row["num_reported"] > 0
    assert "vector of another length" in row["faults"][0]


def test_a_tampered_share_is_named_in_the_history_and_changes_nothing(tiny: TinyWorld):
    folder = tiny.prepare_run("run", hidden())
    play(folder, "query.train_unmask", error=False)
    whole = tiny.prepare_run("whole", hidden())
    run_inline(whole, NODES)
    assert "node 2 revealed a share that is not" in History(folder).rows()[ROUNDS]["faults"][0]
    np.testing.assert_array_equal(History(folder).read_final(), History(whole).read_final())


def test_few_neighbours_give_the_same_sum(tiny: TinyWorld):
    finals = []
    for name, neighbours in (("all", 0), ("two", 2)):
        folder = tiny.prepare_run(name, hidden(8, rounds=1, neighbours=neighbours))
        run_inline(folder, 8)
        finals.append(History(folder).read_final())
    np.testing.assert_array_equal(finals[1], finals[0])


def test_a_node_that_is_lost_in_an_evaluation_leaves_the_others(tiny: TinyWorld):
    folder = tiny.prepare_run("run", hidden())
    play(folder, "evaluate.masked")
    row = History(folder).rows()[ROUNDS]
    assert row["metrics"]["full"]["auc"] > 0
    assert "out of memory" in row["faults"][0]
    stopped = tiny.prepare_run("stopped", hidden(threshold=1.0))
    with pytest.raises(EngineError, match="before round 1: node 2 failed"):
        play(stopped, "evaluate.masked", rounds=("0",))


def test_no_message_of_a_node_holds_its_sum(tiny: TinyWorld):
    """Two devices' worth of zeros and of updates look alike: the wire carries uniform bytes."""
    seen: list[tuple[str, RecordDict]] = []

    class Listening(InlineGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            seen.extend((reply.metadata.message_type, reply.content) for reply in found)
            return found

    folder = tiny.prepare_run("run", hidden(rounds=1))
    config: dict[str, bool | float | int | str] = {"run-folder": str(folder)}
    clients.app.forget_shards()
    context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), config)
    with task_identity(SERVER_NODE_ID):
        server.app.app(Listening(clients.app.app, NODES, config), context)
    kinds = {kind for kind, _ in seen}
    assert kinds >= {"train.masked", "evaluate.masked"} and not kinds & {"train", "evaluate"}
    for kind, content in seen:
        if kind == "query":
            continue
        assert set(content) == {"secure_sum"} and set(content["secure_sum"]) == {"message"}
        if kind == "train.masked":
            vector = np.frombuffer(Masked.from_bytes(opened(content)[0]).vector, np.uint8)
            counts = np.bincount(vector, minlength=256)
            expected = len(vector) / 256
            assert ((counts - expected) ** 2 / expected).sum() < 400


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": {"mode": "buffered", "concurrency": 5}}, "old reports weigh less"),
        (
            {"optimizer": {"name": "feddyn"}, "training": {"dynamic": True, "proximal": 0.1}},
            "rounding drives them apart",
        ),
        ({"privacy": {"mechanism": "local", "noise_multiplier": 1.0}}, 'to "distributed"'),
        ({"secure_sum": {"neighbours": 3}}, "ask for 4"),
        (
            {
                "privacy": {"mechanism": "central", "noise_multiplier": 1.0},
                "schedule": {"sampling": "poisson"},
                "secure_sum": {"min_devices": 2},
            },
            "whether one phone more was drawn",
        ),
        ({"secure_sum": {"threshold": 0.5}}, "greater than 0.5"),
        (
            {
                "privacy": {"mechanism": "distributed", "noise_multiplier": 1.0},
                "secure_sum": {"enabled": False},
            },
            "set secure_sum.enabled to true",
        ),
        (
            {
                "privacy": {
                    "mechanism": "distributed",
                    "noise_multiplier": 1,
                    "target_quantile": 0.5,
                }
            },
            "count of short updates",
        ),
    ],
)
def test_what_cannot_be_hidden_is_refused_with_the_reason(changes: dict, words: str):
    tree = hidden().model_dump()
    for section, values in changes.items():
        tree[section] |= values
    with pytest.raises(ValidationError, match=words):
        Federation.model_validate(tree)


def test_a_sum_that_could_overflow_is_refused_before_round_1(tiny: TinyWorld):
    folder = tiny.prepare_run("run", hidden(bits=16, levels=5000))
    with pytest.raises(SettingsError, match=r"15 devices with 5,000 levels can reach 75,000.*24"):
        run_inline(folder, NODES)
