"""The real thing: `flwr run`, a SuperLink, Ray actors; half a minute each, so most are slow."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.errors import EngineError
from server.history import History
from simulation.engines import flower
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from tests.tiny_world import TinyWorld, federation

# What a SuperLink leaves behind, in small. Each has a session of its own, as SuperExec has; and:
#   one has lost its parent, one has lost its environment, one is deaf to TERM.
FAMILY = """
(setsid sleep 600 & echo $! >> pids)
setsid env -i sleep 600 & echo $! >> pids
setsid sh -c 'trap "" TERM; sleep 600; sleep 600' & echo $! >> pids
touch started
exec sleep 600
"""


@pytest.fixture
def scratch(monkeypatch) -> list[Path]:
    """The scratch folders that runs of this test had, to look for who still names them."""
    folders: list[Path] = []
    environment = flower._environment

    def remember(folder: Path) -> dict[str, str]:
        folders.append(folder)
        return environment(folder)

    monkeypatch.setattr(flower, "_environment", remember)
    return folders


@pytest.mark.parametrize(
    "num_nodes", [2, *(pytest.param(nodes, marks=pytest.mark.slow) for nodes in (1, 8))]
)
def test_flwr_run_gives_the_parameters_of_the_inline_engine(
    tiny: TinyWorld, scratch: list[Path], num_nodes: int
):
    inline = tiny.prepare_run("inline", federation(1))
    run_inline(inline, 1)
    under_flower = tiny.prepare_run("flower", federation(num_nodes))
    run_flower(under_flower, num_nodes)
    ours, theirs = History(inline).read_final(), History(under_flower).read_final()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    tastes = [np.load(folder / "taste.npy") for folder in (inline, under_flower)]
    np.testing.assert_allclose(tastes[1], tastes[0], atol=1e-5)
    assert _who_names(under_flower, *scratch) == []
    assert len(scratch) == 1 and not scratch[0].exists()


@pytest.mark.slow
def test_a_run_that_fails_under_flower_is_an_error_here(tiny: TinyWorld, scratch: list[Path]):
    """`flwr run` exits with 0 on a failed run; we must not."""
    folder = tiny.prepare_run("broken", federation(1))
    (tiny.world / "item.npy").unlink()
    with pytest.raises(EngineError, match="the Flower run ended as") as caught:
        run_flower(folder, 1)
    assert str(folder / "flower.log") in str(caught.value)
    assert _who_names(folder, *scratch) == []
    assert len(scratch) == 1 and not scratch[0].exists()


def test_stopping_reaches_those_who_left_the_session(tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "STOP_TIMEOUT_S", 2.0)
    superlink = subprocess.Popen(
        ["sh", "-c", FAMILY], cwd=tmp_path, env=os.environ | {"FLWR_HOME": str(tmp_path / "home")}
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    assert len(family) == 3 and all(flower._runs(each) for each in family)
    stranger = subprocess.Popen(["sleep", "600"])
    flower._stop(superlink, tmp_path)
    assert not any(flower._runs(each) for each in family)
    assert superlink.returncode is not None and stranger.poll() is None
    assert _who_names(tmp_path) == []
    stranger.kill()
    stranger.wait()


def test_without_a_source_tree_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(EngineError, match=r"needs the source tree.*or use --engine inline"):
        flower.find_app_folder()


def test_ports_are_free_and_differ():
    ports = flower._free_ports(4)
    assert len(set(ports)) == 4


def _who_names(*folders: Path) -> list[list[str]]:
    """Command lines of processes that name one of the folders there or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:  # it has ended, or is another user's
            continue
        if any(str(folder) in word for word in words for folder in folders):
            found.append(process.cmdline())
    return found
