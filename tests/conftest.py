"""Fixtures that several folders use."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.tiny_world import TinyWorld, build_tiny_world

torch.set_num_threads(1)

# A busy machine is no fault of the code: no example has a time limit.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def tiny(tmp_path: Path) -> TinyWorld:
    """A tiny made-up world in a folder of its own."""
    return build_tiny_world(tmp_path)
