"""One tiny run of the verb, and what its settings refuse."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from models.bundle import LARGEST_BUNDLE_BYTES, EncoderBundle
from models.compression.elastic import elastic_family
from models.compression.elastic.family_settings import FamilySettings
from models.compression.quantization import polish
from models.encoder import Encoder
from models.errors import SettingsError
from simulation.__main__ import run
from simulation.data.cache import CACHE_VARIABLE
from simulation.experiments.encoders.elastic_sizes import (
    compare_with_own_runs,
    load_elastic,
    make_sizes,
    read_family,
)
from tests.simulation.experiments.tiny_elastic import write_plan

SIZES = ("small", "large")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of two tiny sizes, and the plan that made it."""
    folder = tmp_path_factory.mktemp("elastic")
    plan = write_plan(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        words = ["elastic", "--out", str(folder / "out"), "--settings", str(plan), "--json"]
        assert run(words) == 0
    return folder


def load(folder: Path, *overrides: str):
    return load_elastic(folder / "plan.toml", overrides)


def test_every_size_is_a_bundle_within_its_budget(folder):
    report = json.loads((folder / "out" / "report.json").read_text())
    assert [row["name"] for row in report["sizes"]] == list(SIZES)
    assert report["steps"] == 12 and report["judged_texts"] >= 2
    for row in report["sizes"]:
        bundle = EncoderBundle.open(folder / "out" / row["bundle"])
        assert bundle.num_bytes == row["num_bytes"] <= row["budget_bytes"]
        assert bundle.manifest["origin"]["settings_sha256"] == report["made_from"]
        assert 0 <= row["neighbours"] <= 1 and -1 <= row["cosine"] <= 1
        vectors = Encoder.load(bundle.folder).encode(["heat city", "the old war"])
        assert vectors.shape == (2, row["vector_size"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    small, large = report["sizes"]
    assert small["num_bytes"] < large["num_bytes"] and small["words"] < large["words"]
    words = [(folder / "out" / row["bundle"] / "vocab.txt").read_text() for row in report["sizes"]]
    assert words[1].startswith(words[0])


def test_an_unchanged_run_keeps_its_bundles(folder, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    monkeypatch.setattr(elastic_family, "train_elastic", lambda *_: pytest.fail("trained again"))
    words = ["elastic", "--out", str(folder / "out"), "--settings", str(folder / "plan.toml")]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "small" in shown and "cosine" in shown and "12 steps" in shown


def test_a_killed_training_goes_on_to_the_same_bundles(folder, tmp_path):
    plan, settings = load(folder)

    def stop(what, done, _total):
        if what == "elastic training" and done == 8:
            raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        make_sizes(plan, settings, tmp_path / "out", cache, stop)
    assert len(list(cache.glob("elastic/*/elastic/step-*"))) == 1
    steps = []
    make_sizes(
        plan,
        settings,
        tmp_path / "out",
        cache,
        lambda what, done, _: steps.append(done) if what == "elastic training" else None,
    )
    assert steps[0] == 6  # after the checkpoint of step 5
    assert not list(cache.glob("elastic/*"))
    for name in SIZES:
        files = ("encoder.onnx", "vocab.txt", "manifest.json")
        for file in files:
            again, first = (
                root / "sizes" / name / file for root in (tmp_path / "out", folder / "out")
            )
            assert again.read_bytes() == first.read_bytes()


def test_a_size_has_a_run_of_its_own_to_be_held_against(folder, tmp_path):
    plan, settings = load(folder)
    rows = compare_with_own_runs(plan, settings, ["small"], tmp_path, folder / "cache")
    (row,) = rows
    assert row["name"] == "small"
    assert row["elastic"]["words"] == row["own"]["words"]
    report = json.loads((folder / "out" / "report.json").read_text())
    assert row["elastic"]["cosine"] == pytest.approx(report["sizes"][0]["cosine"])
    bundles = [EncoderBundle.open(tmp_path / kind / "small") for kind in ("elastic", "own")]
    graphs = [bundle.read("encoder.onnx") for bundle in bundles]
    assert graphs[0] != graphs[1]
    with pytest.raises(SettingsError, match=r"no sizes \['huge'\]: choose of small, large"):
        compare_with_own_runs(plan, settings, ["huge"], tmp_path, folder / "cache")


def test_an_own_run_is_polished_from_its_own_weights(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(polish, "CHECKPOINT_EVERY", 1)  # what the slice leaves would be found
    polished = "compression.quantization.polish.steps=2"
    plan, settings = load(folder, polished)
    assert settings.compression.quantization.polish.steps == 2
    compare_with_own_runs(plan, settings, ["small"], tmp_path, folder / "cache")
    bundles = [EncoderBundle.open(tmp_path / kind / "small") for kind in ("elastic", "own")]
    assert bundles[0].read("encoder.onnx") != bundles[1].read("encoder.onnx")


def test_an_own_run_has_the_steps_and_rates_of_the_family(folder):
    plan, settings = load(folder, "training.steps=7", "training.learning_rate=0.01")
    own = plan.of_size(0, settings.compression)
    assert (own.pretraining.steps, own.pretraining.learning_rate) == (7, 0.01)
    assert own.pretraining.relation_weight == settings.compression.pretraining.relation_weight
    assert (own.budget_bytes, own.student) == (10_200, plan.sizes[0].student)


def test_texts_are_split_with_each_sizes_own_words(folder):
    plan, settings = load(folder)
    family = read_family(plan, settings, folder / "cache")
    assert set(family.judged) <= set(np.flatnonzero(family.curriculum.held_back))
    assert not family.lessons.weights[family.judged].any()
    for size, split in zip(family.elastic.sizes, family.lessons.ids, strict=True):
        assert max(max(ids) for ids in split) < size.words
        assert len(split) == len(family.curriculum.texts.everything)


def test_the_products_plan_is_whole():
    plan, settings = load_elastic()
    assert [size.name for size in plan.sizes] == ["0.5MB", "1.0MB", "1.91MB", "4.0MB"]
    assert [size.budget_bytes for size in plan.sizes] == [
        500_000,
        1_000_000,
        1_910_000,
        LARGEST_BUNDLE_BYTES,
    ]
    assert settings.text.corpus == "general"
    assert plan.sizes[2].student == settings.compression.student


def test_overrides_go_to_the_plan_or_to_the_preset(folder):
    plan, settings = load(folder, "training.steps=3", "text.threads=2", "seed=5")
    assert (plan.training.steps, settings.text.threads, settings.seed) == (3, 2, 5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps=0", r"training\.steps = 0: input should be greater than or equal to 1"),
        ("training.stepz=3", r"training\.stepz: extra inputs"),
        ("start_texts=many", "start_texts = 'many'"),
        ("preset=nowhere", "no preset 'nowhere'"),
        ("compression.pruning.criterion=fresh", 'set it to "attention"'),
        ("compression.quantization.embedding_bits=7", "embedding_bits"),
    ],
)
def test_wrong_settings_are_one_clear_line(folder, override, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load(folder, override)
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_nest_and_budgets_too_large_are_refused(folder):
    tree = tomllib.loads((folder / "plan.toml").read_text())
    family = {key: tree[key] for key in ("sizes", "start_texts", "training")}
    with pytest.raises(ValueError, match="does not fit into 'small': embedding_size is 24"):
        FamilySettings.model_validate(family | {"sizes": tree["sizes"][::-1]})
    tree["sizes"][1]["budget_bytes"] = LARGEST_BUNDLE_BYTES + 1
    with pytest.raises(ValueError, match="less than or equal to 4000000"):
        FamilySettings.model_validate(family)


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    (tmp_path / "broken.toml").write_text("sizes = [")
    with pytest.raises(SettingsError, match=r"broken\.toml.*give a TOML file"):
        load_elastic(tmp_path / "broken.toml")


def test_a_larger_size_that_holds_fewer_words_is_refused(folder):
    plan, settings = load(folder)
    small, large = plan.sizes
    rich = small.model_copy(update={"budget_bytes": 60_000})
    poor = large.model_copy(update={"name": "poor", "budget_bytes": 18_700})
    broken = plan.model_copy(update={"sizes": (rich, poor, large)})
    with pytest.raises(SettingsError, match=r"words is .* raise the budget_bytes of the larger"):
        read_family(broken, settings, folder / "cache")


def test_what_is_no_bundle_is_not_replaced_and_costs_no_training(folder, tmp_path, monkeypatch):
    stranger = tmp_path / "sizes" / "small"
    stranger.mkdir(parents=True)
    (stranger / "thesis.txt").write_text("years of work")
    monkeypatch.setattr(elastic_family, "train_elastic", lambda *_: pytest.fail("trained"))
    plan, settings = load(folder)
    with pytest.raises(Exception, match="not an encoder bundle"):
        make_sizes(plan, settings, tmp_path, folder / "cache")
    assert (stranger / "thesis.txt").is_file()
