"""A SuperLink and SuperNodes, with TLS and node authentication: two minutes each, so all slow."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from clients.job import DEVICE_JOB_FILE
from clients.protocol.partitions import partition_bounds
from models.errors import EngineError
from server.history import History
from simulation.engines import deployment
from simulation.engines.deployment import Node, play_on_nodes, run_deployment
from simulation.engines.inline import run_inline
from simulation.engines.node_folder import cut_node_folder
from tests.simulation.engines.processes import long_rounds, rounds_done, wait_for, who_names
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation

NODES = 2


@pytest.fixture
def scratch(monkeypatch) -> list[Path]:
    """The scratch folders that runs of this test had."""
    folders: list[Path] = []
    environment = deployment.flower_environment

    def remember(folder: Path) -> dict[str, str]:
        folders.append(folder)
        return environment(folder)

    monkeypatch.setattr(deployment, "flower_environment", remember)
    return folders


@pytest.mark.slow
def test_nodes_with_folders_of_their_own_give_the_parameters_of_the_inline_engine(
    tiny: TinyWorld, scratch: list[Path], tmp_path: Path
):
    """Each node holds its shard as files; once they are cut, the whole world is out of reach."""
    inline = tiny.prepare_run("inline", federation(1))
    run_inline(inline, 1)
    deployed = tiny.prepare_run("deployed", federation(NODES))
    nodes = [Node(partition, tmp_path / f"machine-{partition}") for partition in range(NODES)]
    for node in nodes:
        cut_node_folder(deployed, node.partition_id, NODES, node.folder)
    for gone in (deployed / DEVICE_JOB_FILE, deployed / "taste.npy"):
        gone.unlink()
    tiny.world.rename(tmp_path / "nowhere")
    play_on_nodes(deployed, nodes)
    ours, theirs = History(inline).read_final(), History(deployed).read_final()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert all(row["faults"] == [] for row in History(deployed).rows())
    learned = np.load(inline / "taste.npy")
    for node in nodes:
        first, end = partition_bounds(NUM_DEVICES, node.partition_id, NODES)
        taste = np.load(node.folder / "taste.npy")
        np.testing.assert_allclose(taste, learned[first:end], atol=1e-5)
    assert who_names(deployed, *scratch) == []
    assert len(scratch) == 1 and not scratch[0].exists()


@pytest.mark.slow
def test_a_node_that_is_killed_costs_its_devices_and_the_others_go_on(
    tiny: TinyWorld, scratch: list[Path]
):
    rounds = 3
    folder = tiny.prepare_run("killed", long_rounds(NODES, rounds))
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(run_deployment, folder, NODES)
        wait_for(lambda: run.done() or rounds_done(folder), "the evaluation before round 1")
        assert not run.done(), run.result()
        killed = kill_all_that_name(scratch[0] / "node-1")
        run.result()
    assert killed >= 2  # the SuperNode and its SuperExec
    rows = History(folder).rows()
    assert len(rows) == rounds + 1
    for row in rows[1:]:
        assert row["num_lost"] > 0 and row["num_reported"] > 0
        assert all(re.match("node 1 failed: .*Node Unavailable", line) for line in row["faults"])
    assert np.isfinite(History(folder).read_final()).all()
    assert who_names(folder, *scratch) == []


@pytest.mark.slow
def test_a_node_with_another_key_is_not_let_in(tiny: TinyWorld, scratch: list[Path], monkeypatch):
    """Its public key was never registered."""
    make = deployment.make_node_key

    def make_two(path: Path) -> Path:
        public = make(path)
        kept = public.read_bytes()
        make(path)  # another private key, and the first one's public half
        public.write_bytes(kept)
        return public

    monkeypatch.setattr(deployment, "make_node_key", make_two)
    folder = tiny.prepare_run("stranger", federation(1))
    with pytest.raises(EngineError, match="0 of 1 nodes appeared"):
        run_deployment(folder, 1)
    assert rounds_done(folder) == 0
    assert who_names(folder, *scratch) == []


def test_too_many_nodes_for_one_machine_are_refused(tmp_path):
    with pytest.raises(EngineError, match=r"16 nodes at most, federation.num_nodes is 17: ask"):
        run_deployment(tmp_path, 17)


def kill_all_that_name(folder: Path) -> int:
    """Kill as a power cut would: at once, and nobody says goodbye."""
    killed = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(folder) in word for word in words):
                process.kill()
                killed += 1
    return killed
