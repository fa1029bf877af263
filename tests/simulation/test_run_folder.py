import json

import pytest

from models.errors import DataError
from simulation.run_folder import RunFolder, running
from simulation.settings import load_settings


@pytest.fixture(scope="module")
def settings():
    return load_settings("quickstart")


def test_a_run_that_ends_is_complete_and_can_be_repeated(tmp_path, settings):
    with running(tmp_path / "run", "compress", settings) as run:
        assert run.record().status == "running"
    record = run.record()
    assert (record.status, record.verb, record.seed) == ("complete", "compress", settings.seed)
    assert record.versions["torch"] and record.commit
    assert run.settings() == settings
    with running(tmp_path / "run", "compress", settings):
        pass


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (ValueError("no"), "failed")]
)
def test_a_run_that_breaks_says_so(tmp_path, settings, error, status):
    with pytest.raises(type(error)), running(tmp_path / "run", "x", settings):
        raise error
    assert RunFolder(tmp_path / "run").record().status == status


def test_a_folder_with_other_files_is_left_alone(tmp_path, settings):
    (tmp_path / "thesis.txt").write_text("years of work")
    strangers = pytest.raises(DataError, match="holds files that are no run")
    with strangers, running(tmp_path, "x", settings):
        pass
    a_file = pytest.raises(DataError, match="is a file: name a folder")
    with a_file, running(tmp_path / "thesis.txt", "x", settings):
        pass


def test_what_is_no_run_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="is no run folder"):
        RunFolder(tmp_path).record()
    (tmp_path / "settings.json").write_text(json.dumps({"seed": 1}))
    with pytest.raises(DataError, match="cannot read the settings of the run"):
        RunFolder(tmp_path).settings()
