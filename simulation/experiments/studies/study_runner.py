"""A study from its plan to its cells: the encoder, the groundwork of each seed, then all cells.

    plan ── resolve ── cells without a file ──┬─ worker ── cells/3-9f86….npz
                                              └─ worker ── cells/0-77aa….npz

A killed study goes on: what has a file is not made again. Workers write their cell themselves, and
every draw has an address, so their number changes nothing.
"""

import functools
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from models.errors import DataError, PocketfleetError, SettingsError
from models.progress import Progress, silent
from simulation.data.fingerprint import data_sha256
from simulation.data.loading import load_interactions
from simulation.experiments.studies.groundwork import Groundwork, make_encoder
from simulation.experiments.studies.study_cells import (
    CellHeader,
    MeasuredCell,
    cell_file,
    digest_of,
    read_cell,
    write_cell,
)
from simulation.experiments.studies.study_kinds import (
    CellTask,
    StudyKind,
    kind_at,
    kind_of,
    place_of,
)
from simulation.experiments.studies.study_plan import Resolved, StudyPlan, resolve
from simulation.experiments.training import in_parallel
from simulation.fingerprints import bundle_sha256
from simulation.run_folder import git_commit
from simulation.settings import Settings

CURE = "--jobs 1; what was made is kept"
RUN_ONLY = {"workers"}
"""Settings that change no result."""


@dataclass(frozen=True, slots=True)
class CellJob:
    """A cell that is to be made, as it travels to a worker.

    Attributes:
        folder: of the study.
        place: module of its kind.
        settings: with the seed of the cell.
        options: of the kind.
        ground: folder of the groundwork, None where the kind needs none.
        encoder_seed: of the plan.
        cache: the cache folder.
        header: of the cell's file; seconds and figures are not known yet.
    """

    folder: Path
    place: str
    settings: Settings
    options: BaseModel
    ground: Path | None
    encoder_seed: int
    cache: Path
    header: CellHeader

    @property
    def path(self) -> Path:
        """Where the cell is written."""
        return cell_file(self.folder, self.header.seed, self.header.key)

    def run(self) -> None:
        """Make the cell and write it."""
        started = time.perf_counter()
        ground = Groundwork.open(self.ground, self.settings, self.cache) if self.ground else None
        shared = self.folder / "shared"
        task = CellTask(self.settings, self.options, ground, self.encoder_seed, shared, self.cache)
        try:
            found = kind_at(self.place).measure(task)
        except PocketfleetError as error:
            named = f"{self.header.variant}, seed {self.header.seed}"
            raise type(error)(f"{named}: {error}") from error
        known = {"seconds": time.perf_counter() - started, "figures": dict(found.figures)}
        write_cell(self.path, self.header.model_copy(update=known), found.slices)


def run_study(
    folder: Path,
    name: str,
    plan: StudyPlan,
    cache: Path,
    jobs: int,
    progress: Progress = silent,
    *,
    fresh: bool = False,
) -> list[MeasuredCell]:
    """Make all cells that have no file yet; return all of them, variant by variant, seed by seed.

    Args:
        folder: of the study.
        name: of the study.
        plan: of it.
        cache: the cache folder.
        jobs: worker processes.
        progress: told about everything that takes long.
        fresh: make every cell anew, and what they share but for the encoder.

    Raises:
        SettingsError: if a key or value of the plan is wrong.
        DataError: if data cannot be had, or a cell's file is damaged.
        EngineError: if a worker died.
    """
    kind = kind_of(plan.kind)
    rows = resolve(plan, kind.options)
    for row in rows:
        kind.check(row.settings, row.options)
    tables = _tables_of(rows, cache)
    rows = [_fitted(kind, row, tables) for row in rows]
    bundle = None
    if kind.needs_ground:
        bundle = make_encoder(folder, rows[0].settings, plan.encoder_seed, cache, progress)
    if fresh:
        for part in ("cells", "ground", "shared"):
            shutil.rmtree(folder / part, ignore_errors=True)
    every = _jobs(folder, name, plan, rows, tables, bundle, cache)
    made = {job.path: read_cell(job.path, job.header.key) for job in every}
    missing = [job for job in every if made.get(job.path) is None]
    if bundle is not None:
        _make_grounds(missing, bundle, jobs, progress)
    _make_cells(missing, len(every), jobs, progress)
    return [_whole(job) for job in every]


@dataclass(frozen=True, slots=True)
class _Table:
    """What is to be known of a catalogue before its study begins."""

    sha256: str
    num_users: int


def _tables_of(rows: list[Resolved], cache: Path) -> dict[str, _Table]:
    """Data settings, as JSON -> the table they lead to; each is read once."""
    found: dict[str, _Table] = {}
    for data in (row.settings.data for row in rows):
        told = data.model_dump_json()
        if told not in found:
            interactions = load_interactions(data, cache)
            found[told] = _Table(data_sha256(interactions), interactions.num_users)
    return found


def _fitted(kind: StudyKind, row: Resolved, tables: dict[str, _Table]) -> Resolved:
    """A row as this many devices can play it; what they cannot is refused before anything is made.

    Raises:
        SettingsError: if a cohort, or the nodes, outnumber the devices.
    """
    if not kind.needs_ground:
        return row
    settings = row.settings
    num_users = tables[settings.data.model_dump_json()].num_users
    num_devices = settings.population.devices or num_users
    settings = kind.fit(settings, row.options, num_devices)
    try:
        settings.federation.check_population(num_devices)
    except SettingsError as error:
        raise SettingsError(f"{row.variant.name}: {error}") from error
    return replace(row, settings=settings)


def _jobs(
    folder: Path,
    name: str,
    plan: StudyPlan,
    rows: list[Resolved],
    tables: dict[str, "_Table"],
    bundle: Path | None,
    cache: Path,
) -> list[CellJob]:
    bundle_hash = bundle_sha256(bundle) if bundle else ""
    kind, place, commit = kind_of(plan.kind), place_of(plan.kind), git_commit()
    jobs = []
    for row in rows:
        data_hash = tables[row.settings.data.model_dump_json()].sha256
        for seed in plan.seeds:
            settings = row.settings.model_copy(update={"seed": seed})
            if bundle:
                text = settings.text.model_copy(update={"bundle": str(bundle)})
                settings = settings.model_copy(update={"text": text})
            hashes = (_settings_sha256(kind, settings, row.options), data_hash, bundle_hash)
            header = CellHeader(
                study=name,
                variant=row.variant.name,
                seed=seed,
                key=digest_of(plan.kind, *hashes),
                settings_sha256=hashes[0],
                data_sha256=hashes[1],
                bundle_sha256=hashes[2],
                commit=commit,
                seconds=0.0,
                figures={},
            )
            ground = Groundwork.folder_of(folder, settings, *hashes[1:]) if bundle else None
            jobs.append(
                CellJob(
                    folder, place, settings, row.options, ground, plan.encoder_seed, cache, header
                )
            )
    return jobs


def _settings_sha256(kind: StudyKind, settings: Settings, options: BaseModel) -> str:
    """Of all that may change a result; where the bundle lies does not, its hash stands for it."""
    told = settings.model_dump(mode="json", exclude=RUN_ONLY)
    told["text"] = dict(told["text"], bundle="")
    beside = kind.beside(options)
    return digest_of(told, options.model_dump(mode="json"), *([] if beside is None else [beside]))


def _make_grounds(missing: list[CellJob], bundle: Path, jobs: int, progress: Progress) -> None:
    grounds = {job.ground: job for job in missing if job.ground is not None}
    tasks = [
        functools.partial(Groundwork.make, ground, job.settings, bundle, job.cache)
        for ground, job in grounds.items()
    ]
    _work("groundwork of each seed", tasks, [path.name for path in grounds], jobs, progress, 0)


def _make_cells(missing: list[CellJob], total: int, jobs: int, progress: Progress) -> None:
    names = [f"{job.header.variant}, seed {job.header.seed}" for job in missing]
    tasks = [job.run for job in missing]
    _work("cells of the study", tasks, names, jobs, progress, total - len(missing))


def _work(
    what: str,
    tasks: list,
    names: list[str],
    jobs: int,
    progress: Progress,
    done: int,
) -> None:
    total = done + len(tasks)
    progress(what, done, total)
    if not tasks:
        return
    for name, _ in in_parallel(tasks, names, jobs, CURE):
        done += 1
        progress(f"{what}\nlast: {name}", done, total)


def _whole(job: CellJob) -> MeasuredCell:
    """The cell of a job; its file may have been made under another name with the same settings."""
    cell = read_cell(job.path, job.header.key)
    if cell is None:
        raise DataError(f"the cell {job.path} is not there: run the study again")
    named = {"study": job.header.study, "variant": job.header.variant}
    return MeasuredCell(cell.header.model_copy(update=named), cell.slices)
