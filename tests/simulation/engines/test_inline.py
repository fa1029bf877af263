import json

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from server.history import History
from simulation.engines.inline import RUN_ID, SERVER_NODE_ID, InlineGrid, run_inline, task_identity
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation


@pytest.mark.parametrize("name", ["fedavg", "fedadam"])
def test_the_number_of_nodes_changes_nothing(tiny: TinyWorld, name: str):
    finals, tastes = [], []
    for nodes in (1, 2, 8, NUM_DEVICES):  # the last one: a node is a device
        folder = tiny.prepare_run(f"nodes-{nodes}", federation(nodes, name=name))
        run_inline(folder, nodes)
        finals.append(History(folder).read_final())
        tastes.append(np.load(folder / "taste.npy"))
    start = np.load(tiny.folder / "nodes-1" / "initial.npy")
    assert np.abs(finals[0] - start).max() > 1e-3  # something was learned
    for final, taste in zip(finals[1:], tastes[1:], strict=True):
        np.testing.assert_allclose(final, finals[0], atol=1e-5)
        np.testing.assert_allclose(taste, tastes[0], atol=1e-5)


def test_a_folder_that_is_run_again_opens_its_files_anew(tiny: TinyWorld):
    """New personal parameters under the old name must be seen, and be the ones that are written."""
    folder = tiny.prepare_run("run", federation())
    run_inline(folder, 1)
    first = History(folder).read_final()
    taste = np.load(folder / "taste.npy")
    replacement = folder / "other.npy"
    np.save(replacement, taste + 1.0)
    replacement.replace(folder / "taste.npy")
    History(folder).clear()  # else it is whole and not run again
    run_inline(folder, 1)
    assert np.abs(History(folder).read_final() - first).max() > 1e-4
    moved = np.abs(np.load(folder / "taste.npy") - (taste + 1.0)).max(axis=1)
    assert (moved > 0).any()


def test_the_history_says_what_happened(tiny: TinyWorld):
    folder = tiny.prepare_run("run", federation(2))
    run_inline(folder, 2)
    rows = History(folder).rows()
    assert [row["round_number"] for row in rows] == [0, 1, 2, 3]
    assert [row["metrics"] is not None for row in rows] == [True, False, True, True]
    for row in rows[1:]:
        assert row["num_invited"] == 15
        assert 0 < row["smallest_sum"] <= row["num_reported"]
        assert 0 < row["num_reported"] <= 15
        assert row["bytes_up"] == row["num_reported"] * tiny.layout.size * 4
        assert row["bytes_down"] == 15 * tiny.layout.size * 4
    assert sum(row["num_reported"] for row in rows) < 45  # the low tier drops out now and then


def test_history_holds_no_device_ids_or_items(tiny: TinyWorld):
    """What the server keeps has sums and counts, no list of anything."""
    folder = tiny.prepare_run("run", federation())
    run_inline(folder, 1)
    for row in History(folder).rows():
        lists = {name: value for name, value in row.items() if isinstance(value, list)}
        assert lists == {"faults": []}


def test_a_run_folder_without_a_job_is_one_clear_line(tmp_path):
    with pytest.raises(Exception, match=r"no server-job\.json in run-folder"):
        run_inline(tmp_path, 1)


def test_flowers_own_strategy_runs_on_the_inline_grid():
    """The grid is Flower's: an app that knows nothing of this product runs on it."""
    client, cloud = ClientApp(), ServerApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        arrays = message.content["arrays"].to_numpy_ndarrays()
        grown = [array + 1 + context.node_config["partition-id"] for array in arrays]
        content = {
            "arrays": ArrayRecord(grown),
            "metrics": MetricRecord({"num-examples": 1}),
        }
        return Message(content=RecordDict(content), reply_to=message)

    found = {}

    @cloud.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0)
        result = strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros(2)]), num_rounds=2)
        found["arrays"] = result.arrays.to_numpy_ndarrays()[0]

    grid = InlineGrid(client, 4, {})
    context = Context(RUN_ID, SERVER_NODE_ID, {}, RecordDict(), {})
    with task_identity(SERVER_NODE_ID):
        cloud(grid, context)
    # Each round adds the mean of 1, 2, 3, 4.
    np.testing.assert_allclose(found["arrays"], [5.0, 5.0])


def test_messages_are_copied_as_a_wire_would():
    """A client that changes what it was handed must not reach into the server."""
    client = ClientApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        message.content["metrics"]["x"] = 99.0
        return Message(content=RecordDict(), reply_to=message)

    sent = RecordDict({"metrics": MetricRecord({"x": 1.0})})
    grid = InlineGrid(client, 1, {})
    with task_identity(SERVER_NODE_ID):
        message = Message(
            content=sent, message_type="train", dst_node_id=next(iter(grid.get_node_ids()))
        )
        replies = list(grid.send_and_receive([message]))
    assert len(replies) == 1
    assert sent["metrics"]["x"] == 1.0


def test_history_lines_are_json(tiny: TinyWorld):
    folder = tiny.prepare_run("run", federation(rounds=1))
    run_inline(folder, 1)
    for line in (folder / "history.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
