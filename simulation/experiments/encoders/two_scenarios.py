"""`pocketfleet scenarios`: intent recognition and recommendation on one frozen encoder.

    encoder bundle --> OUT/bundle/ (the same weights, takes adapters) --> frozen
    labelled texts --> adapters + head: classes               --> OUT/intent.npz
    run's histories --> recommender on the encoder's vectors --> its item vectors x_i
    item texts -----> adapters + head: the place of x_i       --> OUT/recommendation.npz

*Recommendation.* A recommender is trained on the frozen encoder's vectors; what it made of each
item, x_i, is what the item's text should say. Adapters and head learn to read x_i out of the text,
and a new recommender is trained on what they say. So a text gives as many numbers as an item vector
has, 32 in place of 256. Nothing but training events is learnt from: the run's split is taken with
`split.target = "validation"`, the test item is not even loaded. In the cold task items are taken
out of training, and their scenario has never met them.

*With and without.* Each scenario is trained twice: adapters and head, and a head alone. Both are
asked as a phone asks them, from their files, a text a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.bundle import EncoderBundle
from models.compression.scenarios.scenario_training import (
    ScenarioSettings,
    classification,
    likeness,
)
from models.compression.tasks.task import Score, score_of
from models.errors import DataError, SettingsError
from models.files import write_json, write_whole
from models.progress import Progress, silent
from models.recommender import item_vectors
from models.text_space import TextSpace
from models.threads import fixed_threads
from server.server_teacher import CentralModel
from simulation.data.labelled_texts import CLINC150, LabelledTexts, load_labelled
from simulation.data.own_labelled_texts import load_own
from simulation.experiments.encoders.encoder_comparison import (
    POOLED,
    ArmValues,
    TaskResult,
    catalogue_of,
    judge,
)
from simulation.experiments.encoders.frozen_encoder import FrozenEncoder
from simulation.experiments.encoders.ranking_tasks import RankingTask, cold_task, warm_task
from simulation.experiments.language.settings import OWN, load_language_settings
from simulation.experiments.materials import prepare_data
from simulation.experiments.plans import load_plan
from simulation.experiments.training import CentralJob, train_pooled
from simulation.run_folder import RunFolder, git_commit, versions
from simulation.settings import Settings, load_settings

BUNDLE, REPORT = "bundle", "report.json"
INTENT, RECOMMENDATION = "intent", "recommendation"

PLAIN, HEAD, ADAPTED = "encoder", "head", "adapters + head"
"""The frozen encoder's own vectors; what a head reads out of it; what adapters and a head do."""


class ScenariosPlan(BaseModel, extra="forbid", frozen=True):
    """How the two scenarios learn."""

    seed: int = Field(description="of the scenarios; the recommender has the run's", ge=0)
    threads: int = Field(description="of torch", ge=1, le=64)
    cold_share: float = Field(description="items that the cold task takes out", gt=0, lt=1)
    temperature: float = Field(description="t of the likeness to item vectors", gt=0)
    intent: ScenarioSettings
    recommendation: ScenarioSettings


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        encoder: bundle of the general encoder.
        run: run folder whose catalogue and histories are recommended from.
        clinc150: `data_full.json`, or None.
        path: a table of the user's own labelled texts, or None.
        settings: a TOML file; the product's when None.
        overrides: each "section.key=value", of the plan or of the run.
        test: whether the test texts of the intents are looked at, once all is chosen.
    """

    encoder: Path
    run: Path
    clinc150: Path | None
    path: Path | None
    settings: Path | None
    overrides: tuple[str, ...]
    test: bool = False


def load_scenarios(wish: Wish) -> tuple[ScenariosPlan, Settings]:
    """Read the plan and the run's settings, the latter with the validation item as the target.

    Raises:
        DataError: if there is no such run.
        SettingsError: if a key or value is wrong.
    """
    plan, others = load_plan(ScenariosPlan, "scenarios", wish.settings, wish.overrides)
    run = RunFolder(wish.run.resolve())
    run.record()  # raises if it is none
    settings = load_settings(str(run.path / "settings.json"), others)
    if settings.split.target != "validation":
        split = settings.split.model_copy(update={"target": "validation"})
        settings = settings.model_copy(update={"split": split})
    return plan, settings


def make_scenarios(
    wish: Wish,
    plan: ScenariosPlan,
    settings: Settings,
    out: Path,
    cache: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train both scenarios and write what a phone loads; return the report.

    Args:
        wish: what is asked for.
        plan: how the scenarios learn.
        settings: of the run, see `load_scenarios`.
        out: gets `bundle/`, `intent.npz`, `recommendation.npz` and `report.json`.
        cache: folder of downloads.
        progress: told about everything.

    Raises:
        DataError: if the encoder, the run or the texts cannot be used.
        SettingsError: if the labelled texts are not named, or named twice.
        BudgetError: if the encoder has no room left for the adapters' inputs.
    """
    labelled, score = load_intents(wish, cache)
    parts = prepare_data(settings, cache, progress)
    (out / REPORT).unlink(missing_ok=True)  # a report never stands beside other files
    with fixed_threads(plan.threads):
        frozen = FrozenEncoder.of_bundle(wish.encoder, out / BUNDLE)
        intent, intent_file = learn_intents(frozen, labelled, score, plan, wish.test, progress)
        catalogue = catalogue_of(parts)
        warm = warm_task(parts)
        cold = cold_task(parts, plan.cold_share, settings.recommender.max_history, settings.seed)
        ranked, files = [], []
        for task in (warm, cold):
            result, file = learn_items(frozen, task, catalogue, plan, settings, progress)
            ranked.append(result.report(settings.seed, settings.comparison.replicates))
            files.append(file)
    for name, content in ((INTENT, intent_file), (RECOMMENDATION, files[0])):
        with write_whole(out / f"{name}.npz") as target:
            target.write(content)
    report = {
        "bundle": BUNDLE,
        "encoder_bytes": EncoderBundle.open(wish.encoder).num_bytes,
        "bundle_bytes": frozen.bundle.num_bytes,
        INTENT: {"file": f"{INTENT}.npz", **intent},
        RECOMMENDATION: {"file": f"{RECOMMENDATION}.npz", "tasks": ranked},
        "plan": plan.model_dump(mode="json"),
        "run": settings.model_dump(mode="json"),
        "commit": git_commit(),
        "versions": versions(),
    }
    write_json(out / REPORT, report)
    return report


def load_intents(wish: Wish, cache: Path) -> tuple[LabelledTexts, Score]:
    """Return the labelled texts of a wish, and the figure they are scored by.

    Raises:
        SettingsError: if not just one of the two sets is named.
        DataError: if it cannot be read.
    """
    if (wish.clinc150 is None) == (wish.path is None):
        raise SettingsError(
            "intent recognition learns from labelled texts: give either --clinc150 data_full.json "
            "or --path with a .csv, .tsv or .parquet of your own"
        )
    name = CLINC150 if wish.path is None else OWN
    score = load_language_settings().of_set(name).score
    if wish.path is not None:
        return load_own(wish.path, OWN), score
    return load_labelled(CLINC150, cache, wish.clinc150), score


def learn_intents(
    frozen: FrozenEncoder,
    labelled: LabelledTexts,
    score: Score,
    plan: ScenariosPlan,
    test: bool,
    progress: Progress = silent,
) -> tuple[dict[str, Any], bytes]:
    """Train intent recognition with and without adapters.

    Args:
        frozen: the encoder.
        labelled: texts and their classes; the training part alone is learnt from.
        score: the figure.
        plan: how.
        test: whether the test part is asked beside the validation part.
        progress: told about everything.

    Returns:
        scores and bytes by arm, and the file of the scenario with adapters.
    """
    parts = {"validation": labelled.validation} | ({"test": labelled.test} if test else {})
    arms: list[dict[str, Any]] = []
    content = b""
    for arm, settings in _with_and_without(plan.intent).items():
        made = frozen.learn(
            f"{INTENT}, {arm}",
            labelled.train.texts,
            classification(labelled.train.labels, None, teacher_share=0.0, temperature=1.0),
            len(labelled.label_names),
            settings,
            labelled.label_names,
            plan.seed,
            progress,
        )
        scores = {}
        for part, asked in parts.items():
            chosen = made.answer(asked.texts).argmax(axis=1)
            scores[part] = score_of(score, asked.labels, chosen, len(labelled.label_names))
        content = made.content
        arms.append({"arm": arm, "num_bytes": len(content), "scores": scores})
    facts = {"set": labelled.name, "score": score, "classes": len(labelled.label_names)}
    return {**facts, "arms": arms}, content


def learn_items(
    frozen: FrozenEncoder,
    task: RankingTask,
    catalogue: Sequence[str],
    plan: ScenariosPlan,
    settings: Settings,
    progress: Progress = silent,
) -> tuple[TaskResult, bytes]:
    """Train recommendation with and without adapters, and judge each by a recommender of its own.

    Args:
        frozen: the encoder.
        task: what is trained on and asked; the scenario learns from its known items alone.
        catalogue: item texts, (N,).
        plan: how.
        settings: of the run.
        progress: told about everything.

    Returns:
        values of all arms, the encoder's own vectors first, and the file with adapters.

    Raises:
        DataError: if the catalogue has fewer than two known items.
    """
    if len(task.known) < 2:
        raise DataError(f"{len(task.known)} items can be learnt from, at least 2 are needed")
    own = np.asarray(frozen.phone.encode(list(catalogue)))
    texts = {PLAIN: TextSpace.of_catalogue(own).place(own)}
    models = _train(task, texts, settings, progress)
    wanted = _wanted(models[PLAIN], texts[PLAIN][task.known])
    known = [catalogue[item] for item in task.known]
    num_bytes: dict[str, int | None] = {PLAIN: 0}
    content = b""
    for arm, how in _with_and_without(plan.recommendation).items():
        made = frozen.learn(
            f"{RECOMMENDATION}, {task.name}, {arm}",
            known,
            likeness(wanted, plan.temperature),
            wanted.shape[1],
            how,
            (),
            plan.seed,
            progress,
        )
        said = made.answer(catalogue)
        texts[arm] = TextSpace.of_catalogue(said).place(said)
        content, num_bytes[arm] = made.content, len(made.content)
    models |= _train(task, {arm: texts[arm] for arm in (HEAD, ADAPTED)}, settings, progress)
    arms = [
        ArmValues(
            arm,
            POOLED,
            text.shape[1],
            num_bytes[arm],
            judge(task, models[arm].parameters, models[arm].taste, text, settings),
        )
        for arm, text in texts.items()
    ]
    return TaskResult(task.name, len(task.judged_users), len(task.owners), tuple(arms), {}), content


def _with_and_without(settings: ScenarioSettings) -> dict[str, ScenarioSettings]:
    """A head alone, and what was asked for, last."""
    head = settings.model_copy(update={"place": "pooled", "adapter_size": 0})
    return {HEAD: head, ADAPTED: settings}


def _train(
    task: RankingTask,
    texts: dict[str, NDArray[np.float32]],
    settings: Settings,
    progress: Progress,
) -> dict[str, CentralModel]:
    """A recommender on each kind of vectors, all from the same start."""
    jobs = {
        arm: CentralJob(
            histories=task.pool,
            text=text[task.known],
            settings=settings.recommender,
            training=settings.central,
            seed=settings.seed,
            users=np.arange(task.pool.num_users),
            learn_taste=True,
        )
        for arm, text in texts.items()
    }
    return train_pooled(jobs, settings.workers, progress)


def _wanted(model: CentralModel, text: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a recommender made of each item: x_i, (K, dim) from vectors (K, V)."""
    vectors: NDArray[np.float32] = item_vectors(model.parameters, torch.from_numpy(text)).numpy()
    return vectors
