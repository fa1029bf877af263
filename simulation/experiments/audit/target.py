"""What is attacked: a federated arm that has been run, and what its attackers know.

An attacker knows everything that is public in a round: the parameters that were sent, the settings
of training, the catalogue. The devices' events are read too, for they are the truth that guesses
are judged by; nothing of a single device is returned, only sums over devices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.local_training import LocalUpdates, blocks_within
from clients.personal import PersonalStore
from clients.protocol.messages import TrainTask
from clients.recommender_training import train_devices
from clients.shard import DeviceShard, WorldManifest, column
from models.errors import DataError, SettingsError
from models.histories import Histories
from models.parameters import Layout
from models.recommender import Shared, parameter_layout, trained_names
from server.history import History
from server.settings import ServerJob
from simulation.run_folder import RunFolder

Vector = NDArray[np.float32]

LARGEST_POPULATION = 50_000
"""Attacks look at every device of a run; a fleet is attacked in the small."""


@dataclass(frozen=True, slots=True)
class Target:
    """A run under attack.

    Attributes:
        devices: the phones' side of the run.
        cloud: the cloud's side.
        initial: (P,) float32, parameters before round 1.
        final: (P,) float32, after the last one.
        layout: of the P numbers.
    """

    devices: DeviceJob
    cloud: ServerJob
    initial: Vector
    final: Vector
    layout: Layout

    @classmethod
    def of_run(cls, folder: Path, arm: str) -> "Target":
        """Open an arm of a run folder, wherever the folder was moved to.

        Raises:
            DataError: if the run did not end well, has no such arm, or a file is missing.
            SettingsError: if it has too many devices.
        """
        run = RunFolder(folder.resolve())
        record = run.record()
        if record.status != "complete":
            raise DataError(
                f"the run in {folder} is {record.status}: only one that has ended can be attacked"
            )
        if not (run.arm(arm) / DEVICE_JOB_FILE).is_file():
            found = sorted(path.parent.name for path in run.path.glob(f"arms/*/{DEVICE_JOB_FILE}"))
            raise DataError(
                f"the run in {folder} has no arm {arm!r}: it has {', '.join(found) or 'none'}"
            )
        return cls.of_arm(run.arm(arm), run)

    @classmethod
    def of_arm(
        cls, folder: Path, run: RunFolder | None = None, most_devices: int = LARGEST_POPULATION
    ) -> "Target":
        """Open the folder of an arm; with a run folder, its world is looked for there.

        Args:
            folder: of the arm.
            run: the run folder it belongs to, if it may have been moved.
            most_devices: more are refused; attacks that look at a few only can do with more.

        Raises:
            DataError: if the arm did not end.
            SettingsError: if it has too many devices.
        """
        devices, cloud = DeviceJob.read(folder), ServerJob.read(folder)
        if cloud.num_devices > most_devices:
            raise SettingsError(
                f"the run has {cloud.num_devices:,} devices, an attack looks at each of them and "
                f"takes {most_devices:,} at most: attack a run of a smaller population"
            )
        if run is not None:
            here = {"world": run.world, "phones": run.phones, "taste": folder / "taste.npy"}
            devices = devices.model_copy(update=here)
        text_dim = column(devices.phones, "item_text").shape[1]
        num_items = WorldManifest.read(devices.world).num_items
        return cls(
            devices,
            cloud,
            np.load(folder / "initial.npy", allow_pickle=False),
            History(folder).read_final(),
            parameter_layout(devices.recommender, num_items, text_dim),
        )

    @property
    def trained(self) -> Layout:
        """Layout of what a phone sends."""
        part = self.cloud.federation.training.trained
        return self.layout.only(trained_names(self.layout, part))

    def shard(self, taste: NDArray[np.float32] | None = None) -> DeviceShard:
        """All devices as one shard.

        Args:
            taste: (U, .) personal parameters in memory; None: none of them has learnt any yet.
        """
        shard = DeviceShard.open(
            self.devices.world,
            self.devices.phones,
            self.devices.taste,
            read_private_text=self.devices.read_private_text,
            taste_size=self.devices.recommender.dim,
        )
        fresh = np.zeros_like(shard.personal.settled) if taste is None else taste
        store = PersonalStore(shard.personal.path, 0, shard.num_devices, fresh)
        return replace(shard, personal=store)

    def named(self, parameters: Vector) -> Shared:
        """Flat parameters (P,) by name."""
        return self.layout.unflatten(torch.from_numpy(np.array(parameters)))

    def task(self, parameters: Vector, round_number: int, **training: float) -> TrainTask:
        """The task of a round, with changes to how phones train.

        Args:
            parameters: (P,).
            round_number: counted from 1.
            training: settings of the local training that are not the run's.
        """
        settled = {"block_bytes": self.cloud.federation.training.block_bytes or 2**22}
        settings = self.cloud.federation.training.model_copy(update=settled | training)
        return TrainTask(parameters, np.empty(0, dtype=np.int64), round_number, settings)


@dataclass(frozen=True, slots=True)
class TrainedBlock:
    """Devices that have trained together.

    Attributes:
        rows: (B,) local rows.
        updates: what they would send, not clipped.
        taste: (B, dim) what they would keep.
    """

    rows: NDArray[np.int64]
    updates: LocalUpdates
    taste: NDArray[np.float32]


def trained_blocks(
    target: Target, shard: DeviceShard, rows: NDArray[np.int64], task: TrainTask
) -> Iterator[TrainedBlock]:
    """Train devices as a node does, block by block, and hand out what a node keeps to itself.

    Args:
        target: the run.
        shard: its devices.
        rows: local rows, each once; blocks come in an order of their own.
        task: of `Target.task`; its list of devices is not looked at.
    """
    settings, parameters = target.devices.recommender, target.named(task.parameters)
    num_items = shard.manifest.num_items
    lengths = np.minimum(shard.events.lengths(rows), settings.max_history)

    def bytes_of(length: int) -> int:
        return 4 * num_items * (length + settings.dim)

    for block in blocks_within(rows, lengths, bytes_of, task.training.block_bytes):
        seed = target.devices.seed
        trained = train_devices(shard, block, parameters, task, settings, seed)
        yield TrainedBlock(block, trained.updates, trained.personal.taste.numpy())


def recent_items(shard: DeviceShard, row: int, max_history: int) -> NDArray[np.int64]:
    """What a device trains on: the different items of its last events, ascending."""
    histories, _ = shard.events.cut(np.array([row]))
    return np.unique(np.asarray(histories.items[-(max_history + 1) :], dtype=np.int64))


def popularity(histories: Histories, num_items: int) -> NDArray[np.int64]:
    """How often each item was chosen, (N,)."""
    return np.bincount(np.asarray(histories.items, dtype=np.int64), minlength=num_items)


def all_events(shard: DeviceShard) -> Histories:
    """The training events of all devices of a shard."""
    return shard.events.cut(np.arange(shard.num_devices))[0]
