import numpy as np
import pytest

from models.compression.tasks.task import Examples, Task
from simulation.experiments.language.settings import TfIdfSettings
from simulation.experiments.language.text_baselines import fit_probe, fit_tf_idf
from tests.models.compression.tiny_task import examples, tiny_task

SETTINGS = TfIdfSettings(longest_ngram=2, inverse_penalties=(0.1, 10.0), iterations=100)


def test_tf_idf_learns_what_words_tell():
    task = tiny_task()
    fitted = fit_tf_idf(task, SETTINGS)
    unseen = examples(30, first=200)
    assert np.mean(fitted.logits(unseen.texts).argmax(axis=1) == unseen.labels) > 0.9
    assert fitted.probe.validation_score == task.grade(fitted.logits(task.validation.texts))


def test_its_bytes_are_ngrams_and_weights():
    fitted = fit_tf_idf(tiny_task(), SETTINGS)
    grams = fitted.words.get_feature_names_out()
    letters = sum(len(gram) + 1 for gram in grams)
    assert fitted.num_bytes == letters + 4 * (3 * len(grams) + 3 + len(grams))


def test_the_penalty_is_chosen_by_validation_texts():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    train = rng.normal(size=(40, 30))
    validation = labels[:, None] * np.ones((1, 30))
    task = Task("two", Examples(("t",) * 40, labels), Examples(("v",) * 40, labels), 2, "accuracy")
    probe = fit_probe(task, train, validation, (0.01, 1.0), 100)
    scores = {
        C: fit_probe(task, train, validation, (C,), 100).validation_score for C in (0.01, 1.0)
    }
    assert probe.validation_score == max(scores.values())
    assert scores[probe.inverse_penalty] == max(scores.values())


def test_two_classes_have_two_columns():
    labels = np.asarray([0, 1] * 5)
    vectors = np.asarray([[0.0], [1.0]] * 5)
    texts = ("t",) * 10
    task = Task("two", Examples(texts, labels), Examples(texts, labels), 2, "accuracy")
    probe = fit_probe(task, vectors, vectors, (100.0,), 100)
    assert probe.logits(vectors).shape == (10, 2)
    assert probe.validation_score == pytest.approx(1.0)
