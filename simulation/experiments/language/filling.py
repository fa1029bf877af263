"""Cells made one after the other, by as many processes as like to; and those that make a table."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.compression.tasks.task import score_of
from models.errors import PocketfleetError
from simulation.data.labelled_texts import LabelledTexts, Split
from simulation.experiments.language.cells import (
    TEACHER,
    Cell,
    CellResult,
    LeftOut,
    SplitName,
    is_made,
    mine_alone,
    read_result,
    results_in,
    write_result,
)
from simulation.experiments.language.learning import finish, judged_part
from simulation.experiments.language.task_bundles import ship
from simulation.experiments.language.text_baselines import fit_tf_idf
from simulation.experiments.language.workbench import Workbench
from simulation.run_folder import git_commit, versions

FP32 = "fp32"
OUTDATED = "made with other settings, texts, teacher or start than today's"
_FLOAT32_BYTES = 4


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


def _graded(bench: Workbench, labelled: LabelledTexts, judged: Split, logits: np.ndarray) -> float:
    score = bench.settings.of_set(labelled.name).score
    return score_of(score, judged.labels, logits.argmax(axis=1), len(labelled.label_names))
