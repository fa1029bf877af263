"""One federated arm: jobs and plan are written to a folder, an engine plays them, a result is read.

arms/federated/
  device-job.json  server-job.json  cohorts.npz  initial.npy  taste.npy    before
  history.jsonl  final.npy                                                 after
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.local_training import processor_of
from clients.personal import PersonalStore, settle_all
from clients.shard import DeviceShard
from models.errors import DataError
from models.files import write_text, write_whole
from models.launch import launched
from models.recommender import Shared, initial_parameters, parameter_layout, trained_names
from server.checkpoints import Checkpoint
from server.history import BYTES_PER_PARAMETER, History
from server.privacy.accounts import with_noise_solved
from server.privacy.noise_seed import noise_seed_of
from server.settings import SERVER_JOB_FILE, Federation, ServerJob
from simulation.engines.deployment import run_deployment
from simulation.engines.flower import run_flower
from simulation.engines.hardware import block_bytes_on, processor_here
from simulation.engines.inline import run_inline
from simulation.engines.names import EngineName
from simulation.engines.pool import run_in_pool
from simulation.experiments.materials import Materials
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.timeline import RoundCost, Timeline

DEPLOYED_FILE = "deployed.txt"
"""Says that the devices of a prepared arm were handed to machines of their own."""

PLAYERS: dict[EngineName, Callable[[Path, int], None]] = {
    "inline": run_inline,
    "flower": run_flower,
    "deployment": run_deployment,
}


@dataclass(frozen=True, slots=True)
class FederatedArm:
    """A federated arm that has been run.

    Attributes:
        folder: where it lies.
        parameters: (P,) float32, final; cold items are still withheld (`models.launch`).
        job: the phones' side of the run.
    """

    folder: Path
    parameters: NDArray[np.float32]
    job: DeviceJob

    def shard(self) -> DeviceShard:
        """All its devices as one shard, with their personal parameters as training left them."""
        return DeviceShard.open(
            self.job.world,
            self.job.phones,
            self.job.taste,
            read_private_text=self.job.read_private_text,
            taste_size=self.job.recommender.dim,
        )

    def shared(self) -> Shared:
        """Its final shared parameters by name, with every item on the market."""
        num_items, text_dim = self.shard().text.shape
        layout = parameter_layout(self.job.recommender, num_items, text_dim)
        return launched(layout.unflatten(torch.from_numpy(self.parameters.copy())))

    def launched(self) -> NDArray[np.float32]:
        """(P,) its final parameters with every item on the market: what phones serve with."""
        num_items, text_dim = self.shard().text.shape
        layout = parameter_layout(self.job.recommender, num_items, text_dim)
        return np.asarray(layout.flatten(self.shared()).numpy())

    def history(self) -> History:
        """Its rounds."""
        return History(self.folder)


def prepare_arm(
    run: RunFolder,
    name: str,
    settings: Settings,
    materials: Materials,
    start: Shared,
    text_dim: int,
    *,
    read_private_text: bool,
) -> Path:
    """Write everything an engine needs to run this arm; return its folder.

    Args:
        run: the run folder; `world/` and `phones/` must be there.
        name: of the arm, and of its folder.
        settings: the run's settings.
        materials: data and devices.
        start: the shared parameters to start from; a low rank, an adapter or gates that are not
            among them begin as if they were not there.
        text_dim: size of the phones' text vectors.
        read_private_text: whether the devices look at private texts.

    Raises:
        SettingsError: if a cohort, or the nodes, outnumber the devices, or the privacy that is
            asked for cannot be had, or secure sums could overflow.
    """
    folder = run.arm(name)
    (folder / SERVER_JOB_FILE).unlink(missing_ok=True)  # written last: it says that all is there
    (folder / DEPLOYED_FILE).unlink(missing_ok=True)
    History(folder).clear()
    federation, num_devices = _settled(settings.federation), materials.world.manifest.num_devices
    layout = parameter_layout(settings.recommender, materials.world.manifest.num_items, text_dim)
    train_s = settings.world.reference.step_s * federation.training.local_epochs
    names = trained_names(layout, federation.training.trained)
    dim = layout.only(names).size
    up_bytes, more_down_bytes = federation.traffic_of_a_phone(dim, federation.cohort_size)
    cost = RoundCost(
        bytes_down=layout.size * BYTES_PER_PARAMETER + more_down_bytes,
        bytes_up=up_bytes,
        train_s=train_s,
    )
    timeline = Timeline(settings.world, num_devices, cost, settings.seed)
    plan = plan_cohorts(timeline, federation)
    federation = with_noise_solved(federation, num_devices, plan, dim)
    federation.secure_plan(dim, num_devices)  # refuses what could overflow
    plan.write(folder / "cohorts.npz")
    num_items = materials.world.manifest.num_items
    parts = initial_parameters(settings.recommender, num_items, text_dim, settings.seed)
    _save(folder / "initial.npy", layout.flatten(parts | start).numpy())
    digests = [_digest_of(path) for path in (folder / "initial.npy", *_files_of(run.world))]
    noise_seed = noise_seed_of(settings.seed, name, federation, digests)
    duals = layout.only(names).size if federation.training.dynamic else 0
    columns = settings.recommender.dim + duals
    PersonalStore.create(folder / "taste.npy", num_devices, columns)
    device_job = DeviceJob(
        seed=settings.seed,
        noise_seed=noise_seed,
        world=run.world,
        phones=run.phones,
        taste=folder / "taste.npy",
        recommender=settings.recommender,
        read_private_text=read_private_text,
        threads=1,
    )
    server_job = ServerJob(
        seed=settings.seed,
        noise_seed=noise_seed,
        num_devices=num_devices,
        num_parameters=layout.size,
        trained=layout.stretches(names),
        tiers=tuple(tier.name for tier in settings.world.tiers),
        federation=federation,
        plan=folder / "cohorts.npz",
        initial=folder / "initial.npy",
        folder=folder,
    )
    write_text(folder / DEVICE_JOB_FILE, device_job.model_dump_json(indent=2) + "\n")
    write_text(folder / SERVER_JOB_FILE, server_job.model_dump_json(indent=2) + "\n")
    return folder


def _settled(federation: Federation) -> Federation:
    """With processor and size of a block: chosen once, so that a resumed run does the same."""
    training = federation.training
    processor = processor_here() if training.processor == "auto" else training.processor
    size = training.block_bytes or block_bytes_on(processor)
    settled = training.model_copy(update={"processor": processor, "block_bytes": size})
    processor_of(settled)
    return federation.model_copy(update={"training": settled})


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_prepared(folder: Path) -> bool:
    """Whether all that an engine needs lies there."""
    return (folder / SERVER_JOB_FILE).is_file()


def run_arm(folder: Path, engine: EngineName, workers: int = 1) -> FederatedArm:
    """Run a prepared arm to its end, from its last checkpoint if it has one.

    One that has ended is read and not run again.

    Args:
        folder: what `prepare_arm` returned.
        engine: "inline" (this process), "flower" (`flwr run`, Ray) or "deployment" (a SuperLink
            and SuperNodes on this machine).
        workers: inline: processes in which nodes answer; 1 is this one.

    Raises:
        EngineError: if the engine failed, or a reply is missing or wrong.
        DataError: if the checkpoint is damaged, or the devices are on machines of their own and
            the run has not ended there.
    """
    _refuse_deployed(folder)
    job, checkpoint = ServerJob.read(folder), Checkpoint.read(folder)
    taste, federation = DeviceJob.read(folder).taste, job.federation
    if not History(folder).is_whole():
        rounds_done = checkpoint.rounds_done if checkpoint else 0
        settle_all(taste, rounds_done, job.num_devices)
        if engine == "inline" and workers > 1 and federation.num_nodes > 1:
            run_in_pool(folder, federation.num_nodes, workers)
        else:
            PLAYERS[engine](folder, federation.num_nodes)
    settle_all(taste, federation.rounds, job.num_devices)
    Checkpoint.forget(folder)
    return read_arm(folder)


def _refuse_deployed(folder: Path) -> None:
    """A deployed run goes on where its devices are, not with the copies that lie here."""
    if (folder / DEPLOYED_FILE).is_file() and not History(folder).is_whole():
        where = (folder / DEPLOYED_FILE).read_text(encoding="utf-8").strip()
        raise DataError(
            f"the run in {folder} was laid out for machines of its own and has not ended there: go "
            f"on with the last command of {where}, or run it here anew, without --resume"
        )


def read_arm(folder: Path) -> FederatedArm:
    """Read an arm that has been run.

    Raises:
        DataError: if it did not end.
    """
    return FederatedArm(folder, History(folder).read_final(), DeviceJob.read(folder))


def _save(path: Path, array: NDArray) -> None:
    with write_whole(path) as file:
        np.save(file, array, allow_pickle=False)
