"""The teacher while the student learns from it: frozen, or live and learning itself.

```
               frozen                                    live (mutual interplay)
f_T   a row of a table, computed once                    encoder(text) now, with gradients
z_T   head(f_T)                                          head(f_T)
```

The guard: when the teacher's validation score falls more than `guard_drop` below its best, it is
put back to its best and learns no more. A teacher that senses its student may be dragged towards
it. How EI-BERT keeps its teacher sound is not known; the guard is our choice.

When the live part ends, by the guard or by the clock, the teacher has a head of its own. A head
that was tied stays with the student as it is then: the tie is cut, and no logit of it jumps.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.compression.pretraining.descent import (
    Gradients,
    adamw,
    adamw_groups,
    gradients_of,
    set_rates,
)
from models.compression.pretraining.descent import descend as take_step
from models.compression.tasks.task_teacher import TaskTeacher
from models.compression.tasks.teacher_encoder import freeze_lowest, pool_all, pool_batch

Grade = Callable[[np.ndarray], float]
"""Maps logits of the validation texts, (m, C), to the task's score."""


@dataclass(frozen=True, slots=True)
class TeacherTexts:
    """The texts in the teacher's pieces, and what it said of them before anything was learnt.

    Attributes:
        ids: n texts.
        features: (n, H_T) float32, f_T.
        validation_ids: m texts.
        validation_features: (m, H_T) float32.
    """

    ids: Sequence[Sequence[int]]
    features: np.ndarray
    validation_ids: Sequence[Sequence[int]]
    validation_features: np.ndarray


class LiveTeacher:
    """A task teacher that may learn; the one it is made from stays as it is."""

    def __init__(self, teacher: TaskTeacher, texts: TeacherTexts, guard_drop: float) -> None:
        """Begin frozen.

        Args:
            teacher: whom to copy.
            texts: what it will be asked about.
            guard_drop: how far its score may fall below its best, 0 to 1.
        """
        self.head = copy.deepcopy(teacher.head).requires_grad_(False)
        self.score = -1.0
        self._encoder = teacher.model
        self._pad_id = teacher.pad_id
        self._texts = texts
        self._table = texts.features
        self._known = np.ones(len(self._table), bool)
        self._guard_drop = guard_drop
        self._best: tuple[float, dict[str, Tensor], dict[str, Tensor]] = (-1.0, {}, {})
        self._optimizer: torch.optim.AdamW | None = None
        self._settled = False

    @property
    def is_live(self) -> bool:
        """Whether it learns now."""
        return self._optimizer is not None

    def wake(self, rate: float, decay: float, frozen_layers: int) -> None:
        """Learn from now on; the head too, if it is one that learns.

        Args:
            rate: highest rate of AdamW.
            decay: of matrices.
            frozen_layers: lowest layers that stay as they are.
        """
        self._encoder = copy.deepcopy(self._encoder).eval()  # no dropout: one pass serves both
        freeze_lowest(self._encoder, frozen_layers)
        groups = adamw_groups(self._encoder, rate, decay) + adamw_groups(self.head, rate, decay)
        self._optimizer = adamw(groups)
        self._remember()

    def sleep(self) -> None:
        """Learn no more. The head is the teacher's own from now on."""
        self.head = copy.deepcopy(self.head).requires_grad_(False)
        self._settled = True
        if self.is_live:
            self._encoder.requires_grad_(False)
            self._table = np.zeros_like(self._texts.features)
            self._known = np.zeros(len(self._table), bool)
            self._optimizer = None

    def features(self, rows: np.ndarray, *, learn: bool) -> Tensor:
        """Return f_T of some texts, (B, H_T).

        Args:
            rows: (B,) numbers of the texts.
            learn: whether gradients are wanted; only a live teacher has any.
        """
        if self.is_live:
            with torch.set_grad_enabled(learn):
                return self._pool(rows)
        missing = rows[~self._known[rows]]
        if len(missing):
            with torch.no_grad():
                self._table[missing] = self._pool(missing).numpy()
            self._known[missing] = True
        return torch.from_numpy(self._table[rows])

    def gradients(self, loss: Tensor) -> Gradients:
        """Differentiate L_T; nothing moves."""
        assert self._optimizer is not None, "a frozen teacher has no gradients"
        return gradients_of(loss, self._optimizer)

    def descend(self, gradients: Gradients, factor: float) -> None:
        """Take one step at `factor` times the highest rate."""
        assert self._optimizer is not None, "a frozen teacher takes no step"
        set_rates(self._optimizer, factor)
        take_step(self._optimizer, gradients)

    def judge(self, grade: Grade) -> bool:
        """Measure it on the validation texts; sound the guard if it fell too far.

        Once it sleeps, nothing can change, and nothing is measured.

        Returns:
            whether the guard stopped it: it is then its best self again, and frozen.
        """
        if self._settled:
            return False
        self.score = grade(self._validation_logits())
        best_score, encoder, head = self._best
        if self.score >= best_score:
            self._remember()
        if self.score >= best_score - self._guard_drop:
            return False
        self.sleep()
        if encoder:
            self._encoder.load_state_dict(encoder)
        self.head.load_state_dict(head)
        self.score = best_score
        return True

    def _validation_logits(self) -> np.ndarray:
        features = self._texts.validation_features
        if self.is_live:
            features = pool_all(self._encoder, self._texts.validation_ids, self._pad_id)
        with torch.inference_mode():
            logits: np.ndarray = self.head(torch.from_numpy(np.array(features))).numpy()
        return logits

    def _remember(self) -> None:
        """Keep it as it is now: its best so far. A frozen encoder needs no keeping."""
        weights = _copy_of(self._encoder.state_dict()) if self.is_live else {}
        self._best = (self.score, weights, _copy_of(self.head.state_dict()))

    def _pool(self, rows: np.ndarray) -> Tensor:
        return pool_batch(self._encoder, [self._texts.ids[row] for row in rows], self._pad_id)


def _copy_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}
