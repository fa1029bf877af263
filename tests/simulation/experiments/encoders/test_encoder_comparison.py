"""The whole comparison on the tiny world, and a student cross-distilled for each task of it."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, EncoderBundle, write_bundle
from models.compression.export.encoder_graph import export_graph, graph_parts
from models.compression.export.revival import student_from_bundle
from models.compression.pretraining.batches import encode_ids
from models.compression.quantization.few_bits import plan_bits
from models.compression.recommendation.recommender_distillation import (
    RecommenderDistillationSettings,
)
from models.encoder import Encoder
from models.errors import SettingsError
from models.wordpiece import TokenizerSettings, build_tokenizer, split_texts, vocabulary_to_bytes
from simulation.experiments.encoders.encoder_comparison import (
    ArmValues,
    TaskResult,
    baseline_values,
    compare_encoders,
    load_encoder_comparison,
    play_on_phones,
)
from simulation.experiments.encoders.ranking_tasks import RankingTask, cold_task, warm_task
from simulation.experiments.encoders.recommender_course import (
    CompanionSettings,
    Course,
    hold_out_last,
)
from simulation.experiments.encoders.text_readers import (
    bundle_reader,
    no_text_reader,
    random_reader,
)
from simulation.settings import Settings, load_settings
from tests.models.compression import tiny_recommendation as tiny
from tests.models.compression.tiny_task import PIECES, tiny_student
from tests.tiny_world import NUM_ITEMS, RECOMMENDER, SEED, TIERS, federation, made_up_split

WORDS = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=16)
CATALOGUE = [f"love{item % 7} film {item}" for item in range(NUM_ITEMS)]
COMPANIONS = CompanionSettings(
    queries_per_item=1, query_words_min=1, query_words_max=2, prose_texts=0, prose_words=5
)


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The quickstart with a tiny recommender and few epochs."""
    whole = load_settings("quickstart", ["workers=1", f"seed={SEED}", "federation.rounds=2"])
    central = whole.central.model_copy(update={"epochs": 2, "users_per_step": 20})
    changes = {
        "recommender": RECOMMENDER,
        "central": central,
        "static": central,
        "federation": federation(rounds=2),
        "world": TIERS,
    }
    return whole.model_copy(update=changes)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The bundle of a tiny student, 6 bits a word and 8 for the rest."""
    student = tiny_student()
    plan = plan_bits(student.settings, 6, 8)
    graph = export_graph(student, plan)
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(PIECES),
        TOKENIZER: WORDS.to_bytes(),
    }
    bundle = write_bundle(
        tmp_path / "start",
        files,
        graph_parts=graph_parts(graph),
        vector_size=student.settings.vector_size,
        origin={"student": student.settings.model_dump(), "bits": plan},
        budget_bytes=100_000,
    )
    return bundle.folder


def course(settings: Settings, cache: Path, **changes: object) -> Course:
    distillation = tiny.settings(texts_per_batch=32, **changes)
    teacher = random_reader(12, 0)
    return Course(settings, distillation, COMPANIONS, teacher, CATALOGUE, cache)


def tasks(settings: Settings) -> list[RankingTask]:
    parts = made_up_split()
    return [warm_task(parts), cold_task(parts, 0.2, settings.recommender.max_history, SEED)]


@pytest.mark.parametrize("place", [0, 1], ids=["warm", "cold"])
def test_every_encoder_and_every_taught_student_is_ranked(
    settings: Settings, start: Path, tmp_path: Path, place: int
):
    task = tasks(settings)[place]
    readers = [random_reader(12, 0), no_text_reader(12)]
    result = compare_encoders(
        task, readers, {"mine": start}, course(settings, tmp_path), tmp_path / "out"
    )
    arms = [(arm.encoder, arm.arm) for arm in result.arms]
    assert arms[:5] == [
        ("random", "pooled"),
        ("none", "pooled"),
        ("mine", "pooled"),
        ("mine", "own head"),
        ("mine", "own head, ids"),
    ]
    assert {"random", "popularity"} <= {name for name, arm in arms if arm == "baseline"}
    assert (("ease", "baseline") in arms) == (task.name == "warm")
    for arm in result.arms:
        for values in arm.values.values():
            assert values.shape == (result.num_users,)
            assert np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()
    bundle = EncoderBundle.open(tmp_path / "out" / "mine" / task.name / "bundle")
    assert result.arms[2].num_bytes == bundle.num_bytes
    assert [look.step for look in result.courses["mine"]] == [0, 2, 4, 6, 7]


def test_a_report_holds_paired_differences_to_the_teacher():
    rng = np.random.default_rng(0)
    values = [{"all ndcg@10": rng.random(50)} for _ in range(2)]
    better = {"all ndcg@10": values[1]["all ndcg@10"] + 0.1}
    arms = [
        ArmValues("mine", "pooled", 8, 1000, better),
        ArmValues("teacher", "own head", 8, None, values[0]),
        ArmValues("teacher", "pooled", 8, None, values[1]),
    ]
    report = TaskResult("warm", 50, 50, tuple(arms), {}).report(0, 200)
    assert report["reference"] == ["teacher", "pooled"]
    difference = report["arms"][0]["differences"]["all ndcg@10"]
    assert difference["low"] == pytest.approx(0.1) and difference["high"] == pytest.approx(0.1)
    assert report["arms"][2]["differences"]["all ndcg@10"]["mean"] == 0.0


def test_among_cold_items_popularity_guesses(settings: Settings):
    """Nobody chose any of them, so its AUC is that of noise, and not that of ties."""
    cold = tasks(settings)[1]
    values = baseline_values(cold, settings)
    assert 0 < values["popularity"]["cold hr@10"].mean() < 1
    np.testing.assert_allclose(
        values["popularity"]["cold auc"], values["random"]["cold auc"], atol=1e-6
    )
    assert values["popularity"]["all auc"].mean() < 0.3


@pytest.mark.parametrize("place", [0, 1], ids=["warm", "cold"])
def test_phones_play_an_encoder(settings: Settings, tmp_path: Path, place: int):
    parts, task = made_up_split(), tasks(settings)[place]
    static, federated = play_on_phones(
        task, parts, random_reader(12, 0), settings, tmp_path / "phones"
    )
    assert (static.arm, federated.arm) == ("static", "federated")
    assert np.any(static.values["all auc"] != federated.values["all auc"])
    assert federated.values["all auc"].shape == task.judged_users.shape


def test_a_taught_bundle_is_the_taught_student(settings: Settings, start: Path, tmp_path: Path):
    """It has the bits of its start; and a second call makes it again."""
    how = course(settings, tmp_path)
    task = tasks(settings)[0]
    taught, bundle = how.teach(start, task, tmp_path / "out")
    vectors = Encoder.load(bundle.folder).encode(CATALOGUE)
    texts = split_texts(build_tokenizer(PIECES, WORDS), CATALOGUE, WORDS.max_tokens)
    own, begun = (
        encode_ids(student_from_bundle(folder), texts, 16) for folder in (bundle.folder, start)
    )
    assert (vectors * own).sum(axis=1).min() > 0.999
    assert (vectors * begun).sum(axis=1).min() < 0.999  # it has learnt
    assert bundle.manifest["origin"]["bits"]["words"] == 6
    again, second = how.teach(start, task, tmp_path / "out")
    assert again.looks == taught.looks
    assert second.manifest == bundle.manifest
    assert (bundle_reader("x", second.folder).read(CATALOGUE) == vectors).all()


def test_what_a_course_learns_from_has_no_cold_item_and_no_held_out_one(settings: Settings):
    task = tasks(settings)[1]
    fit, validation = hold_out_last(task.pool)
    lengths = task.pool.lengths()
    assert ((validation >= 0) == (lengths >= 2)).all()
    for user in range(task.pool.num_users):
        whole = task.pool.items[task.pool.offsets[user] : task.pool.offsets[user + 1]].tolist()
        left = fit.items[fit.offsets[user] : fit.offsets[user + 1]].tolist()
        assert left + [v for v in [int(validation[user])] if v >= 0] == whole


def test_the_settings_that_come_with_the_product_are_whole(tmp_path: Path):
    plan = load_encoder_comparison()
    assert isinstance(plan.cross_distillation, RecommenderDistillationSettings)
    broken = tmp_path / "mine.toml"
    broken.write_text("cold_share = 2\n")
    with pytest.raises(SettingsError, match=r"mine\.toml"):
        load_encoder_comparison(broken)
    with pytest.raises(SettingsError, match="cannot read"):
        load_encoder_comparison(tmp_path / "none.toml")
