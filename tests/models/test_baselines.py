import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from models.baselines import (
    ease_scores,
    interaction_matrix,
    item_knn_scores,
    popularity_scores,
    random_scores,
)
from models.histories import Histories

HISTORIES = Histories(
    np.array([0, 3, 5, 9, 10]), np.array([0, 1, 2, 1, 2, 0, 2, 3, 4, 4], np.int32)
)
MATRIX = interaction_matrix(HISTORIES, 6)
DENSE = np.asarray(MATRIX.todense())


def test_the_matrix_holds_each_choice_once():
    twice = Histories(np.array([0, 3]), np.array([1, 1, 2], np.int32))
    assert interaction_matrix(twice, 4).todense().tolist() == [[0, 1, 1, 0]]
    assert DENSE.sum() == 10


def test_popularity_counts_users():
    assert popularity_scores(MATRIX)[2].tolist() == [2, 2, 3, 1, 2, 0]


def test_item_knn_is_the_sum_of_cosines():
    similarity = cosine_similarity(DENSE.T)
    np.fill_diagonal(similarity, 0)
    expected = DENSE @ similarity
    np.testing.assert_allclose(item_knn_scores(MATRIX, 100), expected, atol=1e-6)
    nearest = np.zeros_like(similarity)
    for item in range(6):
        top = similarity[:, item] >= np.sort(similarity[:, item])[-2]
        nearest[top, item] = similarity[top, item]
    np.testing.assert_allclose(item_knn_scores(MATRIX, 2), DENSE @ nearest, atol=1e-6)


def test_ease_solves_its_own_problem():
    """B minimises |X - XB|^2 + l2 |B|^2 with a zero diagonal: solve it item by item and compare."""
    l2 = 0.7
    weights = np.zeros((6, 6))
    for item in range(6):
        rest = np.delete(np.arange(6), item)
        x = DENSE[:, rest]
        weights[rest, item] = np.linalg.solve(x.T @ x + l2 * np.eye(5), x.T @ DENSE[:, item])
    np.testing.assert_allclose(ease_scores(MATRIX, l2), DENSE @ weights, atol=1e-5)


def test_random_scores_depend_on_the_seed_alone():
    assert np.array_equal(random_scores(3, 4, 1), random_scores(3, 4, 1))
    assert not np.array_equal(random_scores(3, 4, 1), random_scores(3, 4, 2))
