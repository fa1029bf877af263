"""Texts of different lengths as one rectangle, and the encoder run over many of them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.compression.student import Student

PAD_ID = 0
"""`[PAD]` is the first word of every vocabulary we write."""


def pad(texts_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (B, longest) int64.

    >>> pad([[2, 7, 3], [2, 3]])[1].tolist()
    [[1, 1, 1], [1, 1, 0]]
    """
    longest = max(len(ids) for ids in texts_ids)
    padded = np.full((len(texts_ids), longest), PAD_ID, np.int64)
    mask = np.zeros((len(texts_ids), longest), np.int64)
    for row, ids in enumerate(texts_ids):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def encode_ids(student: Student, texts_ids: Sequence[Sequence[int]], batch_size: int) -> np.ndarray:
    """Encode many texts with torch, for judging; a phone encodes one at a time.

    Args:
        student: who encodes.
        texts_ids: per text its pieces, framed and cut.
        batch_size: texts per forward pass; texts of like length share one.

    Returns:
        (len(texts_ids), V) float32.
    """
    vectors = np.zeros((len(texts_ids), student.settings.vector_size), np.float32)
    order = sorted(range(len(texts_ids)), key=lambda row: len(texts_ids[row]))
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            vectors[rows] = student(*pad([texts_ids[row] for row in rows])).numpy()
    return vectors
