"""Distillation: the student learns to give each text the teacher's vector.

    batch of texts of like length --student--> x (B, V)      teacher's vectors, reduced: y (B, V)

    loss = mean_i (1 - x_i . y_i)                                    each vector where it belongs
         + relation_weight * mean_i KL( softmax(y_i . y_j / t) || softmax(x_i . x_j / t) )   j != i

The second term is relational distillation [1]: who is near to whom within the batch.

A batch is drawn by weight (item texts and queries have a fixed share, however much prose there is)
and sorted by length within a pool of batches, so that little padding is computed. The number of
steps is a setting and the clock is not looked at: same seed and thread count, same student.

[1] W. Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068, in the softmax
    form of N. Passalis, A. Tefas, "Probabilistic Knowledge Transfer", ECCV 2018.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from models.compression.student import Student
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator

POOL_BATCHES = 32
"""Batches drawn and sorted by length together."""

GRADIENT_LIMIT = 1.0
"""Longest gradient; a longer one is scaled down to it."""

_NEVER = -1e9
_PAD_ID = 0


class DistillationSettings(BaseModel, extra="forbid", frozen=True):
    """How long and how fast the student learns."""

    steps: int = Field(description="optimiser steps", ge=1)
    batch_size: int = Field(description="texts per step", ge=2, le=4096)
    learning_rate: float = Field(description="highest rate of AdamW", gt=0, le=1)
    warmup_share: float = Field(
        description="share of the steps in which the rate rises", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of words, norms and biases", ge=0)
    relation_weight: float = Field(description="of the relation loss", ge=0)
    temperature: float = Field(description="t of the relation loss", gt=0)
    item_share: float = Field(description="share of item texts in a batch", gt=0, le=1)
    query_share: float = Field(description="share of queries in a batch; prose has the rest", ge=0)

    @model_validator(mode="after")
    def _shares_fit(self) -> "DistillationSettings":
        if self.item_share + self.query_share > 1:
            raise ValueError(
                f"item_share {self.item_share} and query_share {self.query_share} are above 1 "
                "together"
            )
        return self


@dataclass(frozen=True, slots=True)
class Lessons:
    """Texts and the vectors that the student shall give them.

    Attributes:
        ids: per text its pieces, the student's ids, framed and cut.
        targets: (n, V) float32, rows of length 1.
        weights: (n,) float64, sums to 1, how often a text is drawn.
    """

    ids: Sequence[list[int]]
    targets: np.ndarray
    weights: np.ndarray


def distil(
    student: Student,
    lessons: Lessons,
    settings: DistillationSettings,
    seed: int,
    progress: Progress = silent,
) -> list[float]:
    """Train the student in place.

    Args:
        student: whom to train.
        lessons: what it learns.
        settings: how.
        seed: of the order of the texts.
        progress: told about every step.

    Returns:
        the loss of every step.

    Raises:
        DataError: if the loss is no longer a finite number.
    """
    optimizer = _optimizer(student, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, settings.steps, settings.warmup_share)
    )
    targets = torch.from_numpy(lessons.targets)
    losses: list[float] = []
    student.train()
    for rows in _batches(lessons, settings, seed):
        ids, mask = pad([lessons.ids[row] for row in rows])
        loss = distillation_loss(student(ids, mask), targets[rows], settings)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise DataError(
                f"distillation went astray at step {len(losses)} (loss {losses[-1]}): take a lower "
                f"learning_rate than {settings.learning_rate}"
            )
        progress("distillation", len(losses), settings.steps)
    student.eval()
    return losses


def distillation_loss(x: Tensor, y: Tensor, settings: DistillationSettings) -> Tensor:
    """Return the loss of the module docstring.

    Args:
        x: (B, V) float32, the student's vectors, rows of length 1.
        y: (B, V) float32, the teacher's, rows of length 1.
        settings: relation_weight and temperature.
    """
    apart = (1.0 - (x * y).sum(dim=1)).mean()
    if settings.relation_weight == 0 or len(x) < 2:
        return apart
    itself = torch.eye(len(x)) * _NEVER
    ours = F.log_softmax(x @ x.T / settings.temperature + itself, dim=1)
    theirs = F.log_softmax(y @ y.T / settings.temperature + itself, dim=1)
    relation = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return apart + settings.relation_weight * relation


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the highest rate at a step: up in a line, then down in a line to 0.

    >>> [round(rate_factor(step, 4, 0.5), 2) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup = int(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))


def encode_ids(student: Student, texts_ids: Sequence[list[int]], batch_size: int) -> np.ndarray:
    """Encode many texts with torch, for judging; a phone encodes one at a time.

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


def pad(texts_ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (B, longest) int64."""
    longest = max(len(ids) for ids in texts_ids)
    padded = np.full((len(texts_ids), longest), _PAD_ID, np.int64)
    mask = np.zeros((len(texts_ids), longest), np.int64)
    for row, ids in enumerate(texts_ids):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _batches(lessons: Lessons, settings: DistillationSettings, seed: int) -> Iterator[np.ndarray]:
    """Yield `steps` batches of row numbers; each pool of batches has its own draws."""
    lengths = np.asarray([len(ids) for ids in lessons.ids])
    for first in range(0, settings.steps, POOL_BATCHES):
        rng = generator(seed, "distillation-batches", first)
        size = (POOL_BATCHES, settings.batch_size)
        pool = rng.choice(len(lengths), size=size, p=lessons.weights).ravel()
        pool = pool[np.argsort(lengths[pool], kind="stable")].reshape(size)
        rng.shuffle(pool)
        yield from pool[: settings.steps - first]


def _optimizer(student: Student, settings: DistillationSettings) -> torch.optim.AdamW:
    words = student.albert.get_input_embeddings().weight
    matrices = [p for p in student.parameters() if p.ndim > 1 and p is not words]
    rest = [words, *(p for p in student.parameters() if p.ndim == 1)]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
