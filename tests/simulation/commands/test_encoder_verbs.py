import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from models.classifier import Classifier
from models.compression.pipeline import compress
from models.compression.settings import CompressionSettings
from models.compression.teacher.corpus import Corpus
from simulation.__main__ import run
from simulation.data.cache import CACHE_VARIABLE
from simulation.experiments.encoders.general_students import GeneralStudent
from simulation.experiments.language import task_distillation
from simulation.experiments.language.settings import load_language_settings
from simulation.experiments.language.task_distillation import Wish
from tests.models.compression.test_chinese import TEXTS as CHINESE
from tests.models.compression.test_chinese import chinese_teacher
from tests.models.conftest import TINY, save_teacher, tiny_teacher_model
from tests.simulation.experiments.tiny_language import INTENTS, rows, tiny_bench, tiny_tree


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


def test_a_chinese_task_is_learnt_from_a_chinese_teacher(folder, tmp_path, monkeypatch, capsys):
    teacher = chinese_teacher(tmp_path / "teacher")
    settings = CompressionSettings.model_validate(TINY)
    corpus = Corpus((), CHINESE)
    compress(teacher, corpus, settings, tmp_path / "zh", tmp_path / "cache", seed=0, threads=1)
    lines = "".join(f"{text},{'bad' if '电池' in text else 'good'}\n" for text in CHINESE)
    (tmp_path / "zh.csv").write_text("text,label\n" + lines, encoding="utf-8")
    told = ("--path", str(tmp_path / "zh.csv"), "--start", str(tmp_path / "zh"))
    told += ("--out", str(tmp_path / "out"), "--set", f"text_teacher={teacher}")
    assert distil(folder, monkeypatch, *told, "--set", "own.augmentation.copies=1") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scores"]["bundle"]["validation"] > 0.6
    assert Classifier.load(made["bundle"]).labels == ("bad", "good")


def test_a_key_that_is_not_there_is_refused(folder, monkeypatch, capsys):
    assert distil(folder, monkeypatch, "--set", "task.teachers=2") == 2
    assert "task.teachers" in capsys.readouterr().err


def test_test_texts_are_scored_only_when_asked_for(folder, monkeypatch, capsys):
    out, scored = ("--out", str(folder / "tested")), []
    assert distil(folder, monkeypatch, *out) == 0
    made = json.loads(capsys.readouterr().out)
    assert all(set(scores) == {"validation"} for scores in made["scores"].values())

    real = task_distillation.judged_part
    monkeypatch.setattr(
        task_distillation, "judged_part", lambda *asked: (scored.append(asked[1]), real(*asked))[1]
    )
    monkeypatch.setattr(task_distillation, "teach", lambda *_: pytest.fail("taught again"))
    assert distil(folder, monkeypatch, *out, "--test") == 0
    tested = json.loads(capsys.readouterr().out)
    assert scored == ["test"]
    assert all(set(scores) == {"validation", "test"} for scores in tested["scores"].values())
    assert distil(folder, monkeypatch, *out, "--test") == 0
    assert json.loads(capsys.readouterr().out) == tested
    assert distil(folder, monkeypatch, *out) == 0
    assert json.loads(capsys.readouterr().out) == made
    assert scored == ["test"]


@pytest.mark.parametrize(
    "change",
    [
        lambda wish, settings, texts: (wish, settings, replace(texts, label_names=("x", "y", "z"))),
        lambda wish, settings, texts: (wish, settings, replace(texts, test=texts.validation)),
        lambda wish, settings, texts: (wish, changed(settings, teacher_seed=9), texts),
        lambda wish, settings, texts: (wish, changed(settings, budget_bytes=90_000), texts),
        lambda wish, settings, texts: (
            wish,
            changed(settings, own=settings.own.model_copy(update={"score": "macro-f1"})),
            texts,
        ),
    ],
    ids=["names", "test rows", "teacher seed", "budget", "score"],
)
def test_a_bundle_is_known_by_all_that_it_depends_on(folder, change):
    settings = load_language_settings(folder / "settings.toml")
    start = GeneralStudent.of_bundle(folder / "bundle")
    wish = Wish("own", folder / "mine.csv", folder / "bundle", "int8", "usual", 0, None)
    texts = task_distillation.load_texts(wish, settings, folder / "cache")
    before = task_distillation._digest(wish, settings, texts, start)
    wish, settings, texts = change(wish, settings, texts)
    assert task_distillation._digest(wish, settings, texts, start) != before


def test_a_bundle_is_known_by_its_teachers_weights(folder, tmp_path, monkeypatch):
    settings = load_language_settings(folder / "settings.toml")
    start = GeneralStudent.of_bundle(folder / "bundle")
    wish = Wish("own", folder / "mine.csv", folder / "bundle", "int8", "usual", 0, None)
    texts = task_distillation.load_texts(wish, settings, folder / "cache")
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    settings = changed(settings, text_teacher=str(tmp_path / "teacher"))
    before = task_distillation._digest(wish, settings, texts, start)
    save_teacher(tiny_teacher_model(seed=1), tmp_path / "teacher")
    assert task_distillation._digest(wish, settings, texts, start) != before


def changed(settings, **changes):
    return settings.model_copy(update=changes)


def with_labels(folder, *names):
    """The same texts, their classes called otherwise; the path of the table."""
    of = dict(zip(INTENTS, names, strict=True))
    lines = "".join(f"{text},{of[label]}\n" for text, label in rows(90, 0))
    path = folder / f"named-{len(lines)}.csv"
    path.write_text("text,label\n" + lines)
    return path


@pytest.mark.parametrize(
    ("labels", "budget", "message"),
    [
        (("a b", "a  b", "c"), None, "class names must be there and differ"),
        (("a" * 6000, "b" * 6000, "c" * 6000), None, "allowed are 16,384: take shorter names"),
        (INTENTS, 20_000, "over its budget of 20,000"),
    ],
    ids=["twice", "long", "budget"],
)
def test_what_cannot_be_written_is_told_before_the_training(
    folder, monkeypatch, capsys, labels, budget, message
):
    monkeypatch.setattr(task_distillation, "teacher_of", lambda *_: pytest.fail("trained"))
    more = ["--path", str(with_labels(folder, *labels)), "--out", str(folder / "early")]
    if budget:
        tree = tiny_tree(folder / "teacher", folder / "bundle") | {"budget_bytes": budget}
        (folder / "small.toml").write_text(_as_toml(tree))
        more += ["--settings", str(folder / "small.toml"), "--format", "fp32"]
    assert distil(folder, monkeypatch, *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())


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


def test_inspect_tells_the_bytes_and_the_operators(folder, capsys):
    assert run(["inspect", str(folder / "bundle"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    files = sum(path.stat().st_size for path in (folder / "bundle").iterdir())
    assert sum(told["bytes"].values()) == told["num_bytes"] == files
    assert {line.split(";")[0] for line in told["operators"]} == {"ai.onnx", "com.microsoft"}
    assert run(["inspect", str(folder / "bundle")]) == 0
    assert "in all" in capsys.readouterr().out


def test_inspect_refuses_what_is_no_bundle(folder, capsys):
    assert run(["inspect", str(folder / "teacher")]) == 2
    assert "teacher" in capsys.readouterr().err
