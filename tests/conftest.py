"""Fixtures that several folders use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.tiny_world import TinyWorld, build_tiny_world

torch.set_num_threads(1)

# A busy machine is no fault of the code: no example has a time limit.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def finished_quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `run`, a quickstart on a made-up table; nobody may change that run."""
    from simulation.__main__ import run
    from tests.integration.test_quickstart import write_inputs

    folder = tmp_path_factory.mktemp("quickstart")
    preset = write_inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETFLEET_CACHE", str(folder / "cache"))
        out = ["--out", str(folder / "run"), "--rollout-devices", "1000"]
        assert run(["quickstart", "--preset", str(preset), *out]) == 0
    yield folder


@pytest.fixture
def tiny(tmp_path: Path) -> TinyWorld:
    """A tiny made-up world in a folder of its own."""
    return build_tiny_world(tmp_path)
