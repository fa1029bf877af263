"""Runs as they lie on disk: listed, compared, put into a table; a damaged one stops nobody."""

import json
from pathlib import Path

import pandas as pd
import pytest

from models.errors import DataError
from simulation.__main__ import run
from simulation.experiments.run_records import difference, read_run, runs_in, table_of, write_table
from simulation.run_folder import running
from simulation.settings import load_settings


def report_json(values: dict[str, float]) -> dict:
    return {
        "arms": [
            {
                "key": arm,
                "metrics": {
                    "full": {"ndcg@10": {"mean": value, "low": value - 0.01, "high": value + 0.01}}
                },
            }
            for arm, value in values.items()
        ]
    }


def made(folder: Path, name: str, values: dict[str, float], *overrides: str) -> Path:
    """A run of `compare`, as far as `runs` looks at it."""
    path = folder / name
    with running(path, "compare", load_settings("quickstart", overrides)) as opened:
        opened.note_made_from(data_sha256="d" * 64)
        opened.report.mkdir()
        (opened.report / "report.json").write_text(json.dumps(report_json(values)))
    return path


@pytest.fixture
def folder(tmp_path):
    made(tmp_path, "one", {"teacher": 0.12, "federated": 0.10})
    made(tmp_path, "two", {"teacher": 0.12, "federated": 0.11}, "federation.rounds=20", "seed=1")
    return tmp_path


def test_runs_are_listed_with_their_main_metric(folder):
    one, two = runs_in(folder)
    assert (one.path.name, one.headline.name, one.headline.value) == (
        "one",
        "federated/full/ndcg@10",
        0.10,
    )
    assert two.record.seed == 1 and two.trouble == ""
    assert one.record.data_sha256 == "d" * 64 and one.record.bundle_sha256 == ""


def test_what_was_found_on_new_items_is_read_too(folder):
    path = folder / "one"
    auc = {"auc": {"mean": 0.7, "low": 0.6, "high": 0.8}}
    cold = {"key": "teacher", "metrics": {"cold-among-all": auc}}
    told = report_json({"teacher": 0.12}) | {"cold": {"num_users": 9, "arms": [cold]}}
    (path / "report" / "report.json").write_text(json.dumps(told))
    names = {figure.name: figure.value for figure in read_run(path).figures}
    assert names == {"teacher/full/ndcg@10": 0.12, "teacher/cold-among-all/auc": 0.7}


def break_run_json(path: Path) -> None:
    (path / "run.json").write_text("{")


def break_report(path: Path) -> None:
    (path / "report" / "report.json").write_text('{"arms": [{"key": 3}]}')


def take_report_away(path: Path) -> None:
    (path / "report" / "report.json").unlink()


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (break_run_json, "is no run folder"),
        (break_report, "report.json is damaged"),
        (take_report_away, "report.json is missing"),
    ],
)
def test_a_damaged_run_is_a_line_and_stops_nobody(folder, broken, told, capsys):
    broken(folder / "one")
    one, two = runs_in(folder)
    assert told in one.trouble and one.headline is None
    assert two.trouble == "" and two.headline is not None
    assert run(["runs", "list", str(folder)]) == 0
    assert "damaged" in capsys.readouterr().out
    assert run(["runs", "diff", str(folder / "one"), str(folder / "two")]) == 2
    assert run(["runs", "export", str(folder), "--out", str(folder / "all.csv")]) == 0
    assert set(pd.read_csv(folder / "all.csv")["run"]) == {str(folder / "two")}


def test_a_run_that_broke_has_no_numbers(tmp_path):
    with pytest.raises(RuntimeError), running(tmp_path / "a", "compare", load_settings("standard")):
        raise RuntimeError("no")
    found = read_run(tmp_path / "a")
    assert (found.record.status, found.figures, found.trouble) == ("failed", (), "")


def test_two_runs_differ_in_what_was_changed(folder):
    found = difference(folder / "one", folder / "two")
    assert ("federation.rounds", "80", "20") in found.settings
    assert ("seed", "0", "1") in found.settings
    assert len(found.settings) == 2
    assert found.figures == (
        ("teacher/full/ndcg@10", 0.12, 0.12),
        ("federated/full/ndcg@10", 0.10, 0.11),
    )


def test_the_difference_is_printed_and_is_json(folder, capsys):
    words = ["runs", "diff", str(folder / "one"), str(folder / "two")]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "federation.rounds" in shown and "+0.01000" in shown and "teacher/full" not in shown
    assert run([*words, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["metrics"]) == 2


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_has_the_numbers_and_what_they_were_made_from(folder, ending):
    path = write_table(runs_in(folder), folder / f"all.{ending}")
    found = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    assert len(found) == 4
    assert found["settings.federation.rounds"].astype(str).tolist() == ["80", "80", "20", "20"]
    assert found["settings_sha256"].nunique() == 2
    assert set(found["data_sha256"]) == {"d" * 64}
    assert found["value"].tolist() == [0.12, 0.10, 0.12, 0.11]


def test_a_table_of_another_kind_is_refused(folder):
    with pytest.raises(DataError, match=r"ends in .parquet or .csv"):
        write_table(runs_in(folder), folder / "all.xlsx")


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(DataError, match="no run that can be read"):
        write_table(runs_in(tmp_path), tmp_path / "all.csv")
    with pytest.raises(DataError, match="there is no folder"):
        runs_in(tmp_path / "nowhere")


def test_links_are_not_followed(folder):
    (folder / "loop").symlink_to(folder)
    assert len(runs_in(folder)) == 2


def test_runs_without_numbers_are_rows_too(tmp_path):
    with running(tmp_path / "a", "compress", load_settings("quickstart")):
        pass
    found = table_of(runs_in(tmp_path))
    assert found["verb"].tolist() == ["compress"] and found["value"].isna().all()


def test_a_study_is_read_from_its_summary(tmp_path):
    path = tmp_path / "study"
    columns = {"slice": "all", "protocol": "full", "metric": "ndcg@10", "low": 0.1, "high": 0.3}
    with running(path, "study", load_settings("quickstart")) as opened:
        opened.note_made_from(data_sha256="d" * 64, bundle_sha256="b" * 64)
        rows = [columns | {"variant": name, "value": 0.2} for name in ("one", "two")]
        pd.DataFrame(rows).to_parquet(path / "summary.parquet")
    found = read_run(path)
    assert [figure.name for figure in found.figures] == [
        "one/all/full/ndcg@10",
        "two/all/full/ndcg@10",
    ]
    assert found.headline.value == 0.2
    assert (found.record.data_sha256, found.record.bundle_sha256) == ("d" * 64, "b" * 64)
    (path / "summary.parquet").write_bytes(b"no table")
    assert "summary.parquet is damaged" in read_run(path).trouble


def test_a_simulation_is_read_from_its_history(tmp_path):
    path = tmp_path / "simulated"
    rows = [
        {"round_number": 0, "metrics": {"full": {"ndcg@10": 0.05}}},
        {"round_number": 1, "metrics": {"full": {"ndcg@10": 0.07}}},
        {"round_number": 2, "metrics": None},
    ]
    with running(path, "simulate", load_settings("quickstart")) as opened:
        opened.arm("federated").mkdir(parents=True)
        text = "\n".join(map(json.dumps, rows))
        (opened.arm("federated") / "history.jsonl").write_text(text)
    assert read_run(path).headline.value == 0.07
