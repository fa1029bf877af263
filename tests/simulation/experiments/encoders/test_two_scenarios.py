"""Both scenarios on one tiny encoder: what is written, what it scores, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle import EncoderBundle
from models.encoder import Encoder
from models.errors import DataError, SettingsError
from models.scenarios_serving import ScenarioEncoder
from simulation.__main__ import run
from simulation.data.cache import CACHE_VARIABLE
from simulation.experiments.encoders.frozen_encoder import FrozenEncoder
from simulation.experiments.encoders.two_scenarios import Wish, load_intents, load_scenarios
from simulation.run_folder import running
from simulation.settings import load_settings
from tests.integration.test_quickstart import write_inputs
from tests.simulation.experiments.tiny_language import (
    INTENTS,
    rows,
    write_clinc,
    write_general_bundle,
)

QUICK = ("intent.epochs=25", "intent.learning_rate=0.02", "recommendation.epochs=8", "threads=1")
GENERAL = Path(__file__).resolve().parents[4] / "models" / "pretrained" / "ei-bert-en"
TEXTS = ["love story", "crime in the city", "the old ship"]


def words_of(folder: Path, *more: str) -> list[str]:
    words = ["scenarios", "--encoder", folder / "bundle", "--run", folder / "run"]
    words += ["--out", folder / "out", "--path", folder / "mine.csv"]
    changes = [word for change in QUICK for word in ("--set", change)]
    return [str(word) for word in [*words, *changes, *more]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of the verb."""
    folder = tmp_path_factory.mktemp("scenarios")
    settings = load_settings(str(write_inputs(folder)))
    with running(folder / "run", "compare", settings):
        pass
    write_general_bundle(folder / "bundle")
    lines = "".join(f"{text},{label}\n" for text, label in rows(120, 0))
    (folder / "mine.csv").write_text("text,label\n" + lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        assert run(words_of(folder, "--test")) == 0
    return folder


def report_of(folder: Path):
    return json.loads((folder / "out" / "report.json").read_text())


def phone_of(folder: Path) -> ScenarioEncoder:
    phone = ScenarioEncoder.load(folder / "out" / "bundle")
    for name in ("intent", "recommendation"):
        phone.add_scenario(name, (folder / "out" / f"{name}.npz").read_bytes())
    return phone


def test_a_phone_loads_both_files_on_one_encoder(folder):
    phone = phone_of(folder)
    found = phone.answers(["intent", "recommendation"], TEXTS)
    assert found["intent"].shape == (3, 3) and found["recommendation"].shape == (3, 8)
    assert set(phone.label("intent", TEXTS)) <= set(INTENTS)
    plain = Encoder.load(folder / "bundle").encode(TEXTS)
    assert np.array_equal(phone.encode(TEXTS), plain)  # the encoder is as it was


def test_the_report_says_bytes_and_scores_of_each(folder):
    report = report_of(folder)
    arms = report["intent"]["arms"]
    assert [row["arm"] for row in arms] == ["head", "adapters + head"]
    head, adapted = arms
    file = (folder / "out" / "intent.npz").read_bytes()
    assert adapted["num_bytes"] == len(file) > head["num_bytes"]
    assert max(arm["scores"]["validation"] for arm in arms) > 0.6
    assert report["bundle_bytes"] == EncoderBundle.open(folder / "out" / "bundle").num_bytes
    assert 0 < report["bundle_bytes"] - report["encoder_bytes"] < 1_500
    warm, cold = report["recommendation"]["tasks"]
    assert (warm["task"], cold["task"]) == ("warm", "cold")
    for task in (warm, cold):
        names = [row["encoder"] for row in task["arms"]]
        assert names == ["encoder", "head", "adapters + head"]
        assert [row["vector_size"] for row in task["arms"]] == [20, 8, 8]
        assert task["reference"] == ["encoder", "pooled"]
        for row in task["arms"]:
            assert all(0 <= mean["mean"] <= 1 for mean in row["means"].values())
    shipped = len((folder / "out" / "recommendation.npz").read_bytes())
    assert warm["arms"][2]["num_bytes"] == shipped


def test_scores_are_those_of_the_shipped_file(folder):
    wish = Wish(folder / "bundle", folder / "run", None, folder / "mine.csv", None, ())
    labelled, _ = load_intents(wish, folder / "cache")
    chosen = phone_of(folder).label("intent", labelled.test.texts)
    wanted = [labelled.label_names[label] for label in labelled.test.labels]
    right = np.mean([a == b for a, b in zip(chosen, wanted, strict=True)])
    assert report_of(folder)["intent"]["arms"][1]["scores"]["test"] == right


def test_test_texts_are_scored_on_demand_alone(folder, monkeypatch, capsys):
    assert list(report_of(folder)["intent"]["arms"][0]["scores"]) == ["test", "validation"]
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    out = str(folder / "untested")
    assert run(words_of(folder, "--json", "--out", out, "--set", "intent.epochs=1")) == 0
    made = json.loads(capsys.readouterr().out)
    assert [list(row["scores"]) for row in made["intent"]["arms"]] == [["validation"]] * 2


def test_the_recommender_is_judged_by_the_validation_item(folder):
    wish = Wish(folder / "bundle", folder / "run", None, None, None, ("central.epochs=2",))
    plan, settings = load_scenarios(wish)
    assert settings.split.target == "validation"
    assert settings.central.epochs == 2 and plan.intent.epochs == 12
    assert report_of(folder)["run"]["split"]["target"] == "validation"


def test_a_cold_scenario_has_not_met_the_cold_items(folder, monkeypatch):
    """Known items alone are learnt from, and none of the cold ones."""
    learnt = {}

    def spy(self, name, texts, *rest):
        learnt[name] = set(texts)
        return whole(self, name, texts, *rest)

    whole = FrozenEncoder.learn
    monkeypatch.setattr(FrozenEncoder, "learn", spy)
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    assert run(words_of(folder, "--out", str(folder / "again"), "--set", "cold_share=0.3")) == 0
    warm, cold = (learnt[f"recommendation, {task}, adapters + head"] for task in ("warm", "cold"))
    assert cold < warm and len(warm) - len(cold) >= 0.25 * len(warm)


@pytest.mark.parametrize("place", ["stack", "pooled"])
def test_both_places_of_adapters_can_be_asked_for(folder, monkeypatch, capsys, place):
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    changes = [f"intent.place={place}", f"recommendation.place={place}", "intent.epochs=2"]
    more = [word for change in changes for word in ("--set", change)]
    assert run(words_of(folder, "--out", str(folder / place), *more)) == 0
    shown = capsys.readouterr().out
    assert "adapters + head" in shown and "Cold items" in shown and "accuracy" in shown


def test_clinc150_by_path(folder):
    write_clinc(folder / "data_full.json")
    wish = Wish(folder / "bundle", folder / "run", folder / "data_full.json", None, None, ())
    labelled, score = load_intents(wish, folder / "cache")
    assert (labelled.name, score) == ("clinc150", "accuracy")


def test_intents_need_just_one_set(folder):
    for clinc, own in ((None, None), (Path("a.json"), Path("b.csv"))):
        wish = Wish(folder / "bundle", folder / "run", clinc, own, None, ())
        with pytest.raises(SettingsError, match=r"either --clinc150 data_full\.json or --path"):
            load_intents(wish, folder / "cache")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--run", "nowhere"), "nowhere is no run folder"),
        (("--encoder", "nowhere"), "no encoder bundle at nowhere"),
        (("--set", "intent.place=roof"), "intent.place = 'roof'"),
        (("--set", "intents.place=stack"), "unknown key 'intents'"),
        (("--path", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_made_is_one_clear_line(
    folder, tmp_path, monkeypatch, capsys, more, message
):
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / "cache"))
    monkeypatch.chdir(tmp_path)
    assert run(words_of(folder, "--out", str(tmp_path / "out"), *more)) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_bundle_that_takes_adapters_is_no_start(folder, tmp_path):
    with pytest.raises(DataError, match="takes adapters already"):
        FrozenEncoder.of_bundle(folder / "out" / "bundle", tmp_path / "bundle")


def test_the_committed_encoder_has_room_for_the_inputs(tmp_path):
    frozen = FrozenEncoder.of_bundle(GENERAL, tmp_path / "bundle")
    texts = ["heist film", "wild flowers"]
    assert np.array_equal(frozen.phone.encode(texts), Encoder.load(GENERAL).encode(texts))


def test_the_products_plan_is_whole(folder):
    plan, _ = load_scenarios(Wish(folder, folder / "run", None, None, None, ()))
    assert plan.intent.place == plan.recommendation.place == "stack"
