import json
import tomllib
from pathlib import Path

import pytest

from models.classifier import Classifier
from simulation.__main__ import run
from simulation.data.cache import CACHE_VARIABLE
from simulation.experiments import task_distillation
from tests.simulation.experiments.tiny_language import rows, tiny_bench, tiny_tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    tiny_bench(folder)
    lines = "".join(f"{text},{label}\n" for text, label in rows(90, 0))
    (folder / "mine.csv").write_text("text,label\n" + lines)
    tree = tiny_tree(folder / "teacher", folder / "bundle")
    (folder / "settings.toml").write_text(_as_toml(tree))
    assert tomllib.loads((folder / "settings.toml").read_text()) == tree
    return folder


def _as_toml(tree, path=()) -> str:
    """Plain values first, then tables; what `tomllib` reads back."""
    tables = {key: value for key, value in tree.items() if isinstance(value, dict)}
    plain = {key: value for key, value in tree.items() if key not in tables}
    head = f"[{'.'.join(json.dumps(part) for part in path)}]\n" if path else ""
    lines = "".join(f"{json.dumps(key)} = {_as_value(value)}\n" for key, value in plain.items())
    return head + lines + "".join(_as_toml(v, (*path, k)) for k, v in tables.items())


def _as_value(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_as_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_value, value)) + "]"
    return json.dumps(value)


def distil(folder: Path, monkeypatch, *more: str) -> int:
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    given = {
        "--task": "own",
        "--path": folder / "mine.csv",
        "--start": folder / "bundle",
        "--out": folder / "out",
        "--settings": folder / "settings.toml",
    }
    words = [str(word) for pair in given.items() for word in pair]
    return run(["distill", *words, "--json", *more])


def test_distill_makes_a_classifier_and_keeps_it(folder, monkeypatch, capsys):
    assert distil(folder, monkeypatch) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scores"]["bundle"]["validation"] > 0.5
    classifier = Classifier.load(Path(made["bundle"]))
    assert classifier.encoder.num_bytes == made["num_bytes"]
    assert set(classifier.labels) == {"give_love", "report_crime", "board_ship"}
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["history"][-1]["step"] == 88

    monkeypatch.setattr(task_distillation, "teach", lambda *_: pytest.fail("taught again"))
    assert distil(folder, monkeypatch) == 0
    assert json.loads(capsys.readouterr().out) == made


def test_what_is_no_bundle_is_not_replaced_and_costs_no_training(folder, monkeypatch, capsys):
    stranger = folder / "mine" / "bundle"
    stranger.mkdir(parents=True)
    (stranger / "thesis.txt").write_text("years of work")
    monkeypatch.setattr(task_distillation, "teacher_of", lambda *_: pytest.fail("trained"))
    assert distil(folder, monkeypatch, "--out", str(folder / "mine")) == 2
    assert "is not an encoder bundle" in " ".join(capsys.readouterr().err.split())
    assert (stranger / "thesis.txt").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--format", "int9"), "no format 'int9': choose one of fp32, int8"),
        (("--variant", "best"), "no variant 'best'"),
        (("--task", "clink"), "no set 'clink'"),
        (("--task", "clinc150"), "is not CLINC150's data_full.json"),
        (("--start", "nowhere"), "no encoder bundle at nowhere"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(folder, monkeypatch, capsys, more, message):
    assert distil(folder, monkeypatch, *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_encode_shows_the_nearest(folder, capsys):
    texts = ["crime in the city", "love story", "city crime"]
    assert run(["encode", str(folder / "bundle"), *texts, "--top", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["vectors"]) == 3
    assert all(near[0]["text"] != text for text, near in zip(texts, found["nearest"], strict=True))


def test_encode_ranks_the_lines_of_a_file(folder, tmp_path, capsys):
    lines = tmp_path / "lines.txt"
    lines.write_text("love story\n\nthe old war\n")
    words = ["encode", str(folder / "bundle"), "love story", "--among", str(lines), "--json"]
    assert run(words) == 0
    near = json.loads(capsys.readouterr().out)["nearest"][0]
    assert [one["text"] for one in near] == ["love story", "the old war"]
    assert near[0]["cosine"] == pytest.approx(1.0, abs=1e-4)
    assert run([*words[:-3], "--among", str(tmp_path / "none.txt")]) == 2


def test_encode_with_the_bundle_of_a_task_names_classes(folder, monkeypatch, capsys):
    assert distil(folder, monkeypatch, "--out", str(folder / "named")) == 0
    capsys.readouterr()
    assert run(["encode", str(folder / "named" / "bundle"), "love story", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["answers"][0]
    assert answer["label"] in {"give_love", "report_crime", "board_ship"}
    assert run(["encode", str(folder / "named" / "bundle"), "love story"]) == 0
    assert answer["label"] in capsys.readouterr().out


def test_a_task_bundle_is_no_start(folder, monkeypatch, capsys):
    assert distil(folder, monkeypatch, "--out", str(folder / "first")) == 0
    start = str(folder / "first" / "bundle")
    assert distil(folder, monkeypatch, "--start", start, "--out", str(folder / "second")) == 2
    assert "is that of a task" in " ".join(capsys.readouterr().err.split())
