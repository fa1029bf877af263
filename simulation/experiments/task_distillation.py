"""`pocketfleet distill`: from labelled texts to a classifier's bundle and a report.

    labelled texts -> teacher -> cross-distillation -> OUT/bundle/ + OUT/report.json

A run that was stopped goes on: the teacher after its last whole epoch, its features where they
were; the student's own training takes minutes and begins anew. When nothing changed since the last
run, the bundle is kept.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import EncoderBundle
from models.classifier import Classifier
from models.compression.tasks.task import Score, score_of
from models.errors import DataError, PocketfleetError, SettingsError
from models.files import write_json
from models.progress import Progress, silent
from simulation.data.labelled_texts import CLINC150, LabelledTexts, load_labelled
from simulation.data.own_labelled_texts import load_own
from simulation.experiments.general_students import GeneralStudent
from simulation.experiments.language_cells import digest_of
from simulation.experiments.language_settings import OWN, LanguageSettings, load_language_settings
from simulation.experiments.language_tasks import finish, task_of, teach, teacher_of
from simulation.experiments.task_bundles import write_task_bundle
from simulation.run_folder import git_commit, versions

BUNDLE, REPORT = "bundle", "report.json"
START = "ei-bert"
"""Whose cross-distillation settings the given bundle takes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        task: a labelled set, or `OWN`.
        path: of the user's texts, or of CLINC150.
        start: bundle of the general encoder.
        format_name: bits of the bundle, a format of the settings.
        variant: manner of cross-distillation.
        seed: of the student's training.
        settings: a TOML file; the product's when None.
    """

    task: str
    path: Path | None
    start: Path
    format_name: str
    variant: str
    seed: int
    settings: Path | None


def distil_task(wish: Wish, out: Path, cache: Path, progress: Progress = silent) -> dict[str, Any]:
    """Make the bundle of a task; return the report.

    Args:
        wish: what is asked for.
        out: gets `bundle/` and `report.json`.
        cache: folder of downloads, teachers and features.
        progress: told about everything.

    Raises:
        DataError: if the texts or the start cannot be used, or `out` cannot be written.
        SettingsError: if the task, format or variant is unknown.
        BudgetError: if the bundle does not fit into its budget.
    """
    settings = load_language_settings(wish.settings)
    if wish.format_name not in settings.formats:
        known = ", ".join(settings.formats)
        raise SettingsError(f"there is no format {wish.format_name!r}: choose one of {known}")
    settings.cross_distillation(wish.task, START, wish.variant)  # raises before anything is fetched
    labelled = load_texts(wish, settings, cache, progress)
    start = GeneralStudent.of_bundle(wish.start)
    digest = _digest(wish, settings, labelled, start)
    kept = _kept(out, digest)
    if kept is not None:
        progress("keeping the bundle: its texts, settings and start are the same", 1, 1)
        return kept
    if (out / BUNDLE).exists():
        EncoderBundle.open(out / BUNDLE)  # raises now, not after the training: only a bundle goes
    (out / REPORT).unlink(missing_ok=True)  # a report never stands beside another bundle
    task = task_of(labelled, settings)
    teacher = teacher_of(task, settings, cache, progress)
    taught = teach(task, teacher, start, START, wish.variant, settings, cache, wish.seed, progress)
    ready, plan = finish(taught, task, start, wish.format_name, wish.seed, settings, progress)
    bundle = write_task_bundle(
        ready,
        start,
        plan,
        labelled.label_names,
        {"seed": wish.seed, "settings_sha256": digest, "teacher_sha256": teacher.fingerprint},
        out / BUNDLE,
        settings.budget_bytes,
    )
    progress("testing teacher and bundle", 0, 0)
    classifier = Classifier.load(out / BUNDLE)
    report = {
        "task": wish.task,
        "score": task.score,
        "classes": len(labelled.label_names),
        "bundle": str(out / BUNDLE),
        "num_bytes": bundle.num_bytes,
        "scores": {
            "teacher": _scores(
                labelled,
                task.score,
                lambda texts: teacher.logits(teacher.features(texts, cache, progress)),
            ),
            "bundle": _scores(labelled, task.score, classifier.logits),
        },
        "history": [asdict(row) for row in taught.history],
        "settings_sha256": digest,
        "commit": git_commit(),
        "versions": versions(),
    }
    progress("testing teacher and bundle", 1, 1)
    write_json(out / REPORT, report)
    return report


def load_texts(
    wish: Wish, settings: LanguageSettings, cache: Path, progress: Progress = silent
) -> LabelledTexts:
    """Return the labelled texts of a wish.

    Raises:
        DataError: if they cannot be had.
    """
    if wish.task == OWN:
        if wish.path is None:
            raise DataError(f"task {OWN!r} needs --path: a .csv, .tsv or .parquet of your texts")
        return load_own(wish.path, OWN)
    limit = settings.of_set(wish.task).train_limit or None
    if wish.path is not None and wish.task != CLINC150:
        raise DataError(f"task {wish.task!r} takes no --path: your own texts are --task {OWN}")
    return load_labelled(wish.task, cache, wish.path, limit, settings.teacher_seed, progress)


def _digest(
    wish: Wish, settings: LanguageSettings, labelled: LabelledTexts, start: GeneralStudent
) -> str:
    """The hash of all that the bundle depends on, but for the code."""
    learning = (
        settings.cross_distillation(wish.task, START, wish.variant),
        settings.teacher(wish.task),
        settings.augmentation(wish.task),
        settings.task.polish,
        settings.formats[wish.format_name],
    )
    parts = (labelled.train, labelled.validation)
    return digest_of(
        [
            [wish.task, wish.seed, start.fingerprint, settings.text_teacher, settings.threads],
            [part.model_dump() for part in learning],
            [[part.texts, part.labels.tolist()] for part in parts],
        ]
    )


def _kept(out: Path, digest: str) -> dict[str, Any] | None:
    """The report of an earlier run, if it made just this and the bundle is undamaged."""
    try:
        report: dict[str, Any] = json.loads((out / REPORT).read_text(encoding="utf-8"))
        EncoderBundle.open(out / BUNDLE)
    except (OSError, ValueError, PocketfleetError):
        return None
    return report if report.get("settings_sha256") == digest else None


def _scores(
    labelled: LabelledTexts, score: Score, logits: Callable[[Sequence[str]], np.ndarray]
) -> dict[str, float]:
    """What a model scores on the validation and the test texts."""
    parts = {"validation": labelled.validation, "test": labelled.test}
    return {
        name: score_of(
            score, part.labels, logits(part.texts).argmax(axis=1), len(labelled.label_names)
        )
        for name, part in parts.items()
    }
