"""Where does the quality go? From the server teacher to a private phone, step by step.

    teacher      the recommender on the text teacher's vectors, pooled          cloud
    student      the same on the student's vectors: all words, fp32             cloud
    pruned       the student of the words that fit, fp32                        cloud
    few-bits     the bundle that ships                                          cloud
    installed    that very recommender on a phone: float16 item vectors, NumPy, no personal
                 vectors (a server that pools histories learns some; they stay there)
    federated    the phones' own: from the opted-in few, then rounds on every phone
    private      the same with noise for user-level differential privacy

Each row changes one thing against the row above, but for two: "federated" also begins to read
private texts and learns personal vectors on the phone; "private" has the sampling and the cohort
that its promise needs, which its arm says.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.device_package import write_package
from clients.serving import Phone
from models.errors import SettingsError
from models.files import write_whole
from models.locks import alone_in
from models.text_space import TextSpace
from server.privacy.statement import PrivacyStatement
from server.server_teacher import CentralModel
from simulation.experiments.arms import CENTRAL, TEACHER
from simulation.experiments.evaluation import Referee, federated_ranks
from simulation.experiments.studies.federation_study import (
    ALL,
    by_tier,
    figures_of,
    referee_of,
    refuse_synthetic,
)
from simulation.experiments.studies.groundwork import Groundwork, model_arrays, model_of
from simulation.experiments.studies.quality_encoders import FEW_BITS, FP32, Words, student_vectors
from simulation.experiments.studies.study_cells import KEY_LENGTH, Measured, digest_of
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import (
    differences,
    percent,
    points,
    seeds_and_users,
)
from simulation.experiments.studies.study_summary import StudySummary
from simulation.experiments.training import CentralJob
from simulation.settings import Settings

Step = Literal["teacher", "student", "pruned", "few-bits", "installed", "federated", "private"]
ENCODER_STEPS: dict[str, tuple[Words, str]] = {
    "student": ("all", FP32),
    "pruned": ("pruned", FP32),
    "few-bits": ("pruned", FEW_BITS),
}
"""Step -> whose words, and in which numbers."""


MOST_DRAWN = 0.955
"""A Poisson arm draws no larger share of the phones a round, however many its plan asks for: 900 of
the 943 of MovieLens-100K. On a smaller catalogue it draws fewer, and is as dear in noise."""


class QualityOptions(BaseModel):
    """Which step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Step = Field(description="what the recommendations are made with")


def check(settings: Settings, options: QualityOptions) -> None:
    """The steps before the bundle are only there when the bundle is made here.

    Raises:
        SettingsError: if a ready bundle is named, or the bundle is made on several threads.
    """
    refuse_synthetic(settings)
    if settings.text.bundle:
        raise SettingsError(
            f"text.bundle is {settings.text.bundle}: this study needs the encoder before it was "
            "pruned and rounded; leave text.bundle empty, so that it is made here"
        )
    if settings.text.threads != 1:
        raise SettingsError(
            f"text.threads is {settings.text.threads}: the steps are those of the bundle on one "
            "thread only; set text.threads=1"
        )
    if (options.step == "private") != settings.federation.privacy.is_private:
        mechanism = settings.federation.privacy.mechanism
        raise SettingsError(
            f"step {options.step} with federation.privacy.mechanism={mechanism}: the step private, "
            "and no other, takes a mechanism"
        )


def fit(settings: Settings, options: QualityOptions, num_devices: int) -> Settings:
    """A Poisson arm of a catalogue with fewer phones than its plan draws."""
    drawn = settings.federation.schedule.sampling == "poisson"
    if options.step not in ("federated", "private") or not drawn:
        return settings
    most = max(1, int(MOST_DRAWN * num_devices))
    cohort = min(settings.federation.cohort_size, most)
    federation = settings.federation.model_copy(update={"cohort_size": cohort})
    return settings.model_copy(update={"federation": federation})


def measure(task: CellTask) -> Measured:
    """Rank for everybody with what one step has."""
    ground, step, settings = task.on, task.options.step, task.settings
    referee = referee_of(ground, settings)
    figures: dict[str, float] = {}
    if step in ("federated", "private"):
        arm = ground.federated(settings)
        ranks, figures = federated_ranks(referee, arm), figures_of(arm)
        promised = PrivacyStatement.read(arm.folder)
        if promised and promised.epsilon is not None:
            figures["epsilon"] = promised.epsilon
    elif step == "installed":
        ranks = referee.ranks(installed_scores(ground, _model(task, "few-bits"), referee))
    else:
        job = _job(task, step)
        ranks = referee.ranks(job.scores(_model(task, step), referee.users))
    return Measured(by_tier(ground, referee.users, ranks), figures)


def _job(task: CellTask, step: str) -> CentralJob:
    """A pooled training on the vectors of a step."""
    ground = task.on
    if step == TEACHER:
        return ground.job(TEACHER, task.settings)
    job = ground.job(CENTRAL, task.settings)
    text = step_text(task, step)
    return CentralJob(
        job.histories, text, job.settings, job.training, job.seed, job.users, job.learn_taste
    )


def _model(task: CellTask, step: str) -> CentralModel:
    if step == TEACHER:
        return task.on.trained(TEACHER, task.settings)
    told = [
        step,
        task.settings.recommender.model_dump(mode="json"),
        task.settings.central.model_dump(mode="json"),
    ]
    return model_of(task.on.kept("step", told, lambda: model_arrays(_job(task, step).run())))


def step_text(task: CellTask, step: str) -> NDArray[np.float32]:
    """Placed vectors of the catalogue after a step, (N, V); made once for all seeds."""
    words, numbers = ENCODER_STEPS[step]
    own = task.settings.model_dump(mode="json", include={"compression", "data"})
    catalogue = task.on.materials.catalogue
    name = f"{words}-{digest_of(own, catalogue, task.encoder_seed)[:KEY_LENGTH]}"
    path = task.shared / f"{name}.npz"
    with alone_in(task.shared / f"{name}.work"):
        if not path.is_file():
            work = task.shared / f"{name}.work"
            made = student_vectors(
                task.settings, catalogue, words, task.encoder_seed, work, task.cache
            )
            with write_whole(path) as file:
                np.savez(file, allow_pickle=False, **made)
            for unfinished in ("pretraining", "polish"):
                shutil.rmtree(work / unfinished, ignore_errors=True)
        with np.load(path, allow_pickle=False) as arrays:
            raw = arrays[numbers]
    return TextSpace.of_catalogue(raw).place(raw)


def installed_scores(
    ground: Groundwork, model: CentralModel, referee: Referee
) -> NDArray[np.float32]:
    """Scores (B, N) as phones give them that have the package and no personal vector."""
    pool, catalogue = ground.materials.pool, ground.materials.catalogue
    popularity = np.bincount(pool.items, minlength=len(catalogue))
    arrays = {name: tensor.numpy() for name, tensor in model.parameters.items()}
    with tempfile.TemporaryDirectory(prefix="pocketfleet-package-") as name:
        folder = Path(name) / "package"
        write_package(folder, ground.run.bundle, arrays, ground.raw, popularity)
        phone = Phone.load(folder, catalogue)
    taste = np.zeros(phone.ranker.items.shape[1], dtype=np.float32)
    scores = np.zeros((len(referee.users), len(catalogue)), dtype=np.float32)
    for row, user in enumerate(referee.users):
        history = pool.items[pool.offsets[user] : pool.offsets[user + 1]].astype(np.int64)
        scores[row] = phone.ranker.scores(phone.ranker.state(history, None, taste))
    return scores


def read(summary: StudySummary) -> list[str]:
    """The largest losses, each step's, and what is kept at the end of the chain."""
    steps = differences(summary, ALL)
    losses = [(row, found) for row, found in steps if found.high < 0]
    gains = [row.variant.title for row, found in steps if found.low > 0]
    said = []
    if losses:
        row, found = min(losses, key=lambda pair: pair[1].mean)
        said.append(f"The dearest step is “{row.variant.title}”: {points(found)}.")
        others = [f"“{r.variant.title}” ({points(f)})" for r, f in losses if r is not row]
        if others:
            said.append(f"Also a loss beyond the interval: {'; '.join(others)}.")
    else:
        said.append("No step loses anything beyond its interval.")
    if gains:
        said.append(f"A gain beyond the interval: {'; '.join(f'“{title}”' for title in gains)}.")
    same = [r.variant.title for r, f in steps if not f.excludes_zero()]
    if same:
        said.append(f"Not told apart from the step before: {'; '.join(f'“{t}”' for t in same)}.")
    return [*said, *_kept(summary), seeds_and_users(summary, ALL)]


def _kept(summary: StudySummary) -> list[str]:
    """What share of the first row's quality the rows on phones have."""
    first, said = summary.rows[0].variant.name, []
    for row in summary.rows[1:]:
        if row.variant.arm in ("federated", "federated-days", "private"):
            share = summary.ratio(row.variant.name, first, ALL)
            said.append(f"{row.variant.title}: {percent(share)}" if share else "")
    told = "; ".join(filter(None, said))
    return [f"Of the first row's mean is kept: {told}."] if told else []


KIND = StudyKind(options=QualityOptions, measure=measure, read=read, check=check, fit=fit)
