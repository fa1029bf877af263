"""What is text worth? One recommender on each kind of text vectors, for warm and for cold items.

    none      no text: items start as zeros; among cold items it guesses
    ids       no text: items start as random vectors, which tell them apart and say nothing of them
    tf-idf    words counted over the catalogue, reduced by SVD to the encoder's width
    static    a vector for each word, whatever stands beside it (see `encoders.text_readers`)
    ei-bert   the phones' encoder
    teacher   the text teacher

All are trained on the pooled histories from the same start: what differs is the text. What text is
worth on warm items is its row against `ids`; on cold items, against the guess of `none`. A cold
item has been chosen by nobody; each event with one is a request of its own (see `ranking_tasks`),
ranked among the cold items ("cold") and among all ("cold among all").
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.baselines import Scores, random_scores
from models.scoring import score_users
from models.seeds import generator
from models.text_space import TextSpace
from simulation.experiments.encoders.encoder_comparison import judge
from simulation.experiments.encoders.ranking_tasks import (
    PerUser,
    RankingTask,
    cold_task,
    complete,
    warm_task,
)
from simulation.experiments.encoders.text_readers import (
    static_reader,
    teacher_reader,
    tf_idf_reader,
)
from simulation.experiments.studies.federation_study import refuse_synthetic
from simulation.experiments.studies.groundwork import Groundwork, model_arrays, model_of
from simulation.experiments.studies.study_cells import Measured, Slice
from simulation.experiments.studies.study_kinds import CellTask, StudyKind
from simulation.experiments.studies.study_readings import (
    differences,
    percent,
    points,
    seeds_and_users,
    verdict,
)
from simulation.experiments.studies.study_summary import StudySummary, VariantSummary
from simulation.experiments.training import CentralJob
from simulation.settings import Settings

NONE, IDS, EI_BERT, TF_IDF = "none", "ids", "ei-bert", "tf-idf"
WARM, COLD, COLD_AMONG_ALL = "warm", "cold", "cold among all"
TIE_BREAK = 1e-4
"""Scores of items that nothing tells apart differ by less than this, at random."""


class TextOptions(BaseModel):
    """Which texts, and how many items are cold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reader: Literal["none", "ids", "tf-idf", "static", "ei-bert", "teacher"] = Field(
        description="what the recommender is told of an item beside its id"
    )
    cold_share: float = Field(gt=0, lt=1, description="items that nobody may train on")


def check(settings: Settings, options: TextOptions) -> None:
    """Refuse synthetic devices."""
    refuse_synthetic(settings)


def measure(task: CellTask) -> Measured:
    """Train a recommender on one kind of text, with all items and without the cold ones."""
    ground, options = task.on, task.options
    text = text_of(ground, options.reader)
    slices = []
    for ranking in tasks_of(ground, options.cold_share, task.settings):
        found = _judged(ground, ranking, text, options.reader, task.settings)
        slices += _slices(ranking, found)
    return Measured(tuple(slices), {"numbers per text": float(text.shape[1])})


def tasks_of(
    ground: Groundwork, cold_share: float, settings: Settings
) -> tuple[RankingTask, RankingTask]:
    """The warm requests and the cold ones."""
    parts = ground.materials.split
    length = settings.recommender.max_history
    return warm_task(parts), cold_task(parts, cold_share, length, settings.seed)


def text_of(ground: Groundwork, reader: str) -> NDArray[np.float32]:
    """Placed vectors of the catalogue, (N, d), as a reader gives them."""
    catalogue, width = ground.materials.catalogue, ground.raw.shape[1]
    if reader == NONE:
        return np.zeros((len(catalogue), width), dtype=np.float32)
    if reader == IDS:
        return id_vectors(len(catalogue), width, ground.settings.seed)
    if reader == EI_BERT:
        return ground.text
    if reader == "teacher":
        return ground.teacher_text()

    def make() -> dict[str, NDArray]:
        seed = ground.settings.seed
        if reader == TF_IDF:
            return {"text": tf_idf_reader(catalogue, width, seed).placed(catalogue)}
        words = teacher_reader(ground.settings, ground.cache)
        return {"text": static_reader(words, catalogue, width, seed).placed(catalogue)}

    return ground.kept(f"{reader}-text", [width, *ground.text_teacher], make)["text"]


def id_vectors(num_items: int, width: int, seed: int) -> NDArray[np.float32]:
    """Vectors (N, width) that stand for ids: a random direction per item, placed as texts are.

    Unlike with `text_readers.random_reader`, items of the same text are told apart too. A cold item
    has a vector that nothing was learnt about: among cold items this arm guesses.
    """
    drawn = generator(seed, "id-vectors").normal(size=(num_items, width)).astype(np.float32)
    return TextSpace.of_catalogue(drawn).place(drawn)


def _judged(
    ground: Groundwork,
    ranking: RankingTask,
    text: NDArray[np.float32],
    reader: str,
    settings: Settings,
) -> PerUser:
    job = CentralJob(
        histories=ranking.pool,
        text=text[ranking.known],
        settings=settings.recommender.without_parts(),
        training=settings.central,
        seed=settings.seed,
        users=np.arange(ranking.pool.num_users),
        learn_taste=True,
    )
    told = [reader, ranking.name, len(ranking.known), job.settings.model_dump(mode="json")]
    told += [job.training.model_dump(mode="json"), *ground.text_teacher]
    model = model_of(ground.kept("text-model", told, lambda: model_arrays(job.run())))
    if reader != NONE:
        return judge(ranking, model.parameters, model.taste, text, settings)
    whole = complete(model.parameters, ranking.known, ranking.num_items)
    return ranking.values(_with_ties_broken(whole, model.taste, ranking, text, settings))


def _with_ties_broken(
    parameters: dict,
    taste: NDArray[np.float32],
    ranking: RankingTask,
    text: NDArray[np.float32],
    settings: Settings,
) -> Callable[[NDArray[np.int64]], Scores]:
    """Scores without text: cold items are all alike, and a guess decides among them."""
    guess = random_scores(ranking.pool.num_users, ranking.num_items, settings.seed)
    length = settings.recommender.max_history

    def scores_of(rows: NDArray[np.int64]) -> Scores:
        owners = ranking.owners[rows]
        scores = score_users(parameters, text, ranking.requests, rows, taste[owners], length)
        return np.asarray(scores + TIE_BREAK * guess[owners], np.float32)

    return scores_of


def _slices(ranking: RankingTask, found: PerUser) -> list[Slice]:
    """One slice for each field of competitors."""
    names = {("warm", "all"): WARM, ("cold", "cold"): COLD, ("cold", "all"): COLD_AMONG_ALL}
    by_field: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, values in found.items():
        field, metric = name.split(" ")
        by_field.setdefault(names[ranking.name, field], {})[metric] = values
    return [Slice(part, "full", ranking.judged_users, values) for part, values in by_field.items()]


def read(summary: StudySummary) -> list[str]:
    """What text is worth where; the two claims about cold items are checked by name."""
    said = []
    for part in (WARM, COLD):
        told = [
            verdict(row.variant.title, summary.row(row.against).variant.title, difference)
            for row, difference in differences(summary, part)
        ]
        said.append(f"{part.capitalize()} items. " + " ".join(told))
    return [*said, *_on_warm(summary), *_on_cold(summary), seeds_and_users(summary, COLD)]


def _rows_by_arm(summary: StudySummary) -> dict[str, VariantSummary]:
    return {row.variant.arm: row for row in summary.rows if not row.variant.point}


def _on_warm(summary: StudySummary) -> list[str]:
    """What the phones' encoder adds to ids that are told apart."""
    rows = _rows_by_arm(summary)
    if EI_BERT not in rows or IDS not in rows:
        return []
    found = summary.contrast(rows[EI_BERT].variant.name, rows[IDS].variant.name, WARM)
    if not found.excludes_zero():
        return [f"On warm items no worth of text over ids alone can be told ({points(found)})."]
    worth = "text is worth" if found.mean > 0 else "text takes from ids alone"
    return [f"On warm items {worth} {points(found)}, by EI-BERT against ids alone."]


def _on_cold(summary: StudySummary) -> list[str]:
    """Whether EI-BERT is twice a guess, and above TF-IDF, among cold items."""
    rows = _rows_by_arm(summary)
    metric = summary.plan.metric
    if EI_BERT not in rows or NONE not in rows:
        return []
    ours, guess = (rows[arm].at(COLD, metric) for arm in (EI_BERT, NONE))
    if ours is None or guess is None:
        return []
    own, floor = ours.found.interval, guess.found.interval
    times = own.mean / floor.mean if floor.mean else float("inf")
    enough = "at least twice" if times >= 2 else "less than twice"
    said = f"Among cold items EI-BERT has {percent(own)}, {enough} a guess ({times:.1f} times)"
    if TF_IDF not in rows:
        return [said + "."]
    found = summary.contrast(rows[EI_BERT].variant.name, rows[TF_IDF].variant.name, COLD)
    above = "above TF-IDF" if found.low > 0 else "not above TF-IDF at its interval"
    return [f"{said}, and is {above} ({points(found)})."]


KIND = StudyKind(options=TextOptions, measure=measure, read=read, check=check)
