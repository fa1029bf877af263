"""A Ray cluster that is not ours: two raylets on this machine; a minute each, so all slow."""

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from server.history import History
from simulation.engines import flower
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from simulation.engines.processes import find_tool, free_ports, runs, started
from tests.simulation.engines.processes import (
    PATIENCE_S,
    long_rounds,
    rounds_done,
    wait_for,
    who_names,
)
from tests.tiny_world import TinyWorld, federation


@pytest.fixture
def cluster(monkeypatch) -> Iterator[Path]:
    """Two raylets of one CPU each, and RAY_ADDRESS; yields the folder that both of them name."""
    with (
        contextlib.ExitStack() as alive,
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
    ):
        temp, address = Path(folder), f"127.0.0.1:{free_ports(1)[0]}"
        environment = os.environ | {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        head = ["--head", "--node-ip-address", "127.0.0.1", "--port", address.split(":")[1]]
        member = ["--address", address]
        for number, words in enumerate(([*head, "--include-dashboard=false"], member)):
            command = [find_tool("ray"), "start", "--block", "--num-cpus", "1", *words]
            log = temp / f"raylet-{number}.log"
            process = alive.enter_context(started(command, environment, log, temp))
            wait_for(functools.partial(ended_or_up, process, address, number + 1), "a raylet")
            assert process.poll() is None, log.read_text()
        monkeypatch.setenv(flower.RAY_ADDRESS, address)
        yield temp


def ended_or_up(process: subprocess.Popen[bytes], address: str, num_nodes: int) -> bool:
    """Whether a cluster has so many machines, or will never have them."""
    if process.poll() is not None:
        return True
    command = [find_tool("ray"), "status", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.stdout.count("1 node_") == num_nodes


def raylets(temp: Path) -> list[psutil.Process]:
    """The raylets of a cluster."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] == "raylet" and str(temp) in " ".join(process.cmdline()):
                found.append(process)
    return found


def with_workers(temp: Path, title: str) -> list[psutil.Process]:
    """The raylets that have a worker with this title, or one that begins so."""
    found = []
    for raylet in raylets(temp):
        with contextlib.suppress(psutil.Error):
            titles = [" ".join(child.cmdline()) for child in raylet.children()]
            if any(each.startswith(title) for each in titles):
                found.append(raylet)
    return found


@pytest.mark.slow
def test_a_run_uses_the_whole_cluster_and_leaves_it_as_it_was(tiny: TinyWorld, cluster: Path):
    inline = tiny.prepare_run("inline", federation(1))
    run_inline(inline, 1)
    folder = tiny.prepare_run("clustered", federation(4))
    there = set(raylets(cluster))
    assert len(there) == 2
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(run_flower, folder, 4)
        lent: set[psutil.Process] = set()
        wait_for(
            lambda: run.done() or len(lent.update(with_workers(cluster, "ray::Cli")) or lent) == 2,
            "workers",
        )
        run.result()
    assert lent == there
    ours, theirs = History(inline).read_final(), History(folder).read_final()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert set(raylets(cluster)) == there and all(runs(raylet) for raylet in there)
    wait_for(lambda: not with_workers(cluster, "ray::Cli"), "the end of our workers")
    assert who_names(folder) == []


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_its_devices_of_one_round(tiny: TinyWorld, cluster: Path):
    num_nodes, rounds = 4, 3
    folder = tiny.prepare_run("lost", long_rounds(num_nodes, rounds))
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(run_flower, folder, num_nodes)
        wait_for(lambda: run.done() or rounds_done(folder), "the evaluation before round 1")
        head = min(raylets(cluster), key=psutil.Process.create_time)
        busy: list[psutil.Process] = []

        def look() -> list[psutil.Process]:
            busy.extend(set(with_workers(cluster, "ray::ClientAppActor.run")) - {head})
            return busy

        wait_for(lambda: run.done() or look(), "a worker at work")
        assert not run.done(), run.result()
        for process in [*busy[0].children(recursive=True), busy[0]]:
            process.kill()
        run.result()
    rows = History(folder).rows()
    told = [row for row in rows if row["faults"]]
    assert len(rows) == rounds + 1 and len(told) == 1
    assert 0 < told[0]["num_lost"] < told[0]["num_reported"] + told[0]["num_lost"]
    assert np.isfinite(History(folder).read_final()).all()
