"""The warm start of elastic training: a bag of words that is exact at every size.

`warm_start` seats the best bag of words inside one student. Here the seats are ordered, so that
each size's corner holds its own best bag of words: the first principal axes, as many as fit.

```
table row of a word     [ axes 1..r1, filler ] [ axes r1+1..r2, filler ] ...      one block per size
                          E of the smallest      what the next size has more
every block             mean 0 and one length for all words
so every corner         mean 0 and one length: its LayerNorm is a mere factor, nothing is bent
```

A block costs 2 of its numbers: one for the mean, one for the filler that makes the length. Inside,
block k may use all of H up to size k, for smaller sizes never see that block.

This is our choice; the parts that it shares with `warm_start` are explained there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import nn

from models.compression.elastic.elastic_student import ElasticSize, ElasticStudent
from models.compression.elastic.elastic_training import ElasticLessons
from models.compression.pretraining.warm_start import (
    WarmStartSettings,
    WordVectors,
    bag_of_words,
    fit_word_vectors,
)
from models.errors import DataError

_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class _Block:
    """Where some principal axes sit.

    Attributes:
        axes: which ones; may be none.
        rows: (E, axes + 1) orthonormal, the block's part of the table; the last is the filler.
        places: (H, axes + 1) orthonormal, where the same numbers are inside.
    """

    axes: slice
    rows: np.ndarray
    places: np.ndarray


def start_elastic(
    elastic: ElasticStudent,
    lessons: ElasticLessons,
    teacher_embeddings: np.ndarray,
    settings: WarmStartSettings,
    seed: int,
) -> None:
    """Fit one bag of words to all sizes' splits of the texts, and seat it.

    Args:
        elastic: changed in place.
        lessons: texts of weight 0 are not looked at.
        teacher_embeddings: (words of the largest, width) float32.
        settings: penalty, rounds and length limit.
        seed: of the bases.
    """
    learnt = np.flatnonzero(lessons.weights).tolist()
    words, sizes = elastic.sizes[-1].words, len(elastic.sizes)
    bags = [bag_of_words([list(ids[row]) for row in learnt], words) for ids in lessons.ids]
    vectors = fit_word_vectors(
        sparse.csr_matrix(sparse.vstack(bags)),
        np.tile(lessons.targets[learnt], (sizes, 1)),
        np.tile(lessons.weights[learnt] * len(learnt) / sizes, sizes),
        teacher_embeddings,
        settings,
    )
    seat_elastic(elastic, vectors, settings.length_quantile, seed)


def seat_elastic(
    elastic: ElasticStudent, words: WordVectors, length_quantile: float, seed: int
) -> None:
    """Write a bag of words into all sizes.

    Guarantee: each size's vector of a text is then the direction of the mean of its words' vectors,
    cut to the size's first principal axes and to its `vector_size`.

    Args:
        elastic: changed in place.
        words: as many as the largest has.
        length_quantile: a word's numbers within a block that are longer than this quantile of all
            words' are cut to it.
        seed: of the bases.

    Raises:
        DataError: if there are not as many words.
    """
    largest = elastic.largest
    if len(words.vectors) != len(largest.words.weight):
        raise DataError(
            f"the bag of words has {len(words.vectors)} words, the largest size has "
            f"{len(largest.words.weight)}: fit it with that size's vocabulary"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    blocks = _blocks(elastic.sizes, words.vectors.shape[1], rng)
    axes = _principal_axes(words)
    table = np.zeros(tuple(largest.words.weight.shape))
    readout = np.zeros(tuple(largest.projector.weight.shape))
    scale = 0.0
    for block in blocks:
        filled, limit = _of_one_length(words.vectors @ axes[:, block.axes], length_quantile)
        table += filled @ block.rows.T
        readout += axes[:, block.axes] @ block.places[:, :-1].T  # the filler says nothing
        scale += limit**2
    _write(largest, table / np.sqrt(scale), blocks, readout * np.sqrt(scale))
    for norm in elastic.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.reset_parameters()


def _blocks(sizes: Sequence[ElasticSize], num_axes: int, rng: np.random.Generator) -> list[_Block]:
    """Share out the principal axes over the sizes; a size that adds no numbers has no block."""
    E, H = sizes[-1].student.embedding_size, sizes[-1].student.hidden_size
    blocks: list[_Block] = []
    taken = np.zeros((H, 0))
    first, before = 0, 0
    for size in sizes:
        more, inside = size.student.embedding_size - before, size.student.hidden_size
        free = inside - 1 - taken.shape[1]  # 1: all of them have mean 0
        count = min(more - 2, free - 1, num_axes - first)
        if count > 0:
            rows, places = np.zeros((E, count + 1)), np.zeros((H, count + 1))
            rows[before : before + more] = _without_mean(np.zeros((more, 0)), count + 1, rng)
            places[:inside] = _without_mean(taken[:inside], count + 1, rng)
            if E == H:
                places = rows  # nothing is widened: the table is what is inside
            blocks.append(_Block(slice(first, first + count), rows, places))
            taken, first = np.hstack([taken, places]), first + count
        before += more
    return blocks


def _principal_axes(words: WordVectors) -> np.ndarray:
    """Return (V, V) columns: the axes of the words as often as they occur, the longest first."""
    often = np.sqrt(words.counts)[:, None] * words.vectors
    return np.asarray(np.linalg.eigh(often.T @ often)[1][:, ::-1])  # eigh sorts upwards


def _of_one_length(numbers: np.ndarray, quantile: float) -> tuple[np.ndarray, float]:
    """Cut long rows and append the filler that gives all rows one length.

    Returns:
        (words, axes + 1) rows of that length, and the length.
    """
    lengths = np.linalg.norm(numbers, axis=1)
    limit = max(float(np.quantile(lengths, quantile)), _TINY)
    cut = numbers * (limit / np.maximum(lengths, limit))[:, None]
    filler = np.sqrt(np.maximum(limit**2 - (cut**2).sum(axis=1), 0.0))
    return np.hstack([cut, filler[:, None]]), limit


def _without_mean(taken: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, count) orthonormal columns of mean 0, orthogonal to the (n, m) taken ones."""
    n, m = taken.shape
    columns = np.hstack([np.ones((n, 1)), taken, rng.normal(size=(n, count))])
    return np.asarray(np.linalg.qr(columns)[0][:, m + 1 :])


def _write(
    largest: nn.Module, table: np.ndarray, blocks: Sequence[_Block], readout: np.ndarray
) -> None:
    """Put table, widening and readout in place; every way out of a layer starts at 0."""
    weights = dict(largest.named_parameters())
    values = {"words": table, "projector": readout}
    if "widen.weight" in weights:
        widened = np.hstack([b.places for b in blocks]) @ np.hstack([b.rows for b in blocks]).T
        values["widen"] = widened * np.sqrt(widened.shape[0] / widened.shape[1])
    with torch.no_grad():
        for name, value in values.items():
            weights[f"{name}.weight"].copy_(torch.from_numpy(np.ascontiguousarray(value)))
        for name, weight in weights.items():
            if name.startswith("positions.") or name == "widen.bias" or _is_way_out(name):
                weight.zero_()


def _is_way_out(name: str) -> bool:
    """Say whether a weight is of what a layer or an adapter adds to what passes through it."""
    return any(f".{part}." in name for part in ("attention_out", "feed_out", "up"))
