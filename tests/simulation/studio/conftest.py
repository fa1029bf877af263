"""A finished run that the page looks into, with copies for tests that change it."""

import shutil
from pathlib import Path

import pytest

from simulation.studio.phone_preview import PhonePreview


@pytest.fixture(scope="session")
def preview(finished_quickstart: Path) -> PhonePreview:
    """The phones of a made-up run."""
    return PhonePreview.open(finished_quickstart / "run")


@pytest.fixture
def copied_run(finished_quickstart: Path, tmp_path: Path) -> Path:
    """A copy of the run at another path: nothing in it may lead back to where it was made."""
    return Path(shutil.copytree(finished_quickstart / "run", tmp_path / "moved"))
