"""Whatever an engine started is found and stopped, and nothing else is."""

import os
import subprocess
import time

import psutil
import pytest

from models.errors import EngineError
from simulation.engines import processes
from tests.simulation.engines.processes import who_names

# What a SuperLink leaves behind, in small. Each has a session of its own, as SuperExec has; and:
#   one has lost its parent, one has lost its environment, one is deaf to TERM.
FAMILY = """
(setsid sleep 600 & echo $! >> pids)
setsid env -i sleep 600 & echo $! >> pids
setsid sh -c 'trap "" TERM; sleep 600; sleep 600' & echo $! >> pids
touch started
exec sleep 600
"""


def test_stopping_reaches_those_who_left_the_session(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 2.0)
    superlink = subprocess.Popen(
        ["sh", "-c", FAMILY], cwd=tmp_path, env=os.environ | {"FLWR_HOME": str(tmp_path / "home")}
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    assert len(family) == 3 and all(processes.runs(each) for each in family)
    stranger = subprocess.Popen(["sleep", "600"])
    processes.stop(superlink, tmp_path)
    assert not any(processes.runs(each) for each in family)
    assert superlink.returncode is not None and stranger.poll() is None
    assert who_names(tmp_path) == []
    stranger.kill()
    stranger.wait()


def test_without_a_source_tree_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(EngineError, match=r"need the source tree.*or use --engine inline"):
        processes.find_app_folder()


def test_ports_are_free_and_differ():
    ports = processes.free_ports(4)
    assert len(set(ports)) == 4
