"""The language tasks: each labelled set, learnt by each kind of model, judged as it ships.

```
labelled set --fine-tuning--> teacher --------------------------------------> "teacher"
      |                          |  features, head
      |     general student --cross-distillation--> student + readout --bits--> fp32, int8, ...
      +--TF-IDF + logistic regression--------------------------------------> "tf-idf"
```

One cell (see `cells`) is one of these arms on one set. The teacher of a set is fine-tuned
once and serves all students and seeds. Choices are made on the validation split; a cell of the test
split looks at the test texts once, at its end.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.compression.quantization.few_bits import BitPlan
from models.compression.tasks.augmentation import augment
from models.compression.tasks.cross_distillation import Taught, cross_distil
from models.compression.tasks.task import Examples, Task, score_of
from models.compression.tasks.task_polish import polish_task
from models.compression.tasks.task_teacher import TaskTeacher, fine_tune
from models.errors import PocketfleetError
from models.progress import Progress, silent
from models.wordpiece import split_texts
from simulation.data.labelled_texts import CLINC150, LabelledTexts, Split, load_labelled
from simulation.data.teachers import MINILM_NAME, teacher_folder, teacher_sha256
from simulation.experiments.encoders.general_students import GeneralStudent, open_start
from simulation.experiments.language.cells import (
    TEACHER,
    TF_IDF,
    Cell,
    CellResult,
    LeftOut,
    SplitName,
    digest_of,
    is_made,
    mine_alone,
    read_result,
    results_in,
    write_result,
)
from simulation.experiments.language.settings import LanguageSettings
from simulation.experiments.language.task_bundles import ship
from simulation.experiments.language.text_baselines import fit_tf_idf
from simulation.run_folder import git_commit, versions

FP32 = "fp32"
OUTDATED = "made with other settings, texts, teacher or start than today's"
_FLOAT32_BYTES = 4
Thing = TypeVar("Thing")


@dataclass(slots=True)
class Workbench:
    """What cells are made with; of sets, teachers and starts the last one is kept in memory.

    Attributes:
        settings: of all sets, starts and variants.
        cache: folder of downloads, teachers, features and compressed starts.
        clinc150: the user's own copy of CLINC150's data_full.json, if there is one.
        progress: told about everything.
    """

    settings: LanguageSettings
    cache: Path
    clinc150: Path | None = None
    progress: Progress = silent
    _last: dict[str, tuple[str, object]] = field(default_factory=dict)
    _hashes: dict[tuple[str, ...], str] = field(default_factory=dict)

    def labelled(self, set_name: str) -> LabelledTexts:
        """A labelled set, its training rows cut to the limit."""
        limit = self.settings.of_set(set_name).train_limit or None

        def load() -> LabelledTexts:
            path = self.clinc150 if set_name == CLINC150 else None
            seed = self.settings.teacher_seed
            return load_labelled(set_name, self.cache, path, limit, seed, self.progress)

        return self._kept("labelled", set_name, load)

    def task(self, set_name: str) -> Task:
        """What is learnt: training and validation texts; the test texts are no part of it."""
        labelled = self.labelled(set_name)
        return task_of(labelled, self.settings)

    def teacher(self, set_name: str) -> TaskTeacher:
        """The fine-tuned teacher of a set, from the cache if it was made before."""
        return self._kept(
            "teacher",
            set_name,
            lambda: teacher_of(self.task(set_name), self.settings, self.cache, self.progress),
        )

    def start(self, name: str) -> GeneralStudent:
        """The general student of a start, compressed first if need be."""
        settings = self.settings.of_start(name)
        return self._kept("start", name, lambda: open_start(settings, self.cache, self.progress))

    def taught(self, set_name: str, start: str, variant: str, seed: int) -> Taught:
        """A start's student that has learnt a set."""
        return teach(
            self.task(set_name),
            self.teacher(set_name),
            self.start(start),
            start,
            variant,
            self.settings,
            self.cache,
            seed,
            self.progress,
        )

    def digest(self, cell: Cell, *, make: bool = True) -> str:
        """Return the hash of all that a cell's result depends on, but for the code.

        Args:
            cell: whose.
            make: whether its start is compressed if it is not there.

        Raises:
            DataError: if the set, the teacher's files or the start cannot be read.
            SettingsError: if the settings do not know the cell's set, arm or variant.
        """
        settings, of_set = self.settings, self.settings.of_set(cell.set_name)
        parts: dict[str, object] = {
            "cell": [cell.set_name, cell.arm, cell.variant, cell.seed, cell.split],
            "set": [of_set.score, of_set.train_limit],
        }
        if cell.is_student:
            names = settings.formats_of(cell.arm, cell.variant)
            bits = {name: settings.formats[name].model_dump() for name in names}
            learning = settings.cross_distillation(cell.set_name, cell.arm, cell.variant)
            fingerprint = self._fingerprint(cell.arm, make)
            parts["student"] = [fingerprint, settings.budget_bytes, bits]
            parts["learning"] = learning.model_dump()
            parts["polish"] = settings.task.polish.model_dump()
            parts["augmentation"] = settings.augmentation(cell.set_name).model_dump()
        if cell.arm == TF_IDF:
            parts["tf-idf"] = settings.tf_idf.model_dump()
        else:
            parts["teacher"] = [
                settings.text_teacher,
                self._hashed(("teacher",), lambda: teacher_sha256(settings.text_teacher)),
                settings.teacher_seed,
                settings.threads,
                settings.teacher(cell.set_name).model_dump(),
            ]
        parts["texts"] = self._texts_sha256(cell.set_name, cell.split)
        return digest_of(parts)

    def _texts_sha256(self, set_name: str, split: SplitName) -> list[str]:
        """Hashes of the texts that a cell sees: of test texts only where they are judged on."""

        def learnt() -> str:
            found = self.labelled(set_name)
            parts = (found.train, found.validation)
            rows = [[part.texts, part.labels.tolist()] for part in parts]
            return digest_of([found.label_names, rows])

        def test() -> str:
            found = self.labelled(set_name).test
            return digest_of([found.texts, found.labels.tolist()])

        hashes = [self._hashed(("learnt", set_name), learnt)]
        return [*hashes, self._hashed(("test", set_name), test)] if split == "test" else hashes

    def _fingerprint(self, start: str, make: bool) -> str:
        """The fingerprint of a start's student."""

        def read() -> str:
            if make:
                return self.start(start).fingerprint
            return open_start(self.settings.of_start(start), self.cache, make=False).fingerprint

        return self._hashed(("start", start), read)

    def _hashed(self, key: tuple[str, ...], make: Callable[[], str]) -> str:
        if key not in self._hashes:
            self._hashes[key] = make()
        return self._hashes[key]

    def _kept(self, kind: str, name: str, make: Callable[[], Thing]) -> Thing:
        if kind not in self._last or self._last[kind][0] != name:
            self._last.pop(kind, None)  # two teachers at once need not be in memory
            self._last[kind] = (name, make())
        found: Thing = self._last[kind][1]  # type: ignore[assignment]
        return found


def task_of(labelled: LabelledTexts, settings: LanguageSettings) -> Task:
    """Return what a model learns of a labelled set.

    Raises:
        DataError: if the set is no task, see `Task`.
        SettingsError: if the settings do not know it.
    """
    return Task(
        name=labelled.name,
        train=Examples(labelled.train.texts, labelled.train.labels),
        validation=Examples(labelled.validation.texts, labelled.validation.labels),
        num_labels=len(labelled.label_names),
        score=settings.of_set(labelled.name).score,
    )


def teacher_of(
    task: Task, settings: LanguageSettings, cache: Path, progress: Progress = silent
) -> TaskTeacher:
    """Return the text teacher, fine-tuned on a task; a run that was killed goes on.

    Raises:
        DataError: if the teacher cannot be had, its training goes astray, or a file in the cache
            is damaged.
        SettingsError: if the settings do not know the task, or more layers are frozen than there
            are.
    """
    name = settings.text_teacher
    source = teacher_folder(cache, progress) if name == MINILM_NAME else name
    fine_tuning, threads = settings.teacher(task.name), settings.threads
    return fine_tune(source, task, fine_tuning, cache, settings.teacher_seed, threads, progress)


def teach(
    task: Task,
    teacher: TaskTeacher,
    start: GeneralStudent,
    start_name: str,
    variant: str,
    settings: LanguageSettings,
    cache: Path,
    seed: int,
    progress: Progress = silent,
) -> Taught:
    """Teach a general student a task by cross-distillation.

    Args:
        task: what it learns.
        teacher: fine-tuned on it.
        start: who learns; stays as it is.
        start_name: of the settings.
        variant: manner of cross-distillation.
        settings: of all.
        cache: folder of the teacher's features.
        seed: of the training; the texts without labels are the same for all seeds.
        progress: told about every step.

    Raises:
        DataError: if the teacher has another number of classes, a loss is no longer a finite
            number, or the cache cannot be written.
        SettingsError: if the settings do not know the task, start or variant.
    """
    more = augment(task.train.texts, settings.augmentation(task.name), settings.teacher_seed)
    return cross_distil(
        start.student,
        start.tokenizer,
        teacher,
        task,
        more,
        settings.cross_distillation(task.name, start_name, variant),
        cache,
        seed,
        settings.threads,
        progress,
    )


def finish(
    taught: Taught,
    task: Task,
    start: GeneralStudent,
    format_name: str,
    seed: int,
    settings: LanguageSettings,
    progress: Progress = silent,
) -> tuple[Taught, BitPlan]:
    """Return what is exported in a format: the bits of each weight, and the student for them.

    Args:
        taught: trained in fp32; it is the student as well unless the format asks for a polish.
        task: whose training texts the polish reads.
        start: whose words the student has.
        format_name: of the settings.
        seed: of the polish.
        settings: of all.
        progress: told about every step.

    Raises:
        SettingsError: if the settings do not know the task, or the bits do not fit the student's
            shape.
    """
    wanted = settings.formats[format_name]
    plan = wanted.plan(taught.student.settings)
    if not wanted.polish or settings.task.polish.steps == 0:
        return taught, plan
    more = augment(task.train.texts, settings.augmentation(task.name), settings.teacher_seed)
    longest = taught.student.settings.max_tokens
    ids = split_texts(start.tokenizer, [*task.train.texts, *more], longest)
    t, polish = settings.task.cross_distillation.temperature, settings.task.polish
    return polish_task(taught, plan, ids, t, polish, seed, settings.threads, progress), plan


def fill_cells(bench: Workbench, cells: Iterable[Cell], results: Path) -> list[CellResult]:
    """Make the cells that are not there yet; return the results of all but those others are at.

    Args:
        bench: settings and cache.
        cells: in this order.
        results: folder of the results.
    """
    found = []
    for cell in cells:
        path, digest = cell.path_in(results), bench.digest(cell)
        with mine_alone(bench.cache / "language-cells" / f"{digest}.lock") as mine:
            if not mine:
                continue  # another process is at it
            if not is_made(path, digest):
                write_result(path, make_cell(bench, cell, digest))
        found.append(read_result(path))
    return found


def current_results(
    bench: Workbench, results: Path, split: SplitName, sets: Iterable[str]
) -> tuple[list[CellResult], list[LeftOut]]:
    """Return the results that belong into one table: those that would be made just so today.

    No cell, teacher or start is made for it.

    Args:
        bench: today's settings.
        results: folder of the results.
        split: of the results.
        sets: those of other sets are not looked at.

    Returns:
        results whose hash is that of today's settings, texts, teacher and start; and the others.

    Raises:
        DataError: if a result is damaged.
    """
    wanted = set(sets)
    shown: list[CellResult] = []
    left_out: list[LeftOut] = []
    for result in results_in(results, split):
        if result.set_name not in wanted:
            continue
        cell = Cell(result.set_name, result.arm, result.variant, result.seed, split)
        try:
            if bench.digest(cell, make=False) == result.settings_sha256:
                shown.append(result)
                continue
            left_out.append(LeftOut(result, OUTDATED))
        except PocketfleetError as error:
            left_out.append(LeftOut(result, str(error)))
    return shown, left_out


def make_cell(bench: Workbench, cell: Cell, digest: str) -> CellResult:
    """Train and judge one cell.

    Args:
        bench: settings and cache.
        cell: what.
        digest: of all that it depends on.
    """
    began = time.perf_counter()
    if cell.is_student:
        scores, num_bytes, notes = _student_cell(bench, cell)
    elif cell.arm == TEACHER:
        scores, num_bytes, notes = _teacher_cell(bench, cell)
    else:
        scores, num_bytes, notes = _tf_idf_cell(bench, cell)
    return CellResult(
        set_name=cell.set_name,
        arm=cell.arm,
        variant=cell.variant,
        seed=cell.seed,
        split=cell.split,
        settings_sha256=digest,
        score=bench.settings.of_set(cell.set_name).score,
        scores=scores,
        num_bytes=num_bytes,
        notes=notes,
        seconds=round(time.perf_counter() - began, 1),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=git_commit(),
        versions=versions(),
    )


Figures = tuple[dict[str, float], dict[str, int], dict[str, float]]
"""Scores by format, bytes by format, notes."""


def _student_cell(bench: Workbench, cell: Cell) -> Figures:
    taught = bench.taught(cell.set_name, cell.arm, cell.variant, cell.seed)
    settings, labelled, start = bench.settings, bench.labelled(cell.set_name), bench.start(cell.arm)
    judged = judged_part(labelled, cell.split)
    scores, num_bytes = {}, {}
    for name in settings.formats_of(cell.arm, cell.variant):
        task = bench.task(cell.set_name)
        finished, plan = finish(taught, task, start, name, cell.seed, settings, bench.progress)
        shipped = ship(
            finished,
            start,
            plan,
            labelled.label_names,
            judged.texts,
            settings.budget_bytes,
            bench.progress,
        )
        scores[name] = _graded(bench, labelled, judged, shipped.logits)
        num_bytes[name] = shipped.num_bytes
    last = taught.history[-1]
    return (
        scores,
        num_bytes,
        {
            "validation_score": taught.best.student_score,
            "best_step": taught.best.step,
            "steps": last.step,
            "teacher_score_before": bench.teacher(cell.set_name).validation_score,
            "teacher_score_after": last.teacher_score,
        },
    )


def _teacher_cell(bench: Workbench, cell: Cell) -> Figures:
    teacher, labelled = bench.teacher(cell.set_name), bench.labelled(cell.set_name)
    judged = judged_part(labelled, cell.split)
    logits = teacher.logits(teacher.features(judged.texts, bench.cache, bench.progress))
    weights = sum(parameter.numel() for parameter in teacher.model.parameters())
    weights += sum(parameter.numel() for parameter in teacher.head.parameters())
    return (
        {FP32: _graded(bench, labelled, judged, logits)},
        {FP32: _FLOAT32_BYTES * weights},
        {"validation_score": teacher.validation_score, "epochs": len(teacher.epochs)},
    )


def _tf_idf_cell(bench: Workbench, cell: Cell) -> Figures:
    labelled = bench.labelled(cell.set_name)
    fitted = fit_tf_idf(bench.task(cell.set_name), bench.settings.tf_idf)
    judged = judged_part(labelled, cell.split)
    return (
        {FP32: _graded(bench, labelled, judged, fitted.logits(judged.texts))},
        {FP32: fitted.num_bytes},
        {
            "validation_score": fitted.probe.validation_score,
            "inverse_penalty": fitted.probe.inverse_penalty,
        },
    )


def judged_part(labelled: LabelledTexts, split: SplitName) -> Split:
    """Return the texts that a cell is judged on."""
    return labelled.test if split == "test" else labelled.validation


def _graded(bench: Workbench, labelled: LabelledTexts, judged: Split, logits: np.ndarray) -> float:
    score = bench.settings.of_set(labelled.name).score
    return score_of(score, judged.labels, logits.argmax(axis=1), len(labelled.label_names))
