import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.compression.neighbours import agreement, nearest, neighbour_agreement


def unit(rows, size, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nearest_by_hand():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    assert nearest(vectors, vectors, 2).tolist() == [[0, 1], [1, 0], [2, 1]]
    assert nearest(vectors, vectors, 2, same=True).tolist() == [[1, 2], [0, 2], [1, 0]]


def test_blocks_do_not_show(monkeypatch):
    vectors = unit(50, 4, 0)
    whole = nearest(vectors, vectors, 5, same=True)
    monkeypatch.setattr("models.compression.neighbours._BLOCK_ROWS", 7)
    np.testing.assert_array_equal(nearest(vectors, vectors, 5, same=True), whole)


def test_ties_go_by_row():
    same = np.ones((4, 1), np.float32)
    assert nearest(same, same, 2, same=True).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


@given(st.integers(2, 30), st.integers(0, 100))
def test_a_rotation_changes_no_neighbour(rows, seed):
    vectors = unit(rows, 5, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0].astype(np.float32)
    assert neighbour_agreement(vectors, vectors @ turn) > 0.99
    assert neighbour_agreement(vectors, vectors) == 1


def test_agreement_of_strangers_is_chance():
    found = neighbour_agreement(unit(500, 30, 1), unit(500, 30, 2), k=10)
    assert found < 0.05
    assert agreement(np.array([[1, 2]]), np.array([[3, 4]])) == 0
