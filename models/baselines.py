"""What any recommender must beat: random, popularity, item-kNN and EASE, on pooled data.

All of them take the training interactions as one sparse matrix X (U, N) of zeros and ones and
return scores (U, N). They run on the server and see everybody's history.

[1] M. Deshpande, G. Karypis, "Item-based top-N recommendation algorithms", TOIS 2004.
[2] H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, equation 8.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.histories import Histories
from models.seeds import generator

Scores = NDArray[np.float32]


def interaction_matrix(histories: Histories, num_items: int) -> sparse.csr_matrix:
    """X: 1 where a user has interacted with an item at least once, (U, N) float32."""
    rows = np.repeat(np.arange(histories.num_users), histories.lengths())
    ones = np.ones(len(histories.items), dtype=np.float32)
    shape = (histories.num_users, num_items)
    matrix = sparse.csr_matrix((ones, (rows, histories.items)), shape=shape)
    matrix.data[:] = 1.0  # a repeated choice is still one choice
    return matrix


def random_scores(num_users: int, num_items: int, seed: int) -> Scores:
    """Uniform noise at the address (seed, "random-arm"): the floor."""
    return generator(seed, "random-arm").random((num_users, num_items), dtype=np.float32)


def popularity_scores(matrix: sparse.csr_matrix) -> Scores:
    """How many users chose each item, the same for everybody."""
    popularity = np.asarray(matrix.sum(axis=0), dtype=np.float32)  # (1, N)
    return np.repeat(popularity, matrix.shape[0], axis=0)


def item_knn_scores(matrix: sparse.csr_matrix, num_neighbours: int) -> Scores:
    """Sum of cosines to the user's items, `num_neighbours` nearest kept per item [1]."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0))).ravel()
    scaled = matrix @ sparse.diags(1.0 / np.maximum(norms, 1e-12))
    cosine = np.asarray((scaled.T @ scaled).todense(), dtype=np.float32)
    np.fill_diagonal(cosine, 0.0)
    if num_neighbours < cosine.shape[0]:
        weakest = np.partition(cosine, -num_neighbours, axis=0)[-num_neighbours]
        cosine[cosine < weakest] = 0.0
    return np.asarray(matrix @ cosine, dtype=np.float32)


def ease_scores(matrix: sparse.csr_matrix, l2: float) -> Scores:
    """EASE: B = I - P diag(1 / diag P), P = (X'X + l2 I)^-1; scores X B [2]."""
    gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += l2
    precision = np.linalg.inv(gram)
    weights = precision / -np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(matrix @ weights, dtype=np.float32)
