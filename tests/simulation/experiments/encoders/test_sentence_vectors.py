from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sentence_vectors import parser
from simulation.experiments.encoders.held_back_texts import clinc_intents
from simulation.experiments.encoders.sentence_vectors import (
    Examination,
    examine,
    probe_score,
    text_teacher,
    unit_vectors,
)
from simulation.experiments.encoders.text_readers import TextReader, bundle_reader, random_reader
from tests.models.conftest import WORDS
from tests.simulation.experiments.tiny_language import tiny_bench


def bag_of_words(texts):
    return np.asarray([[text.split().count(word) for word in WORDS] for text in texts], np.float32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="module")
def asked(bench):
    labelled = bench.labelled("clinc150")
    return Examination(
        labelled=[labelled],
        retrievals=[clinc_intents(bench.clinc150, bench.cache)],
        neighbours={"prose": labelled.test.texts},
        teacher=text_teacher(bench.settings, bench.cache),
    )


def test_an_encoder_that_counts_words_is_told_from_one_that_knows_nothing(bench, asked):
    knows = examine(TextReader("words", bag_of_words), asked, bench.settings)
    guesses = examine(random_reader(40, seed=0), asked, bench.settings)
    assert knows["probe clinc150"] > 0.9
    assert knows["clinc150-intent mrr@10"] > 0.9  # "give love" shares the word that tells
    assert guesses["probe clinc150"] < 0.7
    assert set(knows) == set(guesses)


def test_the_teacher_agrees_with_itself(bench, asked):
    figures = examine(asked.teacher, asked, bench.settings)
    assert figures["neighbours prose"] == 1.0


def test_a_bundle_can_be_examined(bench, asked, tmp_path):
    reader = bundle_reader("tiny", bench.clinc150.with_name("bundle"))
    figures = examine(reader, asked, bench.settings)
    assert all(0 <= value <= 1 for value in figures.values())
    assert len(figures) == 4


def test_vectors_have_length_1_or_say_nothing():
    encode = unit_vectors(TextReader("words", bag_of_words))
    lengths = np.linalg.norm(encode(["love crime", "no word of it"]), axis=1)
    assert lengths.tolist() == pytest.approx([1.0, 0.0])


def test_test_texts_are_encoded_only_when_asked_for(bench):
    labelled = bench.labelled("clinc150")
    seen = []

    def encode(texts):
        seen.extend(texts)
        return bag_of_words(texts)

    on_validation = probe_score(encode, labelled, bench.settings)
    assert not set(seen) & set(labelled.test.texts)
    # Labels that no text can bear out: the score is that of the test texts.
    wrong = replace(labelled, test=replace(labelled.test, labels=(labelled.test.labels + 1) % 3))
    assert probe_score(encode, wrong, bench.settings) == on_validation > 0.9
    assert probe_score(encode, wrong, bench.settings, "test") < 0.1
    assert set(labelled.test.texts) <= set(seen)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_requests_are_those_of_the_split(bench, split):
    labelled = bench.labelled("clinc150")
    task = clinc_intents(bench.clinc150, bench.cache, split)
    assert task.questions == getattr(labelled, split).texts
    assert task.kinds[0].tolist() == getattr(labelled, split).labels.tolist()


def test_the_command_looks_at_validation_texts_unless_told():
    assert parser().parse_args([]).split == "validation"
    assert parser().parse_args(["--split", "test"]).split == "test"
