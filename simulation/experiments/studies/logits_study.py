"""Can the phones teach the teacher? Dynamic logits fusion of a federated student and the server's.

    shift_i  = federated_i - static_i          what federated training changed in the logits [1]
    fused_i  = teacher_i + alpha * shift_i

    none         alpha = 0: the untouched teacher
    validation   one alpha for all, the best of `alphas` on each user's last training event
    kl           an alpha per user, so that the teacher moves as far as the student did:
                 KL(softmax fused || softmax teacher) = KL(softmax federated || softmax static)

No data leaves a phone for it but the federated parameters, which the cloud has in any case: the
student's logits are worked out on the histories that the server teacher was trained on, without
personal vectors and without private texts. `kl` is our reading of [1] for one student and one
token, the next item; the distributions are over the items that a user has not chosen.

For `validation` all three models are trained once more without each user's last training event
(`split.target = "validation"`), so that alpha is not chosen on what a model has seen.

[1] C. Fan et al., "On Giant's Shoulders: Effortless Weak to Strong by Dynamic Logits Fusion",
    NeurIPS 2024, arXiv 2406.15480.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.recommender import Shared
from models.scoring import score_users
from simulation.experiments.arms import STATIC, TEACHER
from simulation.experiments.evaluation import Referee
from simulation.experiments.studies.cooperation_study import softmax_of_unseen
from simulation.experiments.studies.federation_study import (
    ALL,
    by_tier,
    referee_of,
    refuse_synthetic,
)
from simulation.experiments.studies.groundwork import Groundwork
from simulation.experiments.studies.study_cells import Measured
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import (
    differences,
    seeds_and_users,
    verdict,
)
from simulation.experiments.studies.study_summary import StudySummary
from simulation.settings import Settings

Scores = NDArray[np.float64]
BISECTIONS = 30


class LogitsOptions(BaseModel):
    """How far the teacher is steered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["none", "validation", "kl", "student"] = Field(
        description='how alpha is chosen; "student": the federated student alone, for comparison'
    )
    alphas: tuple[float, ...] = Field(min_length=1, description="validation: to choose from")
    largest_alpha: float = Field(gt=0, description="kl: of any user")


@dataclass(frozen=True, slots=True)
class Logits:
    """Scores of three recommenders for the same users.

    Attributes:
        referee: ranks them.
        teacher: (B, N).
        static: (B, N) of the student before it was federated.
        federated: (B, N) of the student after.
    """

    referee: Referee
    teacher: Scores
    static: Scores
    federated: Scores

    @property
    def shift(self) -> Scores:
        """What federated training changed, (B, N)."""
        return self.federated - self.static

    def fused(self, alpha: float | NDArray[np.float64]) -> NDArray[np.float32]:
        """The steered teacher's scores, for one alpha or one per user (B,)."""
        by_user = np.broadcast_to(np.asarray(alpha, np.float64), (len(self.teacher),))
        return (self.teacher + by_user[:, None] * self.shift).astype(np.float32)


def check(settings: Settings, options: LogitsOptions) -> None:
    """Refuse synthetic devices, and a split whose judged items alpha would be chosen on.

    Raises:
        SettingsError: if it is so.
    """
    refuse_synthetic(settings)
    if settings.split.target == "validation":
        raise SettingsError(
            "split.target is validation: alpha would be chosen on the items that are judged; leave "
            "it at test, this study makes a validation split of its own"
        )


def measure(task: CellTask) -> Measured:
    """Rank with the teacher, steered by one rule."""
    options, settings = task.options, task.settings
    found = logits_of(task.on, settings)
    if options.rule == "student":
        scores, alpha = found.federated.astype(np.float32), float("nan")
    else:
        alphas = _alphas(task, found)
        scores, alpha = found.fused(alphas), float(np.mean(alphas))
    ranks = found.referee.ranks(scores)
    figures = {} if np.isnan(alpha) else {"alpha": alpha}
    return Measured(by_tier(task.on, found.referee.users, ranks), figures)


def _alphas(task: CellTask, found: Logits) -> float | NDArray[np.float64]:
    options = task.options
    if options.rule == "none":
        return 0.0
    if options.rule == "kl":
        return alphas_by_kl(found, options.largest_alpha)
    return best_alpha(_validation_logits(task), options.alphas)


def _validation_logits(task: CellTask) -> Logits:
    """The same three models, trained without the last training event of each user."""
    ground, settings = task.on, task.settings
    split = settings.split.model_copy(update={"target": "validation"})
    own = settings.model_copy(update={"split": split})
    folder = ground.run.path / "validation"
    Groundwork.make(folder, own, ground.run.bundle, task.cache)
    return logits_of(Groundwork.open(folder, own, task.cache), own)


def logits_of(ground: Groundwork, settings: Settings) -> Logits:
    """Train teacher, static and federated student on a groundwork, and let them score."""
    referee = referee_of(ground, settings)
    users, pool = referee.users, ground.materials.pool
    nobody = np.zeros((len(users), settings.recommender.dim), dtype=np.float32)

    def student(parameters: Shared) -> Scores:
        length = settings.recommender.max_history
        return score_users(parameters, ground.text, pool, users, nobody, length).astype(np.float64)

    teacher = ground.job(TEACHER, settings).scores(ground.trained(TEACHER, settings), users)
    return Logits(
        referee,
        teacher.astype(np.float64),
        student(ground.trained(STATIC, settings).parameters),
        student(ground.federated(settings).shared()),
    )


def best_alpha(found: Logits, alphas: tuple[float, ...]) -> float:
    """The alpha of the highest nDCG@10 on all users, the smallest of equals."""

    def quality(alpha: float) -> float:
        return float(found.referee.ranks(found.fused(alpha)).values("full")["ndcg@10"].mean())

    return max(sorted(alphas), key=quality)


def alphas_by_kl(found: Logits, largest: float) -> NDArray[np.float64]:
    """Per user the alpha at which the teacher moves as far as the student did, (B,).

    The divergence grows with alpha (its slope is alpha times the variance of the shift), so halving
    finds it. A user whose teacher would have to be moved further than `largest` gets that.
    """
    seen = found.referee.seen
    base = softmax_of_unseen(found.teacher, seen)
    moved = divergence(
        softmax_of_unseen(found.federated, seen), softmax_of_unseen(found.static, seen)
    )
    low, high = np.zeros(len(base)), np.full(len(base), largest)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fused = found.teacher + middle[:, None] * found.shift
        near = divergence(softmax_of_unseen(fused, seen), base) < moved
        low, high = np.where(near, middle, low), np.where(near, high, middle)
    return np.asarray((low + high) / 2)


def divergence(p: Scores, q: Scores) -> NDArray[np.float64]:
    """KL(p || q) of each row, in nats; where p is 0 nothing is added.

    >>> float(divergence(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]]))[0].round(4))
    0.1438
    """
    inside = p > 0
    ratio = np.where(inside, p, 1.0) / np.where(inside, np.maximum(q, 1e-300), 1.0)
    return np.asarray((p * np.log(ratio)).sum(axis=1))


def read(summary: StudySummary) -> list[str]:
    """Whether the phones teach the teacher."""
    rows = [
        (row, found)
        for row, found in differences(summary, ALL)
        if row.variant.arm in ("validation", "kl")
    ]
    helped = [row for row, found in rows if found.low > 0]
    hurt = [row for row, found in rows if found.high < 0]
    if helped:
        said = "The phones do teach the teacher"
    elif hurt and len(hurt) == len(rows):
        said = "Steered by the phones, the teacher is worse"
    else:
        said = "The phones do not teach the teacher, as far as these users can tell"
    told = [
        verdict(row.variant.title, summary.row(row.against).variant.title, found)
        for row, found in differences(summary, ALL)
    ]
    alphas = [
        f"{row.variant.title}: {row.figures['alpha']:.2f}"
        for row, _ in rows
        if "alpha" in row.figures
    ]
    steered = [f"Mean alpha, {'; '.join(alphas)}."] if alphas else []
    return [f"{said}.", *told, *steered, seeds_and_users(summary, ALL)]


KIND = StudyKind(options=LogitsOptions, measure=measure, read=read, check=check)
