"""`pocketfleet distill`: from labelled texts to a classifier's bundle and a report.

    labelled texts -> teacher -> cross-distillation -> OUT/bundle/ + OUT/report.json

A run that was stopped goes on: the teacher after its last whole epoch, its features where they
were; the student's own training takes minutes and begins anew. When nothing changed since the last
run, the bundle is kept. What cannot be written (too many bytes, two classes of one name) is refused
before the training.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.bundle import EncoderBundle
from models.classifier import Classifier
from models.compression.tasks.task import score_of
from models.compression.tasks.task_teacher import TaskTeacher
from models.errors import DataError, PocketfleetError, SettingsError
from models.files import write_json
from models.progress import Progress, silent
from simulation.data.labelled_texts import CLINC150, LabelledTexts, load_labelled
from simulation.data.own_labelled_texts import load_own
from simulation.data.teachers import teacher_sha256
from simulation.experiments.encoders.general_students import GeneralStudent
from simulation.experiments.language.cells import SplitName, digest_of
from simulation.experiments.language.learning import (
    finish,
    judged_part,
    task_of,
    teach,
    teacher_of,
)
from simulation.experiments.language.settings import OWN, LanguageSettings, load_language_settings
from simulation.experiments.language.task_bundles import check_fits, write_task_bundle
from simulation.run_folder import git_commit, versions

BUNDLE, REPORT = "bundle", "report.json"
VALIDATION: Final = "validation"
TEST: Final = "test"
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
        test: whether the test texts are looked at, once the bundle is chosen.
        overrides: of the settings, each "section.key=value".
    """

    task: str
    path: Path | None
    start: Path
    format_name: str
    variant: str
    seed: int
    settings: Path | None
    test: bool = False
    overrides: tuple[str, ...] = ()


def distil_task(wish: Wish, out: Path, cache: Path, progress: Progress = silent) -> dict[str, Any]:
    """Make the bundle of a task; return the report.

    The test texts are scored only when they are asked for, so that choosing between bundles by
    their reports is choosing on validation texts. A bundle that is there is tested as it is.

    Args:
        wish: what is asked for.
        out: gets `bundle/` and `report.json`.
        cache: folder of downloads, teachers and features.
        progress: told about everything.

    Raises:
        DataError: if the texts, the names of the classes or the start cannot be used, or `out`
            cannot be written.
        SettingsError: if the task, format or variant is unknown.
        BudgetError: if the bundle does not fit into its budget; told before the training.
    """
    settings = load_language_settings(wish.settings, overrides=wish.overrides)
    if wish.format_name not in settings.formats:
        known = ", ".join(settings.formats)
        raise SettingsError(f"there is no format {wish.format_name!r}: choose one of {known}")
    settings.cross_distillation(wish.task, START, wish.variant)  # raises before anything is fetched
    labelled = load_texts(wish, settings, cache, progress)
    start = GeneralStudent.of_bundle(wish.start)
    digest = _digest(wish, settings, labelled, start)
    report = _kept(out, digest)
    if report is None:
        report = _make(wish, settings, labelled, start, digest, out, cache, progress)
    else:
        progress("keeping the bundle: its texts, settings and start are the same", 1, 1)
    if wish.test and TEST not in report["scores"]["bundle"]:
        teacher = teacher_of(task_of(labelled, settings), settings, cache, progress)
        _judge(report, TEST, labelled, teacher, out, cache, progress)
    return report if wish.test else _untested(report)


def _make(
    wish: Wish,
    settings: LanguageSettings,
    labelled: LabelledTexts,
    start: GeneralStudent,
    digest: str,
    out: Path,
    cache: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train, write the bundle, judge it on the validation texts; return the report."""
    if (out / BUNDLE).exists():
        EncoderBundle.open(out / BUNDLE)  # raises now, not after the training: only a bundle goes
    budget, labels = settings.budget_bytes, labelled.label_names
    task = task_of(labelled, settings)
    origin: dict[str, str | int] = {"seed": wish.seed, "settings_sha256": digest}
    plan = settings.formats[wish.format_name].plan(start.student.settings)
    check_fits(start, plan, labels, {**origin, "teacher_sha256": digest}, budget)  # as long
    (out / REPORT).unlink(missing_ok=True)  # a report never stands beside another bundle
    teacher = teacher_of(task, settings, cache, progress)
    taught = teach(task, teacher, start, START, wish.variant, settings, cache, wish.seed, progress)
    ready, plan = finish(taught, task, start, wish.format_name, wish.seed, settings, progress)
    origin["teacher_sha256"] = teacher.fingerprint
    bundle = write_task_bundle(ready, start, plan, labels, origin, out / BUNDLE, budget)
    report: dict[str, Any] = {
        "task": wish.task,
        "score": task.score,
        "classes": len(labels),
        "bundle": str(out / BUNDLE),
        "num_bytes": bundle.num_bytes,
        "scores": {"teacher": {}, "bundle": {}},
        "history": [asdict(row) for row in taught.history],
        "settings_sha256": digest,
        "commit": git_commit(),
        "versions": versions(),
    }
    _judge(report, VALIDATION, labelled, teacher, out, cache, progress)
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
    parts = (labelled.train, labelled.validation, labelled.test)
    teacher = [settings.text_teacher, teacher_sha256(settings.text_teacher), settings.teacher_seed]
    return digest_of(
        [
            [wish.task, wish.seed, start.fingerprint, settings.threads, settings.budget_bytes],
            [settings.of_set(wish.task).score, *teacher],
            [part.model_dump() for part in learning],
            labelled.label_names,
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


def _judge(
    report: dict[str, Any],
    part: SplitName,
    labelled: LabelledTexts,
    teacher: TaskTeacher,
    out: Path,
    cache: Path,
    progress: Progress,
) -> None:
    """Score teacher and bundle on a part of the texts; enter it into the report and write that."""
    progress(f"judging teacher and bundle on the {part} texts", 0, 1)
    judged, score = judged_part(labelled, part), report["score"]
    answers = {
        "teacher": teacher.logits(teacher.features(judged.texts, cache, progress)),
        "bundle": Classifier.load(out / BUNDLE).logits(judged.texts),
    }
    for name, logits in answers.items():
        chosen, count = logits.argmax(axis=1), len(labelled.label_names)
        report["scores"][name][part] = score_of(score, judged.labels, chosen, count)
    progress(f"judging teacher and bundle on the {part} texts", 1, 1)
    write_json(out / REPORT, report)


def _untested(report: dict[str, Any]) -> dict[str, Any]:
    """The report without test scores that an earlier run was asked for."""
    scores = {
        name: {part: value for part, value in found.items() if part != TEST}
        for name, found in report["scores"].items()
    }
    return {**report, "scores": scores}
