import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.pretraining.batches import pad
from models.compression.pretraining.warm_start import (
    WarmStartSettings,
    WordVectors,
    bag_of_words,
    fit_word_vectors,
    seat,
)
from models.compression.student import StudentSettings, build_student
from tests.models.conftest import TINY

WORDS = 30
WHOLE = WarmStartSettings(penalty=0.01, rounds=200, length_quantile=1.0)
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3], [2, 7, 29, 3]]


def seated(vectors, *, passes=2):
    shape = StudentSettings.model_validate({**TINY["student"], "passes": passes})
    student = build_student(shape, WORDS, seed=1).eval()
    seat(student, WordVectors(vectors, np.ones(len(vectors))), WHOLE, seed=2)
    return student


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_the_seated_student_is_the_bag_of_words(seed, passes):
    vectors = np.random.default_rng(seed).normal(size=(WORDS, TINY["student"]["vector_size"]))
    with torch.no_grad():
        got = seated(vectors, passes=passes)(*pad(TEXTS)).numpy()
    means = np.stack([vectors[text].mean(axis=0) for text in TEXTS])
    np.testing.assert_allclose(got, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


def test_all_words_have_one_length_and_mean_zero():
    vectors = np.random.default_rng(0).normal(size=(WORDS, 20))
    table = seated(vectors).words.weight.detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(table.mean(axis=1), 0, atol=1e-6)


def test_the_fit_is_the_ridge_solution():
    rng = np.random.default_rng(3)
    texts = [rng.integers(0, WORDS, size=rng.integers(2, 9)).tolist() for _ in range(80)]
    bags = bag_of_words(texts, WORDS)
    targets = rng.normal(size=(80, 5)).astype(np.float32)
    weights = rng.uniform(0.5, 2, size=80)
    # With embeddings of 0 the prior is 0, and the normal equations give the answer directly.
    fitted = fit_word_vectors(bags, targets, weights, np.zeros((WORDS, 4)), WHOLE)
    X = bags.toarray()
    gram = X.T @ (weights[:, None] * X) + WHOLE.penalty * np.eye(WORDS)
    expected = np.linalg.solve(gram, X.T @ (weights[:, None] * targets))
    np.testing.assert_allclose(fitted.vectors, expected, atol=1e-6)
    np.testing.assert_array_equal(fitted.counts, (X > 0).sum(axis=0) + 1)


def test_words_never_seen_follow_their_embedding():
    rng = np.random.default_rng(4)
    embeddings = rng.normal(size=(WORDS, 3)).astype(np.float32)
    meaning = rng.normal(size=(3, 5))
    texts = [rng.integers(0, WORDS - 1, size=4).tolist() for _ in range(200)]
    bags = bag_of_words(texts, WORDS)  # the last word is in no text
    targets = (bags @ (embeddings - embeddings.mean(axis=0)) @ meaning).astype(np.float32)
    fitted = fit_word_vectors(bags, targets, np.ones(200), embeddings, WHOLE)
    expected = (embeddings[-1] - embeddings.mean(axis=0)) @ meaning
    np.testing.assert_allclose(fitted.vectors[-1], expected, atol=0.02)


@given(st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=6), min_size=1))
def test_shares_of_a_text_add_up_to_one(texts):
    bags = bag_of_words(texts, WORDS)
    np.testing.assert_allclose(np.asarray(bags.sum(axis=1)).ravel(), 1)


def test_long_words_are_cut_to_the_quantile():
    vectors = np.ones((WORDS, 20)) * 0.01
    vectors[5] *= 1000
    student = build_student(StudentSettings.model_validate(TINY["student"]), WORDS, seed=1).eval()
    limit = WarmStartSettings(penalty=0.01, rounds=1, length_quantile=0.5)
    seat(student, WordVectors(vectors, np.ones(WORDS)), limit, seed=2)
    table = student.words.weight.detach().numpy()
    # Cut to the common length, the loud word is like all others.
    np.testing.assert_allclose(table[5], table[6], atol=1e-5)


def test_no_quantile_of_zero():
    with pytest.raises(ValueError, match="greater than 0"):
        WarmStartSettings(penalty=0.01, rounds=1, length_quantile=0)
