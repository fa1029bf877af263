"""Train all arms that learn: pooled ones in the cloud, federated ones on the phones.

    static ──────────┬──> federated
    teacher          └──> federated, no private text
    EI-BERT, pooled

Independent arms are trained at the same time, one process and one core each; every draw has an
address, so the number of workers changes nothing.
"""

import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.histories import Histories
from models.launch import launched
from models.progress import Progress, silent
from models.recommender import RecommenderSettings
from models.scoring import score_users
from models.threads import fixed_threads
from server.server_teacher import CentralModel, train_on_pooled_data
from server.settings import CentralTraining
from simulation.data.interactions import Columns
from simulation.engines.names import EngineName
from simulation.engines.watch import watched
from simulation.experiments.arms import CENTRAL, FEDERATED, STATIC, TEACHER
from simulation.experiments.federation import (
    FederatedArm,
    is_prepared,
    prepare_arm,
    run_arm,
)
from simulation.experiments.history_export import tensorboard, write_parquet
from simulation.experiments.materials import (
    Materials,
    check_materials,
    encode_on_phones,
    make_bundle,
    prepare_materials,
)
from simulation.run_folder import RunFolder
from simulation.settings import Settings


@dataclass(frozen=True, slots=True)
class CentralJob:
    """One arm that is trained on pooled data, as it travels to a worker process.

    Attributes:
        histories: the pool.
        text: (N, text_dim) text vectors.
        settings: the shape of the recommender.
        training: how to train.
        seed: the run's seed.
        users: rows to train on.
        learn_taste: whether users get personal vectors.
        cold_item: (N,) items that are launched when training has ended; None: all are there.
    """

    histories: Histories
    text: NDArray[np.float32]
    settings: RecommenderSettings
    training: CentralTraining
    seed: int
    users: NDArray[np.int64]
    learn_taste: bool
    cold_item: NDArray[np.bool_] | None = None

    def run(self) -> CentralModel:
        """Train it; cold items are still withheld in what comes out."""
        return train_on_pooled_data(
            self.histories,
            self.text,
            self.settings,
            self.training,
            self.seed,
            users=self.users,
            learn_taste=self.learn_taste,
            cold_item=self.cold_item,
        )

    def scores(self, model: CentralModel, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of the catalogue for some users, (B, N), with every item on the market."""
        return score_users(
            launched(model.parameters),
            self.text,
            self.histories,
            users,
            model.taste[users],
            self.settings.max_history,
        )


def earliest_active(
    pool_times: NDArray[np.int64], offsets: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """Rows of the users whose first event is earliest: those who opted in, ascending.

    Args:
        pool_times: (E,) time of each training event.
        offsets: (U + 1,) events of each user.
        share: of the users who have an event at all.
    """
    active = np.flatnonzero(np.diff(offsets) > 0)
    first = pool_times[offsets[active]]
    order = active[np.argsort(first, kind="stable")]
    return np.sort(order[: max(1, int(len(order) * share))])


def central_jobs(
    settings: Settings,
    materials: Materials,
    phone_text: NDArray[np.float32],
    teacher_text: NDArray[np.float32] | None,
) -> dict[str, CentralJob]:
    """The pooled arms: static alone when there are no teacher vectors, else all three."""
    times = materials.split.train[Columns.TIME_S].to_numpy()
    share = settings.comparison.opted_in_share
    everybody = np.arange(materials.pool.num_users)
    opted_in = earliest_active(times, materials.pool.offsets, share)

    def job(text: NDArray[np.float32], static: bool) -> CentralJob:
        return CentralJob(
            materials.pool,
            text,
            settings.recommender.without_parts(),
            settings.static if static else settings.central,
            settings.seed,
            opted_in if static else everybody,
            learn_taste=not static,
            cold_item=materials.split.cold_item,
        )

    jobs = {STATIC: job(phone_text, static=True)}
    if teacher_text is not None:
        jobs |= {TEACHER: job(teacher_text, static=False), CENTRAL: job(phone_text, static=False)}
    return jobs


def train_pooled(
    jobs: dict[str, CentralJob], workers: int, progress: Progress = silent
) -> dict[str, CentralModel]:
    """Train pooled arms, `workers` at a time; return arm -> model."""
    names = sorted(jobs)
    models: dict[str, CentralModel] = {}
    progress("training pooled arms", 0, len(names))
    for name, model in in_parallel([jobs[name].run for name in names], names, workers):
        models[name] = model
        progress("training pooled arms", len(models), len(names))
    return models


def play_federated(
    run: RunFolder,
    settings: Settings,
    materials: Materials,
    static: CentralModel,
    arms: tuple[str, ...],
    engine: EngineName,
    progress: Progress = silent,
) -> dict[str, FederatedArm]:
    """Run the federated arms, all from the static model.

    Under the inline engine `settings.workers` arms run at a time; Flower has processes of its own,
    so its arms run one after another.

    Args:
        run: the run folder.
        settings: of the run.
        materials: data and devices.
        static: where the arms start.
        arms: of `FEDERATED` and `FEDERATED_BLIND`.
        engine: which engine plays them.
        progress: told about rounds.
    """
    folders = {arm: _prepare_from(run, settings, materials, static, arm) for arm in arms}
    # One arm alone may have all the workers for its nodes.
    of_nodes = settings.workers if len(arms) == 1 else 1
    tasks = [functools.partial(run_arm, folders[arm], engine, of_nodes) for arm in arms]
    workers = settings.workers if engine == "inline" else 1
    rounds = settings.federation.rounds
    with ExitStack() as watching:
        for arm in arms:
            watching.enter_context(watched(folders[arm], rounds, f"rounds of {arm}", progress))
        played = dict(in_parallel(tasks, list(arms), workers))
    for folder in folders.values():
        write_parquet(folder)
    return played


def _prepare_from(
    run: RunFolder, settings: Settings, materials: Materials, static: CentralModel, arm: str
) -> Path:
    """Prepare an arm that starts from the static model."""
    return prepare_arm(
        run,
        arm,
        settings,
        materials,
        static.parameters,
        static.parameters["text_projection"].shape[0],
        read_private_text=arm == FEDERATED,
    )


def simulate_arm(
    run: RunFolder,
    settings: Settings,
    arm: str,
    engine: EngineName,
    cache: Path,
    progress: Progress = silent,
    *,
    fresh: bool = False,
    resume: bool = False,
    with_tensorboard: bool = False,
) -> FederatedArm:
    """Make all that one federated arm needs, and run it.

    Args:
        run: the run folder.
        settings: of the run.
        arm: `FEDERATED` or `FEDERATED_BLIND`.
        engine: which engine plays it.
        cache: the cache folder.
        progress: told about everything that takes long.
        fresh: make the encoder bundle anew even when nothing changed.
        resume: go on after the last round of an arm that lies there; one that was stopped before
            its first round is prepared anew.
        with_tensorboard: write TensorBoard's event files beside the history.
    """
    folder, rounds = run.arm(arm), settings.federation.rounds
    if not (resume and is_prepared(folder)):
        prepare_alone(run, settings, arm, cache, progress, fresh=fresh)
    with (
        tensorboard(folder, asked=with_tensorboard) as listeners,
        watched(folder, rounds, f"rounds of {arm}", progress, listeners),
        fixed_threads(1),
    ):
        played = run_arm(folder, engine, settings.workers)
    write_parquet(folder)
    return played


def prepare_alone(
    run: RunFolder,
    settings: Settings,
    arm: str,
    cache: Path,
    progress: Progress = silent,
    *,
    fresh: bool = False,
) -> Path:
    """Make all that one federated arm needs before round 1; return its folder.

    Args:
        run: the run folder.
        settings: of the run.
        arm: `FEDERATED` or `FEDERATED_BLIND`.
        cache: the cache folder.
        progress: told about everything that takes long.
        fresh: make the encoder bundle anew even when nothing changed.
    """
    materials, static = prepare_start(run, settings, cache, progress, fresh=fresh)
    return _prepare_from(run, settings, materials, static, arm)


def prepare_start(
    run: RunFolder,
    settings: Settings,
    cache: Path,
    progress: Progress = silent,
    *,
    fresh: bool = False,
) -> tuple[Materials, CentralModel]:
    """Make what federated arms have in common: data, devices, their text vectors, and the start."""
    materials = prepare_materials(run, settings, cache, progress)
    check_materials(materials, settings)
    make_bundle(run, settings, materials.catalogue, cache, progress, fresh=fresh)
    _, text = encode_on_phones(run, materials, progress)
    jobs = central_jobs(settings, materials, text, None)
    return materials, train_pooled(jobs, settings.workers, progress)[STATIC]


Result = TypeVar("Result")


def in_parallel(
    tasks: Sequence[Callable[[], Result]],
    names: Sequence[str],
    workers: int,
    cure: str = "--set workers=1",
) -> Iterator[tuple[str, Result]]:
    """Run tasks, each on one thread; yield (name, result) as they end.

    `cure` is what an error tells a user to try.

    With one worker, or one task, they run in this process, one after another. When one fails, or
    the caller stops, the others are stopped too.

    Raises:
        EngineError: if a worker process died.
    """
    if workers == 1 or len(tasks) == 1:
        for name, task in zip(names, tasks, strict=True):
            yield name, _on_one_thread(task)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_start_worker
    )
    try:
        futures = {
            pool.submit(_on_one_thread, task): name for name, task in zip(names, tasks, strict=True)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise EngineError(
            f"a worker process died while training {_few(names)}, most likely for want of "
            f"memory: run again with {cure}"
        ) from error
    finally:
        processes = list(pool._processes.values()) if pool._processes else []
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()  # nothing runs any more unless somebody failed or stopped


def _few(names: Sequence[str], most: int = 5) -> str:
    """Some names, and how many there are beside them."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _start_worker() -> None:
    """Ctrl-C is for the parent, which stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _on_one_thread(task: Callable[[], Result]) -> Result:
    """Of torch and of BLAS, wherever it runs: threads change the order of sums."""
    with fixed_threads(1):
        return task()
