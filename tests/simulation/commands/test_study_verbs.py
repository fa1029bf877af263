"""`pocketfleet study` as a person meets it: the list, one study, mistakes in one line."""

import json
from pathlib import Path

import pytest

from simulation.__main__ import run
from simulation.run_folder import RunFolder
from tests.simulation.experiments.studies.tiny_study import plan_file, register


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    register(monkeypatch)


def test_without_a_name_the_studies_are_listed(capsys):
    assert run(["study", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["studies"]
    assert {"quality", "text", "federation", "cooperation", "logits"} <= set(found)
    assert all(question.endswith("?") for question in found.values())
    assert run(["study"]) == 0
    assert "cooperation" in capsys.readouterr().out


def test_a_study_leaves_page_tables_and_record(tmp_path, capsys):
    assert run(["study", plan_file(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metric"] == "ndcg@10" and len(found["tables"]) == 1
    folder = RunFolder(tmp_path / "runs" / "study-tiny")
    record = folder.record()
    assert (record.verb, record.status) == ("study", "complete")
    assert record.data_sha256 == found["data_sha256"][0]
    for name in ("results.parquet", "summary.parquet", "report/index.html", "report/study.json"):
        assert (folder.path / name).is_file()
    # The page and the tables hold means: nobody's values, and no item.
    page = (folder.path / "report" / "index.html").read_text("utf-8")
    assert "made up film" not in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope"], "there is no study 'nope'"),
        (["text", "--grid", "central.epochs="], "value 1 is empty"),
        (["text", "--grid", "central.epochz=1,2"], "unknown key 'central.epochz'"),
        (["text", "--seeds", "4-1"], "--seeds 4-1"),
        (["text", "--log", "wandb"], "--log wandb"),
        (["text", "--set", "kind=poetry"], "no kind of study 'poetry'"),
    ],
)
def test_mistakes_are_one_line(words, told, tmp_path: Path, capsys):
    code = run(["study", *words, "--out", str(tmp_path / "out")])
    assert code == 2
    complaint = capsys.readouterr().err
    assert told in complaint.replace("\n", " ") and "Traceback" not in complaint
    assert not (tmp_path / "out").exists()
