"""Cross-distillation for recommendation: the teacher's trained recommender is the student's head.

```
L_S = a |fS - sg fT|^2 + b t^2 KL(softmax(sg zT / t) || softmax(zS / t)) + c CE(zS, next item)
L_T = CE(zT, next item) + d ( |fT - sg fS|^2 + t^2 KL(softmax(sg zS / t) || softmax(zT / t)) )

i    align     |fS - sg fT|^2 only
ii   joint     both directions, with the guard on the teacher's nDCG@10 on validation items
iii  polish    L_S, teacher frozen
```

fS, fT are vectors of item texts, zS, zT scores of the whole catalogue at the moments at which users
chose a next item, sg stops the gradient; `recommender_pair` draws how the two come about.

What is EI-BERT's [1]: the teacher's task head is put into the student (*parameter integration*;
here the head is the recommender that was trained on the teacher's vectors), and the teacher goes on
learning at a small rate while the student learns at a large one, by MSE + KL in both directions
(*mutual interplay*). What is our choice: all else, and that this works for a recommender at all:
the paper has none of it. So is what learns on the teacher's side: its recommender, and a linear
adapter on its vectors, which are read once. Running six layers live over the catalogue in every
step would cost several times all the rest.

A step is exact at the price of one pass over the catalogue: vectors are made once, the gradients of
many users' losses gather *on the vectors*, and go through the encoder together [2]. Texts beside
the catalogue ("companions": queries, prose) take part in |fS - fT|^2, so that the student does not
forget how to read what users write. The student that is returned is the one that was best on the
validation items, the latest of equals.

[1] "Put Teacher in Student's Shoes: Cross-Distillation for Ultra-compact Model Compression
    Framework", KDD 2025, arXiv 2507.04636.
[2] L. Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    RepL4NLP 2021, arXiv 2101.06983.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.compression.pretraining.descent import adamw, adamw_groups, set_rates
from models.compression.pretraining.general_distillation import GRADIENT_LIMIT, rate_factor
from models.compression.quantization.few_bits import BitPlan
from models.compression.recommendation.recommender_pair import (
    Pair,
    RecommendationLessons,
    TrainedRecommender,
    absorb,
)
from models.compression.student import Student
from models.compression.tasks.interplay import divergence
from models.compression.tasks.interplay_settings import InterplaySettings
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator

Stage = Literal["align", "joint", "polish"]
STAGES: tuple[Stage, ...] = ("align", "joint", "polish")

_LOOK_NUMBERS = 5
"""Numbers of a look in a checkpoint."""


class RecommenderDistillationSettings(InterplaySettings, frozen=True):
    """How student and teacher learn; the letters are those of the formulas, the score nDCG@10."""

    score_weight: float = Field(description="b, of the student's KL", ge=0)
    ranking_weight: float = Field(description="c, of the item chosen next", ge=0)
    head_learning_rate: float = Field(description="highest rate of a free recommender", gt=0, le=1)
    users_per_step: int = Field(description="users whose losses gather in a step", ge=1)
    users_per_block: int = Field(description="of them, how many at a time", ge=1)
    companions_per_step: int = Field(description="texts beside the catalogue in a step", ge=0)
    texts_per_batch: int = Field(description="texts in one forward pass", ge=1)
    checkpoint_every: int = Field(description="steps between two checkpoints", ge=1)

    @model_validator(mode="after")
    def _settings_agree(self) -> "RecommenderDistillationSettings":
        if not self.integration and self.head != "free":
            raise ValueError(
                f"head is '{self.head}', but without integration it is a fresh one that must learn:"
                " set head = 'free'"
            )
        if self.steps == 0:
            raise ValueError("align_steps, joint_steps and polish_steps are all 0: set one")
        return self

    def stage(self, step: int) -> Stage:
        """Return the stage of a step, counted from 0."""
        if step < self.align_steps:
            return "align"
        return "joint" if step < self.align_steps + self.joint_steps else "polish"


@dataclass(frozen=True, slots=True)
class Look:
    """Where things stood at one look at the validation items.

    Attributes:
        step: steps taken, over all stages.
        student_score: nDCG@10, full ranking, mean over users.
        teacher_score: likewise.
        feature_error: mean |fS - fT|^2 over the catalogue.
        teacher_learns: 1 while the guard lets it, after this look; else 0.
    """

    step: int
    student_score: float
    teacher_score: float
    feature_error: float
    teacher_learns: int


@dataclass(frozen=True, slots=True)
class TaughtRecommender:
    """A student that was taught to recommend.

    Attributes:
        student: the one that was given, trained; its vectors are what ships.
        recommender: its head with the bridge folded in: it reads the student's own vectors, placed
            as phones place them (`models.text_space`).
        teachers_items: (K, dim) float32, the known items' vectors when the same head reads the
            teacher's texts instead; see `on`.
        looks: from before the first step to after the last.
    """

    student: Student
    recommender: TrainedRecommender
    teachers_items: NDArray[np.float32]
    looks: tuple[Look, ...]

    def on(self, text: NDArray[np.float32]) -> TrainedRecommender:
        """Return the recommender for which known items have the teacher's vectors.

        What the student's vectors miss of them goes into their id vectors (`absorb`).

        Args:
            text: (K, V) placed vectors of the known items, as the shipped bundle gives them.
        """
        whole = absorb(self.recommender.parameters, text, self.teachers_items)
        return replace(self.recommender, parameters=whole)


def cross_distil_recommender(
    student: Student,
    teacher: TrainedRecommender,
    lessons: RecommendationLessons,
    settings: RecommenderDistillationSettings,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
    plan: BitPlan | None = None,
) -> TaughtRecommender:
    """Train the student in place; the teacher given stays as it is.

    Formal guarantees:
        - same arguments, same weights, also when the run was killed and went on;
        - no validation item is learnt from.

    Args:
        student: pre-trained: it gives each text about the teacher's vector, up to a linear map.
        teacher: trained on `lessons.histories` and the teacher's placed vectors of known items.
        lessons: what is learnt.
        settings: how.
        seed: of a fresh head, and of the order of users and companions.
        progress: told about every step.
        checkpoints: folder to go on from and to write to; None keeps nothing.
        plan: bits of the bundle to come: the student learns, and is judged, with its weights
            rounded to them (`polish`); None: fp32.

    Raises:
        DataError: if a gradient is no longer a finite number.
    """
    pair = Pair(
        student,
        teacher,
        lessons,
        integration=settings.integration,
        head=settings.head,
        texts_per_batch=settings.texts_per_batch,
        seed=seed,
        plan=plan,
    )
    optimizer = _optimizer(pair, settings)
    done, numbers = load_checkpoint(checkpoints, pair, optimizer) if checkpoints else (0, [])
    looks = _looks(numbers)
    if not looks:
        _look(pair, looks, 0, settings.guard_drop)
    student.train()
    for step in range(done, settings.steps):
        set_rates(optimizer, rate_factor(step, settings.steps, settings.warmup_share))
        _one_step(pair, optimizer, settings, step, seed)
        last = step + 1 == settings.steps
        if last or (step + 1) % settings.evaluate_every == 0:
            _look(pair, looks, step + 1, settings.guard_drop)
        if checkpoints and (last or (step + 1) % settings.checkpoint_every == 0):
            save_checkpoint(checkpoints, step + 1, pair, optimizer, _numbers(looks))
        progress(f"cross-distillation, {settings.stage(step)}", step + 1, settings.steps)
    student.eval()
    return TaughtRecommender(*pair.result(), pair.teachers_items(), tuple(looks))


def _one_step(
    pair: Pair,
    optimizer: torch.optim.AdamW,
    settings: RecommenderDistillationSettings,
    step: int,
    seed: int,
) -> None:
    """Differentiate the losses of both sides, then move both."""
    stage = settings.stage(step)
    both = stage == "joint" and settings.mutual and bool(pair.teacher_learns)
    optimizer.zero_grad()
    ours, theirs = pair.features(_some_companions(pair, settings, step, seed))
    # What the losses of the users say of the vectors gathers on these, and goes through once.
    leaves = ours.detach().requires_grad_(), theirs.detach().requires_grad_()
    for users, weight in _blocks(pair, settings, step, seed) if stage != "align" else ():
        (weight * _block_loss(pair, leaves, users, settings, both=both)).backward()
    scale = 1.0 if stage == "align" else settings.feature_weight
    _descend_to(ours, leaves[0].grad, scale * _apart(ours, theirs.detach(), pair.num_items))
    if both:
        back = settings.feedback_weight * _apart(theirs, ours.detach(), pair.num_items)
        _descend_to(theirs, leaves[1].grad, back)
    for side in (list(pair.side.parameters()), pair.teacher_side):
        if not torch.isfinite(nn.utils.clip_grad_norm_(side, GRADIENT_LIMIT)):
            raise DataError(
                f"cross-distillation for recommendation went astray at step {step + 1} of "
                f"{settings.steps} (a gradient is not finite): take a lower learning_rate than "
                f"{settings.learning_rate}"
            )
    optimizer.step()


def _descend_to(features: Tensor, gathered: Tensor | None, loss: Tensor) -> None:
    """Send gradients through the encoder: those gathered on its vectors, and those of a loss."""
    if gathered is not None:
        loss = loss + (features * gathered).sum()  # its gradient on `features` is `gathered`
    loss.backward()


def _block_loss(
    pair: Pair,
    leaves: tuple[Tensor, Tensor],
    users: NDArray[np.int64],
    settings: RecommenderDistillationSettings,
    *,
    both: bool,
) -> Tensor:
    """Return L_S, and L_T if both learn, without |fS - fT|^2; mean over the block's moments."""
    known = torch.from_numpy(pair.lessons.known)
    history = pair.lessons.histories.training_block(users, pair.shape.max_history)
    chosen = history.targets[history.target_mask]  # (M,)
    learns = both if pair.is_tied else True
    ours = pair.side.head.scores(leaves[0][known], history, users, learns=learns)
    with torch.set_grad_enabled(both):
        theirs = pair.teaching[0].scores(leaves[1][known], history, users, learns=both)
    loss = settings.score_weight * divergence(theirs.detach(), ours, settings.temperature)
    loss = loss + settings.ranking_weight * F.cross_entropy(ours, chosen)
    if both:
        back = divergence(ours.detach(), theirs, settings.temperature)
        loss = loss + F.cross_entropy(theirs, chosen) + settings.feedback_weight * back
    return loss


def _apart(features: Tensor, wanted: Tensor, num_items: int) -> Tensor:
    """Return the mean squared distance over the catalogue, plus the same over companions."""
    squares = (features - wanted).square().sum(dim=1)
    items = squares[:num_items].mean()
    return items + squares[num_items:].mean() if len(squares) > num_items else items


def _some_companions(
    pair: Pair, settings: RecommenderDistillationSettings, step: int, seed: int
) -> NDArray[np.int64]:
    """Draw the companions of a step; one may come twice."""
    there = len(pair.lessons.companion_ids)
    rng = generator(seed, "cross-distillation-companions", step)
    return rng.integers(max(1, there), size=settings.companions_per_step if there else 0)


def _blocks(
    pair: Pair, settings: RecommenderDistillationSettings, step: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Yield the users of a step in blocks, each with its share of all their moments."""
    moments = np.clip(pair.lessons.histories.lengths() - 1, 0, pair.shape.max_history)
    eligible = np.flatnonzero(moments)
    rng = generator(seed, "cross-distillation-users", step)
    users = rng.choice(eligible, min(settings.users_per_step, len(eligible)), replace=False)
    for start in range(0, len(users), settings.users_per_block):
        block = users[start : start + settings.users_per_block]
        yield block, float(moments[block].sum() / moments[users].sum())


def _optimizer(pair: Pair, settings: RecommenderDistillationSettings) -> torch.optim.AdamW:
    groups = adamw_groups(pair.side.student, settings.learning_rate, settings.weight_decay)
    own_head = [] if pair.is_tied else [p for p in pair.side.head.parameters() if p.requires_grad]
    for parameters, rate in (
        ([pair.side.bridge], settings.learning_rate),
        (own_head, settings.head_learning_rate),
        (pair.teacher_side, settings.teacher_learning_rate),
    ):
        if parameters:
            groups.append({"params": parameters, "lr": rate, "peak": rate, "weight_decay": 0.0})
    return adamw(groups)


def _look(pair: Pair, looks: list[Look], step: int, guard_drop: float) -> None:
    """Look at the validation items; keep the best student, and stop a teacher that fell."""
    ours, theirs, apart = pair.scores_of_validation()
    pair.remember(ours)
    pair.guard(theirs, guard_drop)
    looks.append(Look(step, ours, theirs, apart, int(pair.teacher_learns)))


def _numbers(looks: Sequence[Look]) -> list[float]:
    """Write looks as one list, the form in which a checkpoint keeps losses."""
    return [
        float(number)
        for look in looks
        for number in (
            look.step,
            look.student_score,
            look.teacher_score,
            look.feature_error,
            look.teacher_learns,
        )
    ]


def _looks(numbers: Sequence[float]) -> list[Look]:
    """Read what `_numbers` wrote."""
    rows = np.asarray(numbers, np.float64).reshape(-1, _LOOK_NUMBERS).tolist()
    return [Look(int(step), ours, theirs, apart, int(on)) for step, ours, theirs, apart, on in rows]
