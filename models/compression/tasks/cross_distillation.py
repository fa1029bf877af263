"""Cross-distillation: the student learns in the teacher's shoes, and the teacher senses it.

```
        text ---------------------------------------+
         |                                          |
   student + P (large rate)               teacher (small rate, stage ii only)
         |                                          |
   f_S --+-- head --> z_S     MSE, KL     z_T <-- head -- f_T
                              <----->
L_S = a MSE(f_S, sg f_T) + b t^2 KL(softmax(sg z_T / t) || softmax(z_S / t)) + c CE(z_S, y)
L_T = CE(z_T, y) + d ( MSE(f_T, sg f_S) + t^2 KL(softmax(sg z_S / t) || softmax(z_T / t)) )

i    align     MSE only            a live teacher would be dragged towards a random student
ii   joint     both directions     with the guard on the teacher's validation score
iii  polish    L_S, teacher frozen
```

What is EI-BERT's [1]: the fine-tuned teacher's task head is put into the student (*parameter
integration*, `task_head`); the teacher goes on learning at a small rate and senses the student,
which learns at a large one, by MSE + KL in both directions (*mutual interplay*, `live_teacher`).
What is our choice: the formulas (`interplay`), stages, weights, rates and guard. The nearest
published relatives are deep mutual learning [2] and SimKD [3].

`integration` and `mutual` are two switches of one function: both off is plain distillation with
features and logits. With `mutual` off the teacher never runs: its features come from the disk.

- P starts as the best linear map by now (ridge regression).
- The student returned is the one that scores best on the validation texts, the latest of equals.

[1] "Put Teacher in Student's Shoes: Cross-Distillation for Ultra-compact Model Compression
    Framework", KDD 2025, arXiv 2507.04636.
[2] Y. Zhang et al., "Deep Mutual Learning", CVPR 2018, arXiv 1706.00384.
[3] D. Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022,
    arXiv 2203.14001.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.compression.export.encoder_graph import Readout
from models.compression.pretraining.batches import pad
from models.compression.pretraining.descent import (
    adamw,
    adamw_groups,
    descend,
    gradients_of,
    set_rates,
)
from models.compression.pretraining.general_distillation import rate_factor
from models.compression.pretraining.shuffling import mixed_batches
from models.compression.student import Student
from models.compression.tasks.interplay import (
    NO_LABEL,
    CrossDistillationSettings,
    squared_error,
    student_loss,
    teacher_loss,
)
from models.compression.tasks.live_teacher import LiveTeacher, TeacherTexts
from models.compression.tasks.task import Task, check_texts
from models.compression.tasks.task_head import (
    TaskStudent,
    fit_projector,
    pool_all,
    predict_logits,
)
from models.compression.tasks.task_teacher import TaskTeacher
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from models.threads import fixed_threads
from models.wordpiece import split_texts

Stage = Literal["align", "joint", "polish"]

_FIT_TEXTS = 8192
"""Texts that P is fitted on before the first step."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Where things stood at one look at validation.

    Attributes:
        stage: it was in.
        step: steps taken, over all stages.
        student_loss: mean L_S since the look before.
        feature_error: mean MSE since then, in units of the teacher's variance.
        student_score: on the validation texts, 0 to 1.
        teacher_score: likewise.
        teacher_learns: whether it still did, after this look.
    """

    stage: Stage
    step: int
    student_loss: float
    feature_error: float
    student_score: float
    teacher_score: float
    teacher_learns: bool


@dataclass(frozen=True, slots=True)
class Taught:
    """A student that knows the task.

    Attributes:
        student: in evaluation mode.
        readout: its logits as a linear map of its pooled state; all of the head that ships.
        history: one row per look at validation.
        best: the row of the student returned.
    """

    student: Student
    readout: Readout
    history: tuple[HistoryRow, ...]
    best: HistoryRow


def cross_distil(
    student: Student,
    tokenizer: Tokenizer,
    teacher: TaskTeacher,
    task: Task,
    extra_texts: Sequence[str],
    settings: CrossDistillationSettings,
    cache: Path,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> Taught:
    """Teach a copy of the student a task; student and teacher given stay as they are.

    Formal guarantees:
        - same arguments, same weights;
        - with `mutual` off the teacher's encoder runs for texts that the cache lacks, and never
          while the student learns;
        - the readout's logits are those of P and head, see `fold`.

    Args:
        student: of any kind; its projector plays no part.
        tokenizer: the student's, see `build_tokenizer`.
        teacher: fine-tuned on this task, see `fine_tune`.
        task: what is learnt.
        extra_texts: that have no label; may be none.
        settings: how.
        cache: folder of the teacher's features.
        seed: of P, of a fresh head and of the order of the texts.
        threads: of torch.
        progress: told about every step.

    Raises:
        DataError: if an extra text is empty, the teacher has another number of classes, or a loss
            is no longer a finite number.
    """
    check_texts(f"task {task.name!r}, extra texts", tuple(extra_texts))
    if teacher.num_labels != task.num_labels:
        raise DataError(
            f"task {task.name!r} has {task.num_labels} classes and its teacher "
            f"{teacher.num_labels}: fine-tune a teacher on this task"
        )
    with fixed_threads(threads):
        lessons = _prepare(student, tokenizer, teacher, task, extra_texts, cache, progress)
        return _Run(copy.deepcopy(student), teacher, task, lessons, settings, seed).go(progress)


@dataclass(frozen=True, slots=True)
class _Lessons:
    """All texts, labelled ones first, in both languages.

    Attributes:
        ids: n texts in the student's pieces.
        validation_ids: m texts in the student's pieces.
        labels: (n,) int64, `NO_LABEL` where there is none.
        for_teacher: the same texts in the teacher's pieces, and its features.
    """

    ids: list[list[int]]
    validation_ids: list[list[int]]
    labels: Tensor
    for_teacher: TeacherTexts


def _prepare(
    student: Student,
    tokenizer: Tokenizer,
    teacher: TaskTeacher,
    task: Task,
    extra_texts: Sequence[str],
    cache: Path,
    progress: Progress,
) -> _Lessons:
    train, validation = task.train.texts, task.validation.texts
    features = [teacher.features(train, cache, progress)]
    if extra_texts:
        features.append(teacher.features(extra_texts, cache, progress))
    everything = [*train, *extra_texts]
    longest = student.settings.max_tokens
    labels = np.full(len(everything), NO_LABEL, np.int64)
    labels[: len(train)] = task.train.labels
    return _Lessons(
        ids=split_texts(tokenizer, everything, longest),
        validation_ids=split_texts(tokenizer, validation, longest),
        labels=torch.from_numpy(labels),
        for_teacher=TeacherTexts(
            ids=teacher.split(everything),
            features=np.concatenate(features),
            validation_ids=teacher.split(validation),
            validation_features=teacher.features(validation, cache, progress),
        ),
    )


class _Run:
    """One run of the three stages: student, teacher, and the best so far."""

    def __init__(
        self,
        student: Student,
        teacher: TaskTeacher,
        task: Task,
        lessons: _Lessons,
        settings: CrossDistillationSettings,
        seed: int,
    ) -> None:
        self.task, self.lessons, self.settings = task, lessons, settings
        features = lessons.for_teacher.features
        self.num_labelled = len(task.train.texts)
        self.unit = float(features[: self.num_labelled].var(axis=0).mean()) or 1.0
        share = settings.labelled_share if len(features) > self.num_labelled else 1.0
        self.expected_labels = share * settings.batch_size
        self.teacher = LiveTeacher(teacher, lessons.for_teacher, settings.guard_drop)
        self.learner = TaskStudent(
            student,
            self.teacher.head,
            seed,
            integration=settings.integration,
            head=settings.head,
        )
        if settings.mutual and (not settings.integration or settings.head == "free"):
            self.teacher.head.requires_grad_(True)  # a head of its own, and it learns
        self._fit_projector(seed)
        groups = adamw_groups(
            self.learner,
            settings.learning_rate,
            settings.weight_decay,
            settings.word_rate_share,
        )
        self.optimizer = adamw(groups)
        self.history: list[HistoryRow] = []
        self.best: tuple[HistoryRow, dict[str, Tensor]] | None = None
        self._since_look: list[tuple[float, float]] = []
        self._batches = self._draw(seed)

    def go(self, progress: Progress) -> Taught:
        """Do all stages; return the best student of the joint and polish stages."""
        settings = self.settings
        self.teacher.judge(self.task.grade)
        step = 0
        stages: tuple[tuple[Stage, int], ...] = (
            ("align", settings.align_steps),
            ("joint", settings.joint_steps),
            ("polish", settings.polish_steps),
        )
        for stage, steps in stages:
            self._enter(stage)
            for place in range(steps):
                self._step(stage, step, place)
                step += 1
                if step % settings.evaluate_every == 0 or place == steps - 1:
                    self._look(stage, step)
                progress(f"cross-distillation, {stage}", step, settings.steps)
        return self._taught()

    def _enter(self, stage: Stage) -> None:
        settings = self.settings
        if stage == "joint" and settings.mutual:
            rate = settings.teacher_learning_rate
            self.teacher.wake(rate, settings.weight_decay, settings.frozen_layers)
        if stage == "polish":
            self.teacher.sleep()

    def _step(self, stage: Stage, step: int, place: int) -> None:
        """Differentiate both losses, then move both learners."""
        settings = self.settings
        set_rates(self.optimizer, rate_factor(step, settings.steps, settings.warmup_share))
        rows = next(self._batches)
        ids, mask = pad([self.lessons.ids[row] for row in rows])
        y = self.lessons.labels[rows]
        both = self.teacher.is_live and place % settings.mutual_every == 0
        f_S, z_S = self.learner(ids, mask)
        f_T = self.teacher.features(rows, learn=both)
        z_T = self.teacher.head(f_T)
        error = squared_error(f_S, f_T.detach(), self.unit)
        measures = {"unit": self.unit, "expected_labels": self.expected_labels}
        if stage == "align":
            loss = error
        else:
            loss = student_loss(f_S, z_S, f_T, z_T, y, settings, **measures)
        gradients = gradients_of(loss, self.optimizer)
        if both:
            feedback = teacher_loss(f_S, z_S, f_T, z_T, y, settings, **measures)
            theirs = self.teacher.gradients(feedback)
            self.teacher.descend(theirs, 1.0 - place / settings.joint_steps)
        descend(self.optimizer, gradients)
        self._since_look.append((loss.item(), error.item()))
        if not math.isfinite(self._since_look[-1][0]):
            raise DataError(
                f"cross-distillation on {self.task.name!r} went astray at step {step + 1} of "
                f"{settings.steps} (loss {self._since_look[-1][0]}): take a lower learning_rate "
                f"than {settings.learning_rate}"
            )

    def _look(self, stage: Stage, step: int) -> None:
        """Measure student and teacher on the validation texts; keep the best student."""
        self.learner.eval()
        readout = self.learner.readout()
        logits = predict_logits(self.learner.student, readout, self.lessons.validation_ids)
        self.learner.train()
        if stage == "joint":
            self.teacher.judge(self.task.grade)
        loss, error = np.mean(self._since_look, axis=0)
        self._since_look.clear()
        row = HistoryRow(
            stage=stage,
            step=step,
            student_loss=float(loss),
            feature_error=float(error),
            student_score=self.task.grade(logits),
            teacher_score=self.teacher.score,
            teacher_learns=self.teacher.is_live,
        )
        self.history.append(row)
        known = self.best is not None and self.best[0].student_score > row.student_score
        if stage != "align" and not known:
            weights = self.learner.state_dict()
            self.best = (row, {name: value.clone() for name, value in weights.items()})

    def _taught(self) -> Taught:
        assert self.best is not None, "the last step of a stage is always looked at"
        row, weights = self.best
        self.learner.load_state_dict(weights)
        self.learner.eval()
        return Taught(self.learner.student, self.learner.readout(), tuple(self.history), row)

    def _draw(self, seed: int) -> Iterator[np.ndarray]:
        settings = self.settings
        lengths = np.asarray([len(ids) for ids in self.lessons.ids])
        share, size = settings.labelled_share, settings.batch_size
        return mixed_batches(lengths, self.num_labelled, share, size, seed)

    def _fit_projector(self, seed: int) -> None:
        features = self.lessons.for_teacher.features
        rows = generator(seed, "projector-fit").permutation(len(features))[:_FIT_TEXTS]
        pooled = pool_all(self.learner.student.eval(), [self.lessons.ids[row] for row in rows])
        weight, bias = fit_projector(pooled, features[rows])
        with torch.no_grad():
            self.learner.to_teacher.weight.copy_(torch.from_numpy(weight))
            self.learner.to_teacher.bias.copy_(torch.from_numpy(bias))
        self.learner.train()
