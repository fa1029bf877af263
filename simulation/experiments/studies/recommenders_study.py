"""Federated recommenders that people cite: what is left of them when the leak is closed?

    pfedrec, fedncf, fedrecon, fcf      each a run of `experiments.federated_recommenders`
    published / closed                  whether the held-out item is spared as a negative: the leak

Every arm names a run; its own rounds, rates and data stand in that plan and not in the settings of
the study's preset, as they are those of the papers. Figures are of three rounds: the last one, the
one chosen on validation items (ours to report), and the best on test items, a habit that nobody
could have outside a paper.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.errors import SettingsError
from simulation.data.loading import load_interactions
from simulation.experiments.federated_recommenders.rounds import (
    TEST,
    Evaluated,
    HeldBack,
    run_recommender,
)
from simulation.experiments.federated_recommenders.settings import RecommenderStudy, load_study
from simulation.experiments.studies.study_cells import AMONG_99, FULL, SAMPLED, Measured, Slice
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import percent, points, seeds_and_users
from simulation.experiments.studies.study_summary import StudySummary
from simulation.settings import Settings

CHOSEN, LAST, HABIT = "chosen round", "last round", "best test round"
PUBLISHED, CLOSED = "-published", "-closed"


class RecommendersOptions(BaseModel):
    """Which run of which plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str = Field(description="of federated recommenders: its name, or a .toml file")
    run: str = Field(description="its name in that plan")
    rounds: int = Field(ge=0, le=100_000, description="0: those of the run")


def check(settings: Settings, options: RecommendersOptions) -> None:
    """The run must be there, and read the data of the study.

    Raises:
        SettingsError: if it is not, or reads other data.
    """
    plan = load_study(options.plan)
    plan.run(options.run)
    if plan.data != settings.data:
        raise SettingsError(
            f"the plan '{options.plan}' of federated recommenders reads data.source="
            f"{plan.data.source}, the study data.source={settings.data.source}: write a plan for "
            "your data, and name its file with --set study.plan=mine.toml"
        )


def beside(options: RecommendersOptions) -> JsonValue:
    """The run that a plan's file has under this name, and how that plan splits."""
    plan = load_study(options.plan)
    run, split = plan.run(options.run), plan.split
    return {
        "run": run.model_dump(mode="json"),
        "split": split.model_dump(mode="json"),
        "split_seed": plan.seeds[0],
    }


def measure(task: CellTask) -> Measured:
    """Train one recommender and rank everybody's test item."""
    options: RecommendersOptions = task.options
    plan = load_study(options.plan)
    run = plan.run(options.run)
    if options.rounds:
        every = min(run.evaluate_every, options.rounds)
        run = run.model_copy(update={"rounds": options.rounds, "evaluate_every": every})
    parts = _held_back(plan, task)
    result = run_recommender(run, parts, task.settings.seed)
    users = np.flatnonzero(parts.held_out[:, TEST] >= 0).astype(np.int64)
    named = {CHOSEN: result.chosen, LAST: result.last, HABIT: result.best_on_test}
    slices = [each for name, found in named.items() for each in _slices(name, found, users)]
    return Measured(tuple(slices), {"chosen round": float(result.chosen.round_number)})


def _held_back(plan: RecommenderStudy, task: CellTask) -> HeldBack:
    return HeldBack.of(load_interactions(plan.data, task.cache), plan.split, plan.seeds[0])


def _slices(name: str, found: Evaluated, users: np.ndarray) -> list[Slice]:
    """Both protocols of a round."""
    return [
        Slice(name, FULL, users, found.test.values(FULL)),
        Slice(name + AMONG_99, SAMPLED, users, found.test.values(SAMPLED)),
    ]


def read(summary: StudySummary) -> list[str]:
    """What the leak is worth to each method, and who leads without it."""
    said, metric = [], summary.plan.metric
    arms = {row.variant.arm: row for row in summary.rows if not row.variant.point}
    for arm, row in arms.items():
        other = arm.removesuffix(PUBLISHED) + CLOSED
        if not arm.endswith(PUBLISHED) or other not in arms:
            continue
        told = []
        for part in (CHOSEN + AMONG_99, CHOSEN):
            if row.at(part, metric):
                gap = summary.contrast(row.variant.name, arms[other].variant.name, part)
                told.append(f"{points(gap)} ({part.removeprefix(CHOSEN).lstrip(', ') or 'full'})")
        said.append(f"The leak is worth {' and '.join(told)} to {row.variant.title}.")
    honest = [row for arm, row in arms.items() if not arm.endswith(PUBLISHED)]
    found = [(row, at.found.interval) for row in honest if (at := row.at(CHOSEN, metric))]
    if found:
        best, interval = max(found, key=lambda pair: pair[1].mean)
        said.append(f"Without it {best.variant.title} leads, full ranking: {percent(interval)}.")
    return [*said, seeds_and_users(summary, CHOSEN)]


KIND = StudyKind(
    options=RecommendersOptions,
    measure=measure,
    read=read,
    check=check,
    needs_ground=False,
    beside=beside,
)
