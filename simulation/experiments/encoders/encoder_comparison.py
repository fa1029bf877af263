"""One recommender on each encoder: warm and cold items, in the cloud and on phones.

    for each task (warm, cold)            `ranking_tasks`
      for each encoder                    `encoders`
        pooled        the recommender trained on everybody's history, on these vectors
      for each student to be taught       `recommender_course`: cross-distilled for this very task
        pooled        on the vectors of its bundle, like every other encoder
        own head      the recommender that learnt along with it, the bridge folded in
        own head, ids the same, known items having the teacher's vectors (`absorb`)
      random, popularity (and on warm items item-kNN and EASE)
      static, federated                   where phones are asked for

All arms answer the same requests, so intervals are paired over users. That nobody has chosen a cold
item leaves popularity nothing to go by among them: it guesses there.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from clients.local_evaluation import score_devices
from clients.shard import private_texts
from models.baselines import (
    Scores,
    ease_scores,
    interaction_matrix,
    item_knn_scores,
    popularity_scores,
    random_scores,
)
from models.compression.recommendation.recommender_distillation import (
    Look,
    RecommenderDistillationSettings,
    TaughtRecommender,
)
from models.errors import SettingsError
from models.files import write_whole
from models.intervals import Interval, PairedBootstrap
from models.progress import Progress, silent
from models.recommender import Shared
from models.scoring import score_users
from models.text_space import TextSpace
from simulation.data.interactions import Columns
from simulation.data.splits import Split
from simulation.experiments.arms import FEDERATED, STATIC
from simulation.experiments.encoders.ranking_tasks import (
    PerUser,
    RankingTask,
    complete,
    phones_of,
)
from simulation.experiments.encoders.recommender_course import CompanionSettings, Course
from simulation.experiments.encoders.text_readers import TEACHER, TextReader, bundle_reader
from simulation.experiments.federation import FederatedArm, prepare_arm, run_arm
from simulation.experiments.materials import Materials
from simulation.experiments.training import CentralJob, central_jobs, train_pooled
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.world.build import build_world

DEFAULT_FILE = "default.toml"

POOLED, OWN_HEAD, OWN_IDS, BASELINE = "pooled", "own head", "own head, ids", "baseline"


class EncoderComparisonSettings(BaseModel, extra="forbid", frozen=True):
    """What is compared, and how students are taught."""

    cold_share: float = Field(description="items that are taken out of training", gt=0, lt=1)
    vector_size: int = Field(description="numbers per text of tf-idf and random", ge=2, le=1024)
    companions: CompanionSettings
    cross_distillation: RecommenderDistillationSettings


def load_encoder_comparison(path: Path | None = None) -> EncoderComparisonSettings:
    """Read the settings.

    Args:
        path: a TOML file; the one that comes with the product when None.

    Raises:
        SettingsError: if the file cannot be read, or a key or value is wrong.
    """
    try:
        if path is None:
            folder = resources.files("simulation.presets") / "recommendation"
            text = (folder / DEFAULT_FILE).read_text(encoding="utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        return EncoderComparisonSettings.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the settings {path or DEFAULT_FILE}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise SettingsError(f"{path or DEFAULT_FILE}: {key}: {first['msg'].lower()}") from error


@dataclass(frozen=True, slots=True)
class ArmValues:
    """One arm under one task.

    Attributes:
        encoder: its name, or the baseline's.
        arm: "pooled", "own head", "own head, ids", "static", "federated" or "baseline".
        vector_size: numbers per text; 0 without texts.
        num_bytes: of the encoder's bundle, or None.
        values: "FIELD METRIC" -> (judged users,).
    """

    encoder: str
    arm: str
    vector_size: int
    num_bytes: int | None
    values: PerUser


@dataclass(frozen=True, slots=True)
class TaskResult:
    """All arms under one task.

    Attributes:
        task: "warm" or "cold".
        num_users: judged ones.
        num_requests: of all of them.
        arms: in the order they were trained.
        courses: student -> how its cross-distillation went.
    """

    task: str
    num_users: int
    num_requests: int
    arms: tuple[ArmValues, ...]
    courses: dict[str, tuple[Look, ...]]

    def reference(self) -> ArmValues:
        """What the others are held against: the teacher, pooled; else the first arm."""
        teachers = [arm for arm in self.arms if (arm.encoder, arm.arm) == (TEACHER, POOLED)]
        return (teachers or list(self.arms))[0]

    def report(self, seed: int, replicates: int) -> dict[str, Any]:
        """Return means with paired intervals, as plain dictionaries and numbers."""
        bootstrap = PairedBootstrap.draw(self.num_users, seed, replicates=replicates)
        against = self.reference()
        rows = []
        for arm in self.arms:
            differences = {
                name: bootstrap.difference(values, against.values[name])
                for name, values in arm.values.items()
            }
            rows.append(
                {
                    "encoder": arm.encoder,
                    "arm": arm.arm,
                    "vector_size": arm.vector_size,
                    "num_bytes": arm.num_bytes,
                    "means": _plain({k: bootstrap.mean(v) for k, v in arm.values.items()}),
                    "differences": _plain(differences),
                }
            )
        return {
            "task": self.task,
            "num_users": self.num_users,
            "num_requests": self.num_requests,
            "reference": [against.encoder, against.arm],
            "arms": rows,
            "courses": {name: [asdict(look) for look in c] for name, c in self.courses.items()},
        }


def compare_encoders(
    task: RankingTask,
    readers: Sequence[TextReader],
    students: dict[str, Path],
    course: Course,
    folder: Path,
    progress: Progress = silent,
) -> TaskResult:
    """Train and judge the pooled arms of a task.

    Args:
        task: what is trained on and asked.
        readers: the encoders.
        students: name -> bundle of an encoder that is cross-distilled for this task.
        course: how; its settings are the run's.
        folder: where the taught students' bundles go, as `NAME/TASK/bundle`.
        progress: told about all that takes long.
    """
    settings, everyone = course.settings, list(readers)
    lessons: dict[str, TaughtRecommender] = {}
    for name, start in students.items():
        taught, bundle = course.teach(start, task, folder / name / task.name, progress)
        everyone.append(bundle_reader(name, bundle.folder))
        lessons[name] = taught
    texts = {reader.name: reader.placed(course.catalogue) for reader in everyone}
    jobs = {name: _job(task, text, settings) for name, text in texts.items()}
    models = train_pooled(jobs, settings.workers, progress)
    arms = []
    for reader in everyone:
        text = texts[reader.name]
        found = models[reader.name]
        trained = [(POOLED, found.parameters, found.taste)]
        if reader.name in lessons:
            taught = lessons[reader.name]
            with_ids = taught.on(text[task.known])
            for arm, own in ((OWN_HEAD, taught.recommender), (OWN_IDS, with_ids)):
                trained.append((arm, own.parameters, own.taste))
        for arm, parameters, taste in trained:
            values = judge(task, parameters, taste, text, settings)
            arms.append(ArmValues(reader.name, arm, text.shape[1], reader.num_bytes, values))
    arms += [
        ArmValues(name, BASELINE, 0, None, values)
        for name, values in baseline_values(task, settings).items()
    ]
    looks = {name: taught.looks for name, taught in lessons.items()}
    return TaskResult(task.name, len(task.judged_users), len(task.owners), tuple(arms), looks)


def judge(
    task: RankingTask,
    parameters: Shared,
    taste: NDArray[np.float32],
    text: NDArray[np.float32],
    settings: Settings,
) -> PerUser:
    """Rank a task's requests with a recommender of its known items.

    Args:
        task: the requests.
        parameters: of K items, without a leading axis.
        taste: (U, dim) personal vectors.
        text: (N, V) placed vectors of the whole catalogue.
        settings: of the run.
    """
    whole = complete(parameters, task.known, task.num_items)
    length = settings.recommender.max_history

    def scores_of(rows: NDArray[np.int64]) -> Scores:
        own = taste[task.owners[rows]]
        return score_users(whole, text, task.requests, rows, own, length)

    return task.values(scores_of)


def baseline_values(task: RankingTask, settings: Settings) -> dict[str, PerUser]:
    """Rank a task's requests without any text."""
    users, seed = task.pool.num_users, settings.seed
    matrix = interaction_matrix(task.pool, len(task.known))
    guess = random_scores(users, task.num_items, seed)
    popular = np.zeros_like(guess)
    popular[:, task.known] = popularity_scores(matrix)
    everything_known = len(task.known) == task.num_items
    scores = {"random": guess, "popularity": popular if everything_known else popular + guess}
    if everything_known:
        comparison = settings.comparison
        scores["item-knn"] = item_knn_scores(matrix, comparison.knn_neighbours)
        scores["ease"] = ease_scores(matrix, comparison.ease_l2)
    return {name: task.values(_rows_for(task, of_all)) for name, of_all in scores.items()}


def play_on_phones(
    task: RankingTask,
    parts: Split,
    reader: TextReader,
    settings: Settings,
    folder: Path,
    progress: Progress = silent,
) -> tuple[ArmValues, ArmValues]:
    """Train the static and the federated arm on an encoder; the phones read private texts with it.

    A warm request is answered by the phone, which has read its private texts. A cold one stands
    within a history: it is answered with the personal vector of the phone, without private texts.

    Args:
        task: of the split.
        parts: the split, with private texts.
        reader: the encoder.
        settings: of the run.
        folder: a run folder of its own for the world and the arm.
        progress: told before what takes long.

    Returns:
        static and federated.
    """
    run, held = RunFolder(folder.resolve()), phones_of(task, parts)
    materials = Materials(
        held, build_world(held, settings.world, settings.seed, run.world), task.pool
    )
    raw = reader.read(catalogue_of(parts))
    space = TextSpace.of_catalogue(raw)
    whole, written = space.place(raw), private_texts(run.world)
    text = whole[task.known]
    private = space.place(reader.read(written)) if written else text[:0]
    for name, vectors in (("item_text", text), ("private_vectors", private)):
        with write_whole(run.phones / f"{name}.npy") as file:
            np.save(file, vectors, allow_pickle=False)
    progress(f"static and federated arms on {reader.name}", 0, 1)
    job = central_jobs(settings, materials, text, None)[STATIC]
    static = job.run()
    size = text.shape[1]
    prepared = prepare_arm(
        run, FEDERATED, settings, materials, static.parameters, size, read_private_text=True
    )
    played = run_arm(prepared, "inline")
    progress(f"static and federated arms on {reader.name}", 1, 1)
    values = {
        STATIC: judge(task, static.parameters, static.taste, whole, settings),
        FEDERATED: _judge_phones(task, played, whole, settings),
    }
    first, second = (
        ArmValues(reader.name, arm, size, reader.num_bytes, found) for arm, found in values.items()
    )
    return first, second


def _judge_phones(
    task: RankingTask, played: FederatedArm, text: NDArray[np.float32], settings: Settings
) -> PerUser:
    """Rank a task's requests with what the phones have learnt."""
    shard = played.shard()

    def scores_of(rows: NDArray[np.int64]) -> Scores:
        return score_devices(shard, task.owners[rows], played.parameters, settings.recommender)

    if len(task.known) < task.num_items:
        return judge(task, played.shared(), np.asarray(shard.taste), text, settings)
    return task.values(scores_of)


def catalogue_of(parts: Split) -> list[str]:
    """Item texts of a split, (N,)."""
    return list(parts.interactions.items[Columns.TEXT])


def _rows_for(task: RankingTask, of_all: Scores) -> Callable[[NDArray[np.int64]], Scores]:
    """Scores that depend on the user alone, (U, N), as scores of requests."""
    return lambda rows: of_all[task.owners[rows]]


def _job(task: RankingTask, text: NDArray[np.float32], settings: Settings) -> CentralJob:
    return CentralJob(
        histories=task.pool,
        text=text[task.known],
        settings=settings.recommender,
        training=settings.central,
        seed=settings.seed,
        users=np.arange(task.pool.num_users),
        learn_taste=True,
    )


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(interval) for name, interval in intervals.items()}
