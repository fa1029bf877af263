"""What there is to learn: the texts, what the teacher said of each, and which are held back.

```
texts        items | queries | prose                   (n,)
teacher      vectors (n, width) --principal axes-->    targets (n, vector_size), length 1
held back    every 20th query and prose text           the student is judged by them
```

The targets are the teacher's vectors rotated onto their principal axes and cut to the student's
size, without centring, which keeps inner products as well as any linear map can [1].

[1] C. Eckart, G. Young, "The approximation of one matrix by another of lower rank", 1936.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.compression.teacher.corpus import CorpusTexts
from models.compression.teacher.text_teacher import Reading, TextTeacher, read
from models.errors import DataError
from models.progress import Progress, silent

MOST_JUDGED = 2000
"""At most so many texts are compared with the teacher's, spread over all of them."""

_SHORTEST = 1e-12
"""A vector shorter than this has no direction."""


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Everything the stages after the teacher work with.

    Attributes:
        texts: n texts in all.
        readings: of items, queries and prose, in this order; kinds without texts are left out.
        teacher_vectors: (n, width) float32, rows of length 1.
        targets: (n, vector_size) float32, rows of length 1.
        share_kept: mean squared length that the teacher's vectors keep in the targets' size, <= 1.
        held_back: (n,) bool, not to be learnt from.
    """

    texts: CorpusTexts
    readings: tuple[Reading, ...]
    teacher_vectors: np.ndarray
    targets: np.ndarray
    share_kept: float
    held_back: np.ndarray

    @property
    def num_items(self) -> int:
        """Item texts; they are the first rows."""
        return len(self.texts.items)

    @property
    def judged(self) -> np.ndarray:
        """Rows that an encoder is judged by: items, or the held-back prose of a general one."""
        rows = np.arange(self.num_items) if self.num_items else np.flatnonzero(self.held_back)
        spread = np.linspace(0, len(rows) - 1, min(MOST_JUDGED, len(rows))).astype(np.int64)
        return np.asarray(rows[spread])

    @property
    def held_back_queries(self) -> np.ndarray:
        """Rows of the queries that are held back."""
        rows = np.flatnonzero(self.held_back)
        return rows[rows < self.num_items + len(self.texts.queries)]


def study(
    teacher: TextTeacher,
    texts: CorpusTexts,
    vector_size: int,
    held_back_every: int,
    attention_every: int,
    cache: Path,
    progress: Progress = silent,
) -> Curriculum:
    """Let the teacher read all texts and make targets of what it says.

    Args:
        teacher: who reads.
        texts: what is read.
        vector_size: size of the targets, at most the teacher's.
        held_back_every: every so-many-th query and prose text is held back.
        attention_every: every so-many-th text is read with its attentions.
        cache: folder of earlier readings.
        progress: told about each batch.

    Raises:
        DataError: if vector_size is larger than the teacher's.
    """
    kinds = [kind for kind in (texts.items, texts.queries, texts.prose) if kind]
    readings = tuple(
        read(teacher, kind, cache, progress, attention_every=attention_every) for kind in kinds
    )
    vectors = np.concatenate([reading.vectors for reading in readings])
    held_back = texts.held_back(held_back_every)
    reduced = vectors @ principal_axes(vectors[~held_back], vector_size)
    lengths = np.linalg.norm(reduced, axis=1, keepdims=True)
    return Curriculum(
        texts=texts,
        readings=readings,
        teacher_vectors=vectors,
        targets=np.asarray(reduced / np.maximum(lengths, _SHORTEST), np.float32),
        share_kept=float((lengths**2).mean()),
        held_back=held_back,
    )


def principal_axes(vectors: np.ndarray, size: int) -> np.ndarray:
    """Return the (width, size) float32 matrix onto the principal axes of some vectors.

    Args:
        vectors: (n, width) float32.
        size: at most width.

    Raises:
        DataError: if the vectors have fewer numbers than `size`.
    """
    if size > vectors.shape[1]:
        raise DataError(
            f"vector_size is {size}, but the teacher's vectors have {vectors.shape[1]} numbers: "
            "set it to at most that"
        )
    columns = np.asarray(vectors, np.float64)
    _, axes = np.linalg.eigh(columns.T @ columns)  # sorted upwards
    return np.ascontiguousarray(axes[:, ::-1][:, :size], np.float32)


def learning_weights(curriculum: Curriculum, item_share: float, query_share: float) -> np.ndarray:
    """Return how often each text is drawn: fixed shares for items and queries, prose the rest.

    Within a kind all texts weigh the same; held-back texts weigh 0. The share of a kind without
    texts goes to the others in proportion.

    Args:
        curriculum: the texts.
        item_share: of the items, > 0.
        query_share: of the queries, with item_share at most 1.

    Returns:
        (n,) float64, sums to 1.
    """
    texts = curriculum.texts
    sizes = (len(texts.items), len(texts.queries), len(texts.prose))
    kind = np.repeat(np.arange(3), sizes)
    learnt = np.bincount(kind[~curriculum.held_back], minlength=3)
    shares = np.asarray([item_share, query_share, 1.0 - item_share - query_share])
    per_text = np.where(learnt > 0, shares / np.maximum(learnt, 1), 0.0)
    weights = np.where(curriculum.held_back, 0.0, per_text[kind])
    return np.asarray(weights / weights.sum())
