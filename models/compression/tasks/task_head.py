"""The student on a task: the teacher's head inside it while it learns, folded away when it ships.

```
text --student--> pooled s (H_S) --P, p--> f_S (H_T) --W, b (the teacher's head)--> z_S (C)  learns
                                 |
                                 +-- W P, W p + b -----------------------------------> z_S     ships
```

P and W are both affine, so one matrix (C, H_S) and one bias give the same logits: to reuse the
teacher's head costs no byte. That the teacher's task head is put into the student is EI-BERT's
*parameter integration*; the affine P and the folding are our choice, close to SimKD [1], which
keeps its projector. Three ways to keep the head, all compared:

    frozen   nobody trains it: the student must put its texts where the teacher's head expects them
    tied     one tensor in both, trained by both
    free     a copy that the student trains on

Without integration the student has a fresh head on its own pooled state, and P is only there for
the feature loss.

[1] D. Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022,
    arXiv 2203.14001.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.compression.export.encoder_graph import Readout
from models.compression.pretraining.batches import pad
from models.compression.student import INITIAL_SPREAD, Student
from models.seeds import integer_seed

HeadMode = Literal["frozen", "tied", "free"]

READING_BATCH = 128
"""Texts per forward pass when nothing is learnt."""

_RIDGE = 1e-3
"""Of the mean diagonal, in the fit of P."""


class TaskStudent(nn.Module):
    """The student, P, and the head that gives its logits."""

    def __init__(
        self,
        student: Student,
        teacher_head: nn.Linear,
        seed: int,
        *,
        integration: bool,
        head: HeadMode,
    ) -> None:
        """Put the head in.

        Args:
            student: learns in place.
            teacher_head: H_T -> C; "tied" and "frozen" hold the same object, "free" a copy.
            seed: of P, and of the fresh head.
            integration: whether the teacher's head is the student's.
            head: how it is kept; without meaning where there is no integration.
        """
        super().__init__()
        H = student.settings.hidden_size
        self.student = student
        self.integration = integration
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed(seed, "task-student"))
            self.to_teacher = nn.Linear(H, teacher_head.in_features)
            nn.init.normal_(self.to_teacher.weight, std=INITIAL_SPREAD)
            nn.init.zeros_(self.to_teacher.bias)
            fresh = nn.Linear(H, teacher_head.out_features)
            nn.init.normal_(fresh.weight, std=INITIAL_SPREAD)
            nn.init.zeros_(fresh.bias)
        if not integration:
            self.head = fresh
        elif head == "free":
            self.head = copy.deepcopy(teacher_head).requires_grad_(True)
        else:
            self.head = teacher_head.requires_grad_(head == "tied")

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_S (B, H_T) and z_S (B, C) of padded texts (B, T)."""
        pooled = self.student.pool(ids, mask)
        features: Tensor = self.to_teacher(pooled)
        return features, self.head(features if self.integration else pooled)

    def readout(self) -> Readout:
        """Return what ships: the logits as one linear map of the pooled state."""
        return fold(self.head, self.to_teacher if self.integration else None)


def fold(head: nn.Linear, projector: nn.Linear | None) -> Readout:
    """Return head(projector(s)) as one linear map of s.

    Formal guarantee: no logit changes by more than rounding (1e-5 at logits of usual size; the
    product is made in float64).

    Args:
        head: H_T -> C.
        projector: P, H_S -> H_T; None where the head reads the pooled state itself.
    """
    weight, bias = head.weight.detach().double(), head.bias.detach().double()
    if projector is not None:
        bias = bias + weight @ projector.bias.detach().double()
        weight = weight @ projector.weight.detach().double()
    matrix, offset = (values.numpy().astype(np.float32) for values in (weight, bias))
    return Readout("logits", matrix, offset, unit_length=False)


def fit_projector(pooled: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the P that is the best affine map by now: ridge regression, seconds.

    A better start than noise, above all for a student that was pre-trained on the same teacher. The
    teacher's mean is met by P's bias, which costs no byte once it is folded.

    Args:
        pooled: (n, H_S) float32, the student's.
        features: (n, H_T) float32, the teacher's.

    Returns:
        (H_T, H_S) and (H_T,), float32.
    """
    X, Y = pooled.astype(np.float64), features.astype(np.float64)
    x, y = X.mean(axis=0), Y.mean(axis=0)
    gram = (X - x).T @ (X - x)
    ridge = _RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float64).tiny
    weight = np.linalg.solve(gram + ridge * np.eye(len(gram)), (X - x).T @ (Y - y)).T
    return weight.astype(np.float32), (y - weight @ x).astype(np.float32)


def pool_all(student: Student, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the pooled states of many texts, (n, H_S) float32; like lengths share a batch."""
    pooled = np.zeros((len(ids), student.settings.hidden_size), np.float32)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    with torch.inference_mode():
        for start in range(0, len(order), READING_BATCH):
            rows = order[start : start + READING_BATCH]
            pooled[rows] = student.pool(*pad([ids[row] for row in rows])).numpy()
    return pooled


def predict_logits(student: Student, readout: Readout, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Return z_S of many texts through the folded map, as a phone computes it.

    Args:
        student: in evaluation mode.
        readout: weight (C, H_S) and bias (C,).
        ids: n texts in the student's pieces, see `models.wordpiece.split_texts`.

    Returns:
        (n, C) float32.
    """
    logits: np.ndarray = pool_all(student, ids) @ readout.weight.T
    return logits if readout.bias is None else logits + readout.bias
