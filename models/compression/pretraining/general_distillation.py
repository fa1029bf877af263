"""Student pre-training: general distillation, before any task is known.

    batch of texts of like length --student--> x (B, V)      teacher's vectors, reduced: y (B, V)

    loss = mean_i (1 - x_i . y_i)                                        each where it belongs
         + relation_weight * mean_i KL( softmax(y_i . y_j / t) || softmax(x_i . x_j / t) )  j != i
         + state_weight    * mean over places (1 - cos(A s, h))          the teacher's last states h
         + word_weight     * cross-entropy of hidden words               masked language model

The second term is relational distillation [1]: who is near to whom within the batch. The third runs
the teacher live on the student's own pieces, every one of which is a piece of the teacher too, so
places match one to one; the map A is thrown away [2]. The fourth hides 15 % of the pieces and asks
for them, with the word table as the output layer [3]. That pre-training comes before
cross-distillation is EI-BERT's; the terms are our choice, and docs/experiments.md has what each of
them was worth.

A batch is drawn by weight (item texts and queries have a fixed share, however much prose there is)
and sorted by length within a pool of batches, so that little padding is computed. The number of
steps is a setting and the clock is not looked at: same seed and thread count, same student, also
when the run was killed and went on from a checkpoint.

[1] W. Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068, in the softmax
    form of N. Passalis, A. Tefas, "Probabilistic Knowledge Transfer", ECCV 2018.
[2] X. Jiao et al., "TinyBERT", EMNLP Findings 2020, arXiv 1909.10351, hidden-state distillation.
[3] J. Devlin et al., "BERT", NAACL 2019, arXiv 1810.04805, section 3.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from models.compression.pretraining.batches import pad
from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.compression.pretraining.shuffling import weighted_batches
from models.compression.student import INITIAL_SPREAD, Student, mean_pool
from models.compression.teacher.text_teacher import TextTeacher
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from models.wordpiece import MASK, SPECIAL_TOKENS

GRADIENT_LIMIT = 1.0
"""Longest gradient; a longer one is scaled down to it."""

HIDDEN_SHARE = 0.15
"""Pieces that the masked language model hides, as in BERT; all of them become `[MASK]`."""

_NEVER = -1e9
_MASK_ID = SPECIAL_TOKENS.index(MASK)

TeacherStates = Callable[[Tensor, Tensor], Tensor]
"""Maps the student's ids and mask, (B, T) each, to the teacher's last states (B, T, width)."""


class PretrainingSettings(BaseModel, extra="forbid", frozen=True):
    """How long and how fast the student learns."""

    steps: int = Field(description="optimiser steps", ge=1)
    batch_size: int = Field(description="texts per step", ge=2, le=4096)
    learning_rate: float = Field(description="highest rate of AdamW", gt=0, le=1)
    word_rate_share: float = Field(
        description="rate of the word table as a share of learning_rate: it starts near its goal",
        gt=0,
        le=1,
    )
    warmup_share: float = Field(
        description="share of the steps in which the rate rises; it then falls to 0", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of words, norms and biases", ge=0)
    relation_weight: float = Field(description="of the relation loss", ge=0)
    temperature: float = Field(description="t of the relation loss", gt=0)
    state_weight: float = Field(description="of the teacher's hidden states; it runs live", ge=0)
    word_weight: float = Field(description="of the masked language model", ge=0)
    item_share: float = Field(description="share of item texts in a batch", ge=0, le=1)
    query_share: float = Field(description="share of queries in a batch; prose has the rest", ge=0)
    checkpoint_every: int = Field(description="steps between two checkpoints", ge=1)
    device: Literal["cpu", "cuda"] = Field(description="where the student is trained")

    @model_validator(mode="after")
    def _shares_fit(self) -> "PretrainingSettings":
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
        states: the teacher live, if its hidden states are learnt too.
        state_size: their width.
    """

    ids: Sequence[list[int]]
    targets: np.ndarray
    weights: np.ndarray
    states: TeacherStates | None = None
    state_size: int = 0


class _Learner(nn.Module):
    """The student and the maps that only the losses need."""

    def __init__(self, student: Student, lessons: Lessons, settings: PretrainingSettings) -> None:
        super().__init__()
        H, E = student.settings.hidden_size, student.settings.embedding_size
        self.student = student
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.to_states = nn.Linear(H, lessons.state_size) if settings.state_weight else None
            self.to_words = nn.Linear(H, E) if settings.word_weight else None
        for linear in (self.to_states, self.to_words):
            if linear is not None:
                nn.init.normal_(linear.weight, std=INITIAL_SPREAD)


def pretrain(
    student: Student,
    lessons: Lessons,
    settings: PretrainingSettings,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> list[float]:
    """Train the student in place.

    Args:
        student: whom to train.
        lessons: what it learns.
        settings: how.
        seed: of the order of the texts.
        progress: told about every step.
        checkpoints: folder to go on from and to write to; None keeps nothing.

    Returns:
        the loss of every step.

    Raises:
        DataError: if the loss is no longer a finite number, hidden states are asked for without a
            teacher to give them, or there is no such device.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise DataError('device is "cuda" but torch sees no GPU: set it to "cpu"')
    if settings.state_weight and lessons.states is None:
        raise DataError("state_weight is above 0 but there is no live teacher: set it to 0")
    learner = _Learner(student, lessons, settings).to(settings.device)
    optimizer = _optimizer(learner, settings)
    done, losses = load_checkpoint(checkpoints, learner, optimizer) if checkpoints else (0, [])
    targets = torch.from_numpy(lessons.targets)
    student.train()
    lengths = np.asarray([len(ids) for ids in lessons.ids])
    course = (settings.batch_size, settings.steps, done, seed, "pretraining-batches")
    for step, rows in weighted_batches(lengths, lessons.weights, *course):
        factor = rate_factor(step, settings.steps, settings.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["highest_rate"]
        texts = pad([lessons.ids[row] for row in rows])
        ids, mask, y = (tensor.to(settings.device) for tensor in (*texts, targets[rows]))
        loss = _loss(learner, ids, mask, y, lessons, settings, (seed, step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise DataError(
                f"pre-training went astray at step {len(losses)} (loss {losses[-1]}): take a lower "
                f"learning_rate than {settings.learning_rate}"
            )
        is_due = len(losses) % settings.checkpoint_every == 0 or len(losses) == settings.steps
        if checkpoints and is_due:
            save_checkpoint(checkpoints, len(losses), learner, optimizer, losses)
        progress("pre-training", len(losses), settings.steps)
    student.cpu().eval()
    return losses


def teacher_states(teacher: TextTeacher, teacher_ids: np.ndarray) -> TeacherStates:
    """Return the teacher as a map from the student's pieces to its own last states.

    Args:
        teacher: it stays as it is.
        teacher_ids: (student's words,) int64, each piece's id in the teacher's vocabulary.
    """
    table = torch.from_numpy(teacher_ids)

    def states(ids: Tensor, mask: Tensor) -> Tensor:
        output = teacher.model(input_ids=table[ids], attention_mask=mask)
        last: Tensor = output.last_hidden_state
        return last

    return states


def vector_loss(x: Tensor, y: Tensor, relation_weight: float, temperature: float) -> Tensor:
    """Return the first two terms of the module docstring.

    Args:
        x: (B, V) float32, the student's vectors, rows of length 1.
        y: (B, V) float32, the teacher's, rows of length 1.
        relation_weight: of the second term.
        temperature: t.
    """
    apart = (1.0 - (x * y).sum(dim=1)).mean()
    if relation_weight == 0 or len(x) < 2:
        return apart
    itself = torch.eye(len(x), device=x.device) * _NEVER
    ours = F.log_softmax(x @ x.T / temperature + itself, dim=1)
    theirs = F.log_softmax(y @ y.T / temperature + itself, dim=1)
    relation = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return apart + relation_weight * relation


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the highest rate at a step: up in a line, then down in a line to 0.

    >>> [round(rate_factor(step, 4, 0.5), 2) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warmup = int(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))


def _loss(
    learner: _Learner,
    ids: Tensor,
    mask: Tensor,
    y: Tensor,
    lessons: Lessons,
    settings: PretrainingSettings,
    address: tuple[int, int],
) -> Tensor:
    student = learner.student
    states = student.hidden_states(ids, mask)[-1]
    x = F.normalize(student.projector(mean_pool(states, mask)), dim=1)
    loss = vector_loss(x, y, settings.relation_weight, settings.temperature)
    if learner.to_states is not None and lessons.states is not None:
        with torch.no_grad():
            wanted = lessons.states(ids.cpu(), mask.cpu()).to(ids.device)
        alike = F.cosine_similarity(learner.to_states(states), wanted, dim=2)
        loss = loss + settings.state_weight * (1.0 - alike)[mask > 0].mean()
    if learner.to_words is not None:
        hidden, places = _hide(ids, mask, address)
        read = student.hidden_states(hidden, mask)[-1][places]
        scores = learner.to_words(read) @ student.words.weight.T
        loss = loss + settings.word_weight * F.cross_entropy(scores, ids[places])
    return loss


def _hide(ids: Tensor, mask: Tensor, address: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return ids with some pieces hidden, at least one, and where (B, T) bool."""
    seed, step = address
    draws = generator(seed, "hidden-words", step).random(tuple(ids.shape))
    drawn = torch.from_numpy(draws).to(ids.device)
    drawn[(mask == 0) | (ids < len(SPECIAL_TOKENS))] = 2.0
    places = drawn <= max(HIDDEN_SHARE, float(drawn.min()))
    return torch.where(places, _MASK_ID, ids), places


def _optimizer(learner: _Learner, settings: PretrainingSettings) -> torch.optim.AdamW:
    words = learner.student.words.weight
    matrices = [p for p in learner.parameters() if p.ndim > 1 and p is not words]
    vectors = [p for p in learner.parameters() if p.ndim == 1]
    rate, decay = settings.learning_rate, settings.weight_decay
    groups: list[dict[str, object]] = [
        {"params": matrices, "weight_decay": decay, "highest_rate": rate},
        {"params": vectors, "weight_decay": 0.0, "highest_rate": rate},
        # A rare word is met seldom, and AdamW takes a full step each time.
        {
            "params": [words],
            "weight_decay": 0.0,
            "highest_rate": rate * settings.word_rate_share,
        },
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
