import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.compression.pretraining.curriculum import (
    Curriculum,
    learning_weights,
    principal_axes,
    study,
)
from models.compression.teacher.corpus import CorpusTexts
from models.compression.teacher.text_teacher import TeacherSettings, load_text_teacher
from models.errors import DataError

TEXTS = CorpusTexts(
    items=("heat crime", "old river", "love story"),
    queries=("heat", "river old", "story"),
    prose=("the old house", "a night in the city", "war"),
)


@pytest.fixture(scope="module")
def curriculum(teacher_folder, tmp_path_factory):
    teacher = load_text_teacher(teacher_folder, TeacherSettings(max_tokens=16, batch_size=4))
    return study(teacher, TEXTS, 6, 3, 1, tmp_path_factory.mktemp("cache"))


def test_targets_are_unit_vectors_of_the_asked_size(curriculum):
    assert curriculum.targets.shape == (9, 6)
    assert curriculum.targets.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(curriculum.targets, axis=1), 1, atol=1e-5)
    assert 0 < curriculum.share_kept <= 1 + 1e-6


def test_held_back_rows_are_queries_and_prose(curriculum):
    assert curriculum.held_back.tolist() == [False] * 3 + [True, False, False, True, False, False]
    assert curriculum.held_back_queries.tolist() == [3]


def test_all_axes_keep_all_inner_products(curriculum):
    vectors = curriculum.teacher_vectors
    axes = principal_axes(vectors, vectors.shape[1])
    np.testing.assert_allclose(
        (vectors @ axes) @ (vectors @ axes).T, vectors @ vectors.T, atol=1e-5
    )


@given(hnp.arrays(np.float32, (6, 4), elements=st.floats(-5, 5, width=32)))
def test_axes_are_orthonormal_and_sorted(vectors):
    axes = principal_axes(vectors, 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    kept = ((vectors @ axes) ** 2).sum(axis=0)
    assert (np.diff(kept) <= 1e-3 * (1 + kept.max())).all()


def test_more_numbers_than_the_teacher_has_raise(curriculum):
    with pytest.raises(DataError, match=r"vector_size is 33.*have 32"):
        principal_axes(curriculum.teacher_vectors, 33)


def test_learning_weights_by_hand(curriculum):
    weights = learning_weights(curriculum, item_share=0.3, query_share=0.5)
    expected = [0.1] * 3 + [0.0, 0.25, 0.25] + [0.0, 0.1, 0.1]
    np.testing.assert_allclose(weights, expected)


def test_the_share_of_a_missing_kind_goes_to_the_others():
    texts = CorpusTexts(items=("a", "b"), queries=("c",), prose=())
    vectors = np.eye(3, dtype=np.float32)
    bare = Curriculum(texts, (), vectors, vectors, 1.0, np.zeros(3, bool))
    np.testing.assert_allclose(learning_weights(bare, 0.4, 0.4), [0.25, 0.25, 0.5])
