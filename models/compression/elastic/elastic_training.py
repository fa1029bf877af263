"""Elastic training: one run for all sizes of an elastic student.

    one step     large, small and a few drawn between: gradients add up, one optimiser step
    loss         large: against the targets
                 others: (1 - imitation) * against the targets + imitation * against the large one's

The sandwich rule [1]: the largest and the smallest size learn in every step, those between take
turns. That a smaller size also learns what the largest just said is in-place distillation [1]; the
largest learns nothing from it. Words beyond a size's vocabulary and numbers beyond its corner get
no gradient from it.

The losses are those of `general_distillation`, the batches too; a killed run goes on from its
checkpoint to the same weights.

[1] J. Yu, T. Huang, "Universally Slimmable Networks", ICCV 2019, arXiv 1903.05134, section 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.compression.elastic.elastic_student import ElasticSettings, ElasticStudent
from models.compression.pretraining.batches import pad
from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.compression.pretraining.descent import set_rates
from models.compression.pretraining.general_distillation import (
    GRADIENT_LIMIT,
    rate_factor,
)
from models.compression.pretraining.shuffling import weighted_batches
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator

VectorLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps the student's vectors and the wanted ones, (B, V) each, rows of length 1, to one number."""


@dataclass(frozen=True, slots=True)
class ElasticLessons:
    """Texts and the vectors that every size shall give them.

    Attributes:
        ids: per size, smallest first, per text its pieces, framed and cut: each size splits the
            texts with its own vocabulary.
        targets: (n, V) float32, rows of length 1, V of the largest size, on principal axes.
        weights: (n,) float64, sums to 1, how often a text is drawn.
    """

    ids: Sequence[Sequence[Sequence[int]]]
    targets: np.ndarray
    weights: np.ndarray


def train_elastic(
    elastic: ElasticStudent,
    lessons: ElasticLessons,
    settings: ElasticSettings,
    loss: VectorLoss,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> list[float]:
    """Train all sizes together, in place.

    Args:
        elastic: whom to train.
        lessons: what it learns.
        settings: how; its sizes are those of `elastic`.
        loss: what is asked of the vectors, such as `general_distillation.vector_loss` with weights.
        seed: of the order of the texts and of the sizes that learn.
        progress: told about every step.
        checkpoints: folder to go on from and to write to; None keeps nothing.

    Returns:
        per step the mean loss of the sizes that learnt.

    Raises:
        DataError: if the texts are not split once for each size, with its own words, or the loss is
            no longer a finite number, or there is no such device.
    """
    _check_pieces(elastic, lessons)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise DataError('device is "cuda" but torch sees no GPU: set it to "cpu"')
    optimizer = _optimizer(elastic.to(settings.device), settings)
    done, losses = load_checkpoint(checkpoints, elastic, optimizer) if checkpoints else (0, [])
    lengths = np.asarray([len(ids) for ids in lessons.ids[-1]])
    course = (settings.batch_size, settings.steps, done, seed, "elastic-batches")
    for step, rows in weighted_batches(lengths, lessons.weights, *course):
        set_rates(optimizer, rate_factor(step, settings.steps, settings.warmup_share))
        optimizer.zero_grad()
        losses.append(
            _learn(elastic, lessons, rows, sandwich(settings, seed, step), settings, loss)
        )
        if not np.isfinite(losses[-1]):
            raise DataError(
                f"elastic training went astray at step {len(losses)} (loss {losses[-1]}): take a "
                f"lower learning_rate than {settings.learning_rate}"
            )
        nn.utils.clip_grad_norm_(elastic.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        is_due = len(losses) % settings.checkpoint_every == 0 or len(losses) == settings.steps
        if checkpoints and is_due:
            save_checkpoint(checkpoints, len(losses), elastic, optimizer, losses)
        progress("elastic training", len(losses), settings.steps)
    elastic.cpu()
    return losses


def sandwich(settings: ElasticSettings, seed: int, step: int) -> list[int]:
    """Return the sizes that learn in a step: the largest first, the smallest, some between [1]."""
    last = len(settings.sizes) - 1
    between = np.arange(1, last)
    count = min(settings.between, len(between))
    drawn = generator(seed, "elastic-sizes", step).choice(between, count, replace=False)
    return [last, 0, *drawn.tolist()]


def _learn(
    elastic: ElasticStudent,
    lessons: ElasticLessons,
    rows: np.ndarray,
    sizes: Sequence[int],
    settings: ElasticSettings,
    loss: VectorLoss,
) -> float:
    """Add up the gradients of the sizes, the largest first; return their mean loss."""
    targets = torch.from_numpy(lessons.targets[rows]).to(settings.device)
    said: Tensor | None = None
    total = 0.0
    for size in sizes:
        texts = pad([lessons.ids[size][row] for row in rows])
        x = elastic(*(tensor.to(settings.device) for tensor in texts), size)
        value = loss(x, _first_numbers(targets, x.shape[1]))
        if said is None:
            said = x.detach()
        elif settings.imitation > 0:
            alike = loss(x, _first_numbers(said, x.shape[1]))
            value = (1.0 - settings.imitation) * value + settings.imitation * alike
        (value / len(sizes)).backward()
        total += value.item()
    return total / len(sizes)


def _first_numbers(vectors: Tensor, count: int) -> Tensor:
    """Return the first numbers of vectors of length 1, made length 1 again."""
    return vectors if vectors.shape[1] == count else F.normalize(vectors[:, :count], dim=1)


def _optimizer(elastic: ElasticStudent, settings: ElasticSettings) -> torch.optim.AdamW:
    """Return AdamW as `general_distillation` has it: rare words take smaller steps."""
    words = elastic.largest.words.weight
    others = [p for p in elastic.parameters() if p is not words]
    rate, decay = settings.learning_rate, settings.weight_decay
    word_rate = rate * settings.word_rate_share
    groups: list[dict[str, object]] = [
        {"params": [p for p in others if p.ndim > 1], "peak": rate, "weight_decay": decay},
        {"params": [p for p in others if p.ndim == 1], "peak": rate, "weight_decay": 0.0},
        {"params": [words], "peak": word_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def _check_pieces(elastic: ElasticStudent, lessons: ElasticLessons) -> None:
    if len(lessons.ids) != len(elastic.sizes):
        raise DataError(
            f"the lessons are split for {len(lessons.ids)} sizes, the student has "
            f"{len(elastic.sizes)}: split the texts once per size"
        )
    for size, texts in zip(elastic.sizes, lessons.ids, strict=True):
        highest, longest = max(map(max, texts)), max(map(len, texts))
        if highest >= size.words or longest > size.student.max_tokens:
            raise DataError(
                f"texts of size {size.name!r} have {longest} pieces and ids up to {highest}, "
                f"allowed are {size.student.max_tokens} and {size.words - 1}: split them with its "
                "own words"
            )
