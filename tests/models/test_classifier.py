from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, write_bundle
from models.classifier import LABELS, Classifier, labels_as_text, labels_of, softmax
from models.compression.export.encoder_graph import Readout, export_graph, graph_parts
from models.compression.quantization.few_bits import uniform
from models.compression.tasks.task_head import predict_logits
from models.errors import DataError
from models.seeds import generator
from models.wordpiece import TokenizerSettings, split_texts, vocabulary_to_bytes
from tests.models.compression.tiny_task import PIECES, tiny_student, tiny_tokenizer

TEXTS = ["a love story", "crime in the old city", "the last ship", "moon river"]
NAMES = ("love", "crime", "ship")


def task_bundle(folder: Path, origin: dict[str, str | int]) -> Readout:
    student = tiny_student()
    rng = generator(0, "test-readout")
    weight = rng.normal(size=(3, student.settings.hidden_size)).astype(np.float32)
    readout = Readout("logits", weight, np.asarray([0.5, 0, -0.5], np.float32), unit_length=False)
    graph = export_graph(student, uniform(student, 8), readout)
    reading = TokenizerSettings(True, True, student.settings.max_tokens)
    files = {
        GRAPH: graph.SerializeToString(),
        VOCABULARY: vocabulary_to_bytes(PIECES),
        TOKENIZER: reading.to_bytes(),
    }
    write_bundle(
        folder,
        files,
        graph_parts=graph_parts(graph),
        vector_size=3,
        origin=origin,
        budget_bytes=200_000,
    )
    return readout


def test_a_phone_gives_the_logits_of_torch(tmp_path):
    readout = task_bundle(tmp_path / "bundle", {LABELS: labels_as_text(NAMES)})
    classifier = Classifier.load(tmp_path / "bundle")
    student = tiny_student()
    ids = split_texts(tiny_tokenizer(), TEXTS, student.settings.max_tokens)
    expected = predict_logits(student, readout, ids)
    got = classifier.logits(TEXTS)
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()  # int8
    answers = classifier.classify(TEXTS)
    assert [answer.label for answer in answers] == [NAMES[row] for row in got.argmax(axis=1)]
    assert all(1 / 3 <= answer.probability <= 1 for answer in answers)


def test_an_empty_text_is_as_likely_of_any_class(tmp_path):
    task_bundle(tmp_path / "bundle", {LABELS: labels_as_text(NAMES)})
    answer = Classifier.load(tmp_path / "bundle").classify(["  "])[0]
    assert answer.probability == pytest.approx(1 / 3)


@pytest.mark.parametrize("origin", [{}, {LABELS: "one\ntwo"}, {LABELS: 3}])
def test_a_bundle_that_knows_no_classes_is_refused(tmp_path, origin):
    task_bundle(tmp_path / "bundle", origin)
    with pytest.raises(DataError, match=r"classes and gives 3 numbers.*distill"):
        Classifier.load(tmp_path / "bundle")


@pytest.mark.parametrize("names", [["a", ""], ["a", "a"], ["a b", "a  b"]])
def test_class_names_must_be_told_apart(names):
    with pytest.raises(DataError, match="must be there and differ"):
        labels_as_text(names)


@given(st.lists(st.text("abc de", min_size=1).filter(str.strip), min_size=1))
def test_class_names_come_back(names):
    names = list({" ".join(name.split()): None for name in names})
    assert labels_of({LABELS: labels_as_text(names)}) == tuple(names)


def test_softmax_of_large_logits_is_finite():
    assert softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]
