"""The real thing: `flwr run`, a SuperLink, Ray actors; half a minute each, so most are slow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.errors import EngineError
from server.history import History
from simulation.engines import flower
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from tests.server.secure_sum.test_hidden_rounds import distributed, hidden
from tests.simulation.engines.processes import (
    long_rounds,
    ray_workers,
    rounds_done,
    wait_for,
    who_names,
)
from tests.tiny_world import TinyWorld, federation


@pytest.fixture
def scratch(monkeypatch) -> list[Path]:
    """The scratch folders that runs of this test had, to look for who still names them."""
    folders: list[Path] = []
    environment = flower._environment

    def remember(folder: Path) -> dict[str, str]:
        folders.append(folder)
        return environment(folder)

    monkeypatch.setattr(flower, "_environment", remember)
    monkeypatch.delenv(flower.RAY_ADDRESS, raising=False)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("num_nodes", [1, 2, 8])
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
    assert who_names(under_flower, *scratch) == []
    assert len(scratch) == 1 and not scratch[0].exists()


@pytest.mark.slow
def test_hidden_sums_under_flower_are_those_of_the_inline_engine_to_the_bit(
    tiny: TinyWorld, scratch: list[Path]
):
    """Four messages a sum, and a node's secrets stay in the state that Flower keeps for it."""
    settings = distributed(hidden(3), 0.3)
    inline = tiny.prepare_run("inline", settings)
    run_inline(inline, 3)
    under_flower = tiny.prepare_run("flower", settings)
    run_flower(under_flower, 3)
    for ours, theirs in zip(History(inline).rows(), History(under_flower).rows(), strict=True):
        assert theirs["faults"] == [] and theirs | {"seconds": 0} == ours | {"seconds": 0}
    np.testing.assert_array_equal(History(under_flower).read_final(), History(inline).read_final())


@pytest.mark.slow
def test_a_run_that_fails_under_flower_is_an_error_here(tiny: TinyWorld, scratch: list[Path]):
    """`flwr run` exits with 0 on a failed run; we must not."""
    folder = tiny.prepare_run("broken", federation(1))
    (tiny.world / "item.npy").unlink()
    with pytest.raises(EngineError, match="the Flower run ended as") as caught:
        run_flower(folder, 1)
    assert str(folder / "flower.log") in str(caught.value)
    assert who_names(folder, *scratch) == []
    assert len(scratch) == 1 and not scratch[0].exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_devices_of_one_round(
    tiny: TinyWorld, scratch: list[Path]
):
    """Flower alone would keep the dead worker, which would lose most messages ever after."""
    num_nodes, rounds = 8, 4  # more nodes than workers: a dead one could take many messages
    folder = tiny.prepare_run("killed", long_rounds(num_nodes, rounds))
    with ThreadPoolExecutor(1) as aside:
        run = aside.submit(run_flower, folder, num_nodes)
        wait_for(lambda: run.done() or rounds_done(folder), "the evaluation before round 1")
        found: list[psutil.Process] = []
        wait_for(lambda: run.done() or found.extend(ray_workers(scratch[0])) or found, "a worker")
        assert not run.done(), run.result()
        found[0].kill()
        run.result()
    rows = History(folder).rows()
    told = [row for row in rows if row["faults"]]
    assert len(told) == 1 and len(told[0]["faults"]) == 1
    assert "failed: " in told[0]["faults"][0] and "died" in told[0]["faults"][0]
    assert 0 < told[0]["num_lost"] < told[0]["num_reported"]
    assert len(rows) == rounds + 1 and np.isfinite(History(folder).read_final()).all()
    assert who_names(folder, *scratch) == []
