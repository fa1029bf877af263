import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.bundle import ENCODER_BUDGET_BYTES, GRAPH, VOCABULARY, EncoderBundle
from models.compression.pipeline import STAGES, compress
from models.compression.settings import CompressionSettings
from models.compression.teacher.corpus import Corpus
from models.encoder import Encoder, open_session, run_graph
from models.errors import BudgetError, DataError
from models.wordpiece import TokenizerSettings, build_tokenizer, vocabulary_from_bytes
from tests.models.conftest import TINY

STAGE_NAMES = [
    "text_teacher",
    "pruning",
    "student",
    "pretraining",
    "polish",
    "export",
    "quantization",
    "bundle",
]


def test_report_has_a_row_per_stage(compressed):
    _, report = compressed
    assert [row.stage for row in report.stages] == STAGE_NAMES
    assert len(STAGE_NAMES) == STAGES
    assert all(row.seconds > 0 and row.figures for row in report.stages)


def test_bundle_is_within_its_budget(compressed):
    bundle, report = compressed
    assert report.bundle_bytes == bundle.num_bytes <= report.budget_bytes == TINY["budget_bytes"]


def test_a_budget_that_has_no_room_for_all_words_is_used(
    teacher_folder, tiny_corpus, tiny_settings, compression_cache, tmp_path
):
    student = tiny_settings.student.model_copy(update={"embedding_size": 96})  # words cost most
    small = tiny_settings.model_copy(update={"budget_bytes": 30_000, "student": student})
    report = compress(
        teacher_folder, tiny_corpus, small, tmp_path / "b", compression_cache, seed=3, threads=1
    )
    words = next(row.figures for row in report.stages if row.stage == "pruning")
    assert words["words_after"] < words["words_before"]
    assert 0.9 * 30_000 <= report.bundle_bytes <= 30_000


def test_parity_is_within_tolerance(compressed):
    parity = compressed[1].parity
    assert parity.torch_onnx_max_abs_diff <= 1e-4
    assert parity.int8_fp32_cosine > 0.99
    assert parity.int8_neighbour_agreement > 0.7
    # Chance is 10 of 29 others.
    assert parity.teacher_neighbour_agreement > 0.5
    assert parity.num_texts == 30


def test_the_phone_splits_texts_as_the_student_learnt_them(compressed, tiny_corpus):
    """The judged vectors are those of the finished encoder: same pieces, same graph."""
    encoder = Encoder.load(compressed[0].folder)
    small = encoder.encode(tiny_corpus.item_texts)
    session = open_session(compressed[0].read(GRAPH))
    pieces = vocabulary_from_bytes(compressed[0].read(VOCABULARY))
    tokenizer = build_tokenizer(
        pieces, TokenizerSettings(True, True, TINY["student"]["max_tokens"])
    )
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(tiny_corpus.item_texts))]
    for vector, text in zip(small, ids, strict=True):
        np.testing.assert_array_equal(vector, run_graph(session, np.asarray([text]))[0])


def test_training_does_not_undo_the_warm_start(compressed):
    figures = {row.stage: row.figures for row in compressed[1].stages}
    started, ended = (figures[stage] for stage in ("student", "pretraining"))
    assert ended["neighbours"] > started["neighbours"] - 0.1
    assert figures["pruning"]["words_after"] < figures["pruning"]["words_before"]
    assert figures["pruning"]["unknown_rate_after"] == 0


def test_report_is_written_beside_the_bundle(compressed):
    bundle, report = compressed
    path = bundle.folder.with_name("bundle-report.json")
    assert json.loads(path.read_text()) == json.loads(json.dumps(report.as_dict()))


def test_nothing_of_this_machine_is_in_the_bundle(compressed, teacher_folder):
    for path in compressed[0].folder.iterdir():
        content = path.read_bytes()
        for place in (teacher_folder, Path.cwd(), Path.home()):
            assert str(place).encode() not in content


def test_same_run_same_bytes(
    compressed, teacher_folder, tiny_corpus, tiny_settings, compression_cache, tmp_path
):
    threads = torch.get_num_threads()
    compress(teacher_folder, tiny_corpus, tiny_settings, tmp_path / "b", compression_cache, 3, 1)
    again = EncoderBundle.open(tmp_path / "b")
    assert again.manifest == compressed[0].manifest  # it holds the hash of every file
    assert torch.get_num_threads() == threads


def test_the_teachers_states_need_the_teachers_pieces():
    pruning = {**TINY["pruning"], "criterion": "fresh"}
    pretraining = {**TINY["pretraining"], "state_weight": 0.1}
    with pytest.raises(ValidationError, match="set state_weight to 0"):
        CompressionSettings.model_validate({**TINY, "pruning": pruning, "pretraining": pretraining})


def test_a_budget_nothing_fits_raises_before_training(
    teacher_folder, tiny_corpus, tiny_settings, compression_cache, tmp_path
):
    small = tiny_settings.model_copy(update={"budget_bytes": 12_000})
    stages = []
    with pytest.raises(BudgetError, match="raise the budget or take a narrower student"):
        compress(
            teacher_folder, tiny_corpus, small, tmp_path / "b", compression_cache, 3, 1,
            lambda what, done, total: stages.append(what),
        )  # fmt: skip
    assert stages[-1] == "compress: pruning"
    assert not {"compress: student", "pre-training"} & set(stages)
    assert not (tmp_path / "b").exists()


def test_an_empty_corpus_is_refused():
    with pytest.raises(DataError, match="1 different item texts"):
        Corpus(("one", "one"), ("prose beside it",))
    with pytest.raises(DataError, match="0 different prose texts"):
        Corpus((), ())


def test_an_encoder_without_a_catalogue_is_judged_by_held_back_prose(
    teacher_folder, tiny_corpus, tiny_settings, compression_cache, tmp_path
):
    report = compress(
        teacher_folder,
        Corpus((), tiny_corpus.item_texts + tiny_corpus.prose),
        tiny_settings,
        tmp_path / "bundle",
        compression_cache,
        seed=3,
        threads=1,
    )
    assert report.parity.num_texts == 8  # every fifth of 40 different ones
    assert report.bundle_bytes <= TINY["budget_bytes"]


@pytest.mark.parametrize(
    "text", ["old ship " * 120_000, "x" * 1_000_000, "\ud800 king", "\0"], ids=str.__len__
)
def test_a_text_of_a_megabyte_or_of_half_a_character_is_read_like_any_other(
    text, teacher_folder, tiny_corpus, tiny_settings, compression_cache, tmp_path
):
    corpus = Corpus(tiny_corpus.item_texts, (*tiny_corpus.prose, text))
    folder = tmp_path / "bundle"
    compress(teacher_folder, corpus, tiny_settings, folder, compression_cache, seed=3, threads=1)
    encoder = Encoder.load(folder)
    assert np.isfinite(encoder.encode([text])).all()
    assert encoder.encode(["old ship"]).shape == (1, tiny_settings.student.vector_size)


class KilledError(Exception):
    """Stands for kill -9: it leaves the folders as they are."""


@pytest.mark.parametrize(
    "stage",
    ["text teacher", "pre-training", "polish", *(f"compress: {name}" for name in STAGE_NAMES)],
)
def test_resume_after_kill_gives_the_same_bytes(
    stage, compressed, teacher_folder, tiny_corpus, tiny_settings, tmp_path
):
    bundle, _ = compressed
    inputs = (teacher_folder, tiny_corpus, tiny_settings, tmp_path / "bundle", tmp_path / "cache")

    def kill(what, done, total):
        between = what.startswith("compress: ")  # the stages that take no steps of their own
        if what == stage and (between or done > total / 2):
            raise KilledError

    with pytest.raises(KilledError):
        compress(*inputs, seed=3, threads=1, progress=kill)
    assert not (tmp_path / "bundle").exists()
    compress(*inputs, seed=3, threads=1)
    again = EncoderBundle.open(tmp_path / "bundle")
    assert again.manifest["files"] == bundle.manifest["files"]
    assert not any((tmp_path / "cache" / "compressions").iterdir())  # nothing unfinished is left


KILLED_SCRIPT = """
import pickle, sys, time
from models.compression.pipeline import compress

def progress(what, done, total):
    if what == sys.argv[2] and done >= int(sys.argv[3]):
        print("here", flush=True)
        time.sleep(600)  # until it is killed

compress(*pickle.load(open(sys.argv[1], "rb")), seed=3, threads=1, progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "done"),
    [
        ("compress: pruning", 1),
        ("pre-training", 3),  # before the first checkpoint
        ("pre-training", 8),
        ("polish", 2),
        ("compress: bundle", 7),
    ],
)
def test_resume_after_a_real_kill(
    what, done, compressed, teacher_folder, tiny_corpus, tiny_settings, tmp_path
):
    """The same with kill -9: nothing that a dying process would still do is done."""
    inputs = (teacher_folder, tiny_corpus, tiny_settings, tmp_path / "bundle", tmp_path / "cache")
    (tmp_path / "inputs").write_bytes(pickle.dumps(inputs))
    command = [sys.executable, "-c", KILLED_SCRIPT, str(tmp_path / "inputs"), what, str(done)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()
    compress(*inputs, seed=3, threads=1)
    again = EncoderBundle.open(tmp_path / "bundle")
    assert again.manifest["files"] == compressed[0].manifest["files"]


@pytest.mark.parametrize(
    ("key", "value"), [("budget_bytes", ENCODER_BUDGET_BYTES + 1), ("passes", 2), ("seed", 1)]
)
def test_settings_have_bounds_and_no_strangers(key, value):
    with pytest.raises(ValidationError, match=key):
        CompressionSettings.model_validate({**TINY, key: value})


def test_vectors_have_no_nan(compressed, tiny_corpus):
    vectors = Encoder.load(compressed[0].folder).encode(tiny_corpus.item_texts)
    assert np.isfinite(vectors).all()
