"""The real thing: `flwr run`, a SuperLink, Ray actors. Slow, so `make test-slow` runs it."""

import subprocess

import numpy as np
import pytest

from models.errors import EngineError
from server.history import History
from simulation.engines import flower
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from tests.tiny_world import TinyWorld, federation


@pytest.mark.slow
@pytest.mark.parametrize("num_nodes", [1, 2, 8])
def test_flwr_run_gives_the_parameters_of_the_inline_engine(tiny: TinyWorld, num_nodes: int):
    inline = tiny.prepare_run("inline", federation(1))
    run_inline(inline, 1)
    under_flower = tiny.prepare_run("flower", federation(num_nodes))
    run_flower(under_flower, num_nodes)
    ours, theirs = History(inline).read_final(), History(under_flower).read_final()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    tastes = [np.load(folder / "taste.npy") for folder in (inline, under_flower)]
    np.testing.assert_allclose(tastes[1], tastes[0], atol=1e-5)
    assert _processes_of(under_flower) == []


@pytest.mark.slow
def test_a_run_that_fails_under_flower_is_an_error_here(tiny: TinyWorld):
    """`flwr run` exits with 0 on a failed run; we must not."""
    folder = tiny.prepare_run("broken", federation(1))
    (tiny.world / "item.npy").unlink()
    with pytest.raises(EngineError, match="the Flower run ended as") as caught:
        run_flower(folder, 1)
    assert str(folder / "flower.log") in str(caught.value)
    assert _processes_of(folder) == []


def test_without_a_source_tree_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(EngineError, match=r"needs the source tree.*or use --engine inline"):
        flower.find_app_folder()


def test_ports_are_free_and_differ():
    ports = flower._free_ports(4)
    assert len(set(ports)) == 4


def _processes_of(folder) -> list[str]:
    """Processes that still name this run: the SuperLink and Ray must be gone."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]
