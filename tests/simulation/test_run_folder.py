import json

import pytest

import simulation.run_folder
from models.errors import DataError
from simulation.run_folder import RunFolder, running
from simulation.settings import load_settings


@pytest.fixture(scope="module")
def settings():
    return load_settings("quickstart")


def test_a_run_that_ends_is_complete_and_can_be_repeated(tmp_path, settings):
    command = "pocketfleet compress --out 'my run'"
    with running(tmp_path / "run", "compress", settings, command) as run:
        assert run.record().status == "running"
    record = run.record()
    assert (record.status, record.verb, record.seed) == ("complete", "compress", settings.seed)
    assert record.versions["torch"] and record.commit
    assert record.command == "pocketfleet compress --out 'my run'"
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


def test_a_run_that_cannot_write_its_settings_has_failed(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(simulation.run_folder, "write_text", full_disk)
    with pytest.raises(DataError, match="disk is full"), running(tmp_path / "run", "x", settings):
        pytest.fail("it must not start")
    record = RunFolder(tmp_path / "run").record()
    assert (record.status, record.reason) == ("failed", "DataError: the disk is full")


def test_what_broke_a_run_is_said_even_when_it_cannot_be_noted(tmp_path, settings, monkeypatch):
    with pytest.raises(ValueError, match="first"), running(tmp_path / "run", "x", settings):
        monkeypatch.setattr(simulation.run_folder, "write_json", full_disk)
        raise ValueError("the first trouble")


def test_a_run_begins_without_the_report_of_an_earlier_one(tmp_path, settings):
    with running(tmp_path / "run", "compare", settings) as run:
        run.report.mkdir()
        (run.report / "report.json").write_text("{}")
    assert (run.report / "report.json").is_file()
    with pytest.raises(KeyboardInterrupt), running(tmp_path / "run", "compare", settings):
        assert not run.report.exists()
        raise KeyboardInterrupt


def test_a_report_that_cannot_be_removed_is_one_clear_line(tmp_path, settings):
    with running(tmp_path / "run", "compare", settings) as run:
        run.report.write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot remove the earlier report .*name another folder"):
        running(tmp_path / "run", "compare", settings).__enter__()


def full_disk(*arguments: object) -> None:
    raise DataError("the disk is full")


def test_a_run_says_which_data_it_is_about_however_it_ends(tmp_path, settings):
    with running(tmp_path / "whole", "x", settings) as run:
        assert run.record().data_sha256 == ""
        run.note_made_from(data_sha256="abc")
    assert (run.record().status, run.record().data_sha256) == ("complete", "abc")
    with pytest.raises(ValueError, match="no"), running(tmp_path / "broken", "x", settings) as run:
        run.note_made_from(data_sha256="abc")
        raise ValueError("no")
    assert (run.record().status, run.record().data_sha256) == ("failed", "abc")


def test_a_record_from_before_there_were_hashes_is_read(tmp_path, settings):
    with running(tmp_path, "x", settings) as run:
        pass
    record = json.loads((tmp_path / "run.json").read_text())
    del record["data_sha256"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert run.record().data_sha256 == ""
