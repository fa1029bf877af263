"""A finished run of the tiny world, to be attacked."""

from pathlib import Path

import pytest

from simulation.engines.inline import run_inline
from simulation.experiments.audit.target import Target
from tests.tiny_world import TinyWorld, federation


@pytest.fixture
def target(tiny: TinyWorld) -> Target:
    """Three rounds of FedAdam, played."""
    folder = tiny.prepare_run("attacked", federation())
    run_inline(folder, 1)
    return Target.of_arm(folder)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where attackers play runs of their own."""
    return tmp_path / "scratch"
