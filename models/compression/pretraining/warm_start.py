"""The warm start: the best bag of words the teacher can be cut to, seated inside the student.

A student of random weights needs hours to learn what a linear fit finds in seconds: which vector
each word adds to a sentence. So that is fitted first, and put into the student *exactly*: before
its first training step the student IS this bag of words, and training adds order and context.

```
1 prior     W0 = (the teacher's word embeddings) M, with M the best linear map           (ridge)
2 fit       W  = argmin ||X W - Y||^2 + penalty ||W - W0||^2, X = words of each text     (ridge)
3 cut       W ~ U R, U (words, E - 2): truncated SVD, words weighted by how often they occur
4 seat      U, and one filler number that gives all words one length, as the embedding table
```

Step 4 is what makes it exact. A LayerNorm is a mere factor on vectors of one length and mean 0, so
the table is written in a basis orthogonal to (1, ..., 1); that and the filler cost 2 of the E
dimensions. The map E -> H carries that basis over to another such basis; the outputs of attention
and feed-forward start at 0, so every layer passes its input on; the projector undoes the basis.

This is our choice, not EI-BERT's. Its relatives: Model2Vec (word vectors cut out of a sentence
encoder) and Fixup (H. Zhang et al., ICLR 2019: residual branches that start at 0).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from pydantic import BaseModel, Field

from models.compression.student import Student

_PRIOR_RIDGE = 1e-3
"""Of the mean diagonal: enough to solve safely with fewer texts than the teacher is wide."""

_DENSE_FROM = 0.05  # share of numbers that are not 0, above which dense products are faster
_TINY = 1e-30

_WAYS_OUT = ("attention_out", "feed_out")
"""Where a layer adds to what passes through it."""


class WarmStartSettings(BaseModel, extra="forbid", frozen=True):
    """How the bag of words is fitted and seated."""

    penalty: float = Field(description="pull of a word's vector to its prior", gt=0, le=100)
    rounds: int = Field(description="rounds of conjugate gradients", ge=1, le=1000)
    length_quantile: float = Field(
        description="word vectors longer than this quantile of all are cut to it", gt=0, le=1
    )


@dataclass(frozen=True, slots=True)
class WordVectors:
    """A bag of words: a text's vector is the mean of its words' vectors.

    Attributes:
        vectors: (words, vector_size) float64.
        counts: (words,) float64, texts that have the word, and one more.
    """

    vectors: np.ndarray
    counts: np.ndarray


def bag_of_words(texts_ids: list[list[int]], vocabulary_size: int) -> sparse.csr_matrix:
    """Return the share of each word in each text.

    >>> bag_of_words([[0, 2, 2, 1]], 3).toarray()
    array([[0.25, 0.25, 0.5 ]])
    """
    lengths = [len(ids) for ids in texts_ids]
    rows = np.repeat(np.arange(len(texts_ids)), lengths)
    shares = np.repeat(1.0 / np.asarray(lengths), lengths)
    columns = np.concatenate([np.asarray(ids) for ids in texts_ids])
    shape = (len(texts_ids), vocabulary_size)
    return sparse.coo_matrix((shares, (rows, columns)), shape=shape).tocsr()


def fit_word_vectors(
    bags: sparse.csr_matrix,
    targets: np.ndarray,
    weights: np.ndarray,
    teacher_embeddings: np.ndarray,
    settings: WarmStartSettings,
) -> WordVectors:
    """Fit the bag of words to the teacher's sentence vectors (steps 1 and 2).

    Args:
        bags: (texts, words), from `bag_of_words`.
        targets: (texts, vector_size) float32, what the teacher says.
        weights: (texts,) float64 > 0, how much a text counts.
        teacher_embeddings: (words, width) float32, of the kept words.
        settings: penalty and rounds.
    """
    scale = np.sqrt(weights)[:, None]
    X = sparse.csr_matrix(bags.multiply(scale))
    Y = targets.astype(np.float64) * scale
    prior = _linear_prior(X, Y, teacher_embeddings.astype(np.float64))
    correction = _conjugate_gradients(X, X.T @ (Y - X @ prior), settings.penalty, settings.rounds)
    counts = np.asarray((bags > 0).sum(axis=0), np.float64).ravel() + 1
    return WordVectors(prior + correction, counts)


def seat(student: Student, words: WordVectors, settings: WarmStartSettings, seed: int) -> None:
    """Write a bag of words into a student, so that it gives the same vectors (steps 3 and 4).

    Formal guarantee: afterwards the student's vector of a text is the direction of the mean of its
    words' vectors, as far as E - 2 dimensions and the length limit hold them.

    Args:
        student: changed in place.
        words: as many as the student has.
        settings: the length limit.
        seed: of the two bases.
    """
    E, H = student.settings.embedding_size, student.settings.hidden_size
    coordinates, readout = _cut_to_rank(words, min(E, H) - 2)
    rows, limit = _of_one_length(coordinates, settings.length_quantile)
    rng = np.random.Generator(np.random.PCG64(seed))
    inner = _basis_without_mean(E, rows.shape[1], rng)
    outer = inner if student.widen is None else _basis_without_mean(H, rows.shape[1], rng)
    projector = np.vstack([readout, np.zeros(readout.shape[1])])  # the filler says nothing
    with torch.no_grad():
        student.positions.weight.zero_()
        _copy(student.words.weight, rows @ inner.T, 1.0)
        if student.widen is not None:
            _copy(student.widen.weight, outer @ inner.T, np.sqrt(H / E))
        _copy(student.projector.weight, projector.T @ outer.T, limit)
        for name, module in student.layers.named_modules():
            if isinstance(module, torch.nn.Linear) and name.endswith(_WAYS_OUT):
                module.weight.zero_()
                module.bias.zero_()


def _linear_prior(X: sparse.csr_matrix, Y: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Return the teacher's embeddings, mapped linearly to where their texts should be."""
    centred: np.ndarray = embeddings - embeddings.mean(axis=0)
    Z = X @ centred
    gram = Z.T @ Z
    ridge = _PRIOR_RIDGE * np.trace(gram) / len(gram) + _TINY
    return centred @ np.linalg.solve(gram + ridge * np.eye(len(gram)), Z.T @ Y)


def _conjugate_gradients(
    X: sparse.csr_matrix, right: np.ndarray, penalty: float, rounds: int
) -> np.ndarray:
    """Solve (X'X + penalty I) W = right for all columns at once, preconditioned by the diagonal.

    Y. Saad, "Iterative Methods for Sparse Linear Systems", 2003, algorithm 9.1.
    """
    gram = _gram(X)
    inverse = 1.0 / (gram.diagonal() + penalty)[:, None]
    solution, residual = np.zeros_like(right), right.copy()
    step = direction = inverse * residual
    energy = (residual * step).sum(axis=0)
    for _ in range(rounds):
        if not energy.any():
            break  # solved exactly
        image = gram @ direction + penalty * direction
        rate = energy / np.maximum((direction * image).sum(axis=0), _TINY)
        solution += rate * direction
        residual -= rate * image
        step = inverse * residual
        fresh = (residual * step).sum(axis=0)
        direction = step + fresh / np.maximum(energy, _TINY) * direction
        energy = fresh
    return solution


def _gram(X: sparse.csr_matrix) -> sparse.csr_matrix | np.ndarray:
    """Return X'X: made once, whatever the number of texts, and dense if many words have met.

    The dense one takes half a gigabyte for 8,000 words; the texts themselves take more by then.
    """
    gram = sparse.csr_matrix(X.T @ X)
    return gram.toarray() if gram.nnz > _DENSE_FROM * gram.shape[0] ** 2 else gram


def _cut_to_rank(words: WordVectors, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return U (words, r) and R (r, vector_size), r <= rank, with U R near to the word vectors."""
    often = np.sqrt(words.counts)[:, None]
    _, axes = np.linalg.eigh((often * words.vectors).T @ (often * words.vectors))
    readout = axes[:, ::-1][:, :rank].T  # eigh sorts upwards
    return words.vectors @ readout.T, readout


def _of_one_length(coordinates: np.ndarray, quantile: float) -> tuple[np.ndarray, float]:
    """Cut long rows and append the filler that gives every row length 1.

    Returns:
        (words, r + 1) rows of length 1, and the length that 1 stands for.
    """
    lengths = np.linalg.norm(coordinates, axis=1)
    limit = max(float(np.quantile(lengths, quantile)), _TINY)
    shares = coordinates / np.maximum(lengths, limit)[:, None]
    filler = np.sqrt(np.maximum(1.0 - (shares**2).sum(axis=1), 0.0))
    return np.hstack([shares, filler[:, None]]), limit


def _basis_without_mean(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (size, count) orthonormal columns, each with mean 0."""
    columns = np.hstack([np.ones((size, 1)), rng.normal(size=(size, count))])
    return np.asarray(np.linalg.qr(columns)[0][:, 1:])


def _copy(target: torch.Tensor, values: np.ndarray, factor: float) -> None:
    target.copy_(torch.from_numpy(np.ascontiguousarray(values * factor)))
