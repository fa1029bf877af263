"""A node's devices: columns on disk, memory-mapped, written by the world and read by the phones.

    world/
      manifest.json            format, counts
      offsets.npy  (U + 1,)    device u owns events offsets[u] .. offsets[u + 1]
      item.npy     (E,)        training events, oldest first within a device
      time_s.npy   (E,)
      value.npy    (E,)
      held_out.npy (U,)        the item the device is evaluated on; -1 when it has none
      tier.npy     (U,)        index into the tiers of the manifest
      private_row.npy (E,)     row of the private text written with the event, or -1
      private_text.npy (M,)    the texts, UTF-8 bytes one after another
      private_text_offsets.npy (M + 1,)
    world/                     of synthetic devices
      manifest.json  tier.npy (U,)
      num_events.npy (U,)      training events of each; what they are is drawn when asked for
      taste_*.npy  topic_*.npy (`clients.synthetic_events`)
    phones/                    what phones worked out by themselves with their own encoder
      item_text.npy (N, D)     text vectors of the catalogue, centred
      private_vectors.npy (M, D)
    taste.npy (U, dim)         personal parameters, one file per run (`clients.personal`)

Partition k of K is a contiguous stretch of devices, so K is free to change between runs. A folder
may hold only some devices of the population, `first_device` of its manifest and those after it: the
columns then begin with that device, and device ids stay what they are.
"""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from clients.personal import PersonalStore
from clients.protocol.partitions import partition_bounds
from clients.synthetic_events import SyntheticEvents, TasteModel
from models.errors import DataError
from models.histories import Histories

WORLD_FORMAT = 2


@dataclass(frozen=True, slots=True)
class WorldManifest:
    """What a world folder says of itself.

    Attributes:
        num_devices: U, the population.
        num_items: N, the catalogue.
        tiers: names of the device tiers, in the order of the `tier` column.
        events: whether they are stored, or drawn when asked for.
        seed: of the population.
        first_device: the device that the columns of this folder begin with.
    """

    num_devices: int
    num_items: int
    tiers: tuple[str, ...]
    events: Literal["stored", "synthetic"]
    seed: int
    first_device: int = 0

    @classmethod
    def read(cls, world: Path) -> "WorldManifest":
        """Read `world/manifest.json`.

        Raises:
            DataError: if the folder holds no world, or one of another format.
        """
        path = world / "manifest.json"
        if not path.is_file():
            raise DataError(
                f"{world} holds no world (no manifest.json): run `pocketfleet world build`"
            )
        try:
            content = dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}): build the world again") from error
        if content.get("format") != WORLD_FORMAT:
            raise DataError(
                f"{path} has format {content.get('format')}, this version reads {WORLD_FORMAT}: "
                "build the world again"
            )
        try:
            return TypeAdapter(cls).validate_python(
                {name: value for name, value in content.items() if name != "format"}
            )
        except ValidationError as error:
            raise DataError(f"{path} is damaged ({error}): build the world again") from error


def column(folder: Path, name: str) -> NDArray:
    """Open one column, memory-mapped.

    Raises:
        DataError: if the file is missing or is no plain array.
    """
    path = folder / f"{name}.npy"
    try:
        mapped: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read column {path}: {error}; build the world again") from error
    return mapped


def private_texts(world: Path) -> list[str]:
    """What the users of a world wrote, in order of `private_row`; only phones may call this."""
    if WorldManifest.read(world).events == "synthetic":
        return []
    ends = column(world, "private_text_offsets")
    raw = column(world, "private_text").tobytes()
    return [raw[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]


class Events(Protocol):
    """What the devices of a node have done; rows are local, as in `DeviceShard`."""

    @property
    def num_devices(self) -> int:
        """B, all of the node."""
        ...

    def lengths(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many training events each of these devices has."""
        ...

    def cut(self, rows: NDArray[np.integer]) -> tuple[Histories, NDArray[np.int32]]:
        """The training events of these devices as users 0 .. B - 1, and what each held out.

        Items (B,) that they are evaluated on; -1 when a device has none.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredEvents:
    """Events that lie on disk.

    Attributes:
        histories: training events of the node's devices, mapped.
        held_out: (B,) int32, mapped.
    """

    histories: Histories
    held_out: NDArray[np.int32]

    @property
    def num_devices(self) -> int:
        """B, all of the node."""
        return self.histories.num_users

    def lengths(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many training events each of these devices has."""
        offsets = self.histories.offsets
        return np.asarray(offsets[np.asarray(rows) + 1] - offsets[rows])

    def cut(self, rows: NDArray[np.integer]) -> tuple[Histories, NDArray[np.int32]]:
        """The training events of these devices as users 0 .. B - 1, and what each held out.

        Items (B,) that they are evaluated on; -1 when a device has none.
        """
        return self.histories.cut(rows), np.asarray(self.held_out[rows])


@dataclass(frozen=True, slots=True)
class DeviceShard:
    """The devices of one node. Rows are local: device `first_device + row`.

    Attributes:
        first_device: id of the device in row 0.
        events: what the devices have done.
        tier: (B,) int8.
        manifest: the world it was cut from.
        text: (N, D) float32, text vectors of the catalogue as this phone's encoder made them.
        personal: their personal parameters: taste, and FedDyn's duals behind it if there are any.
        taste_size: columns of the taste; None: all columns.
    """

    first_device: int
    events: Events
    tier: NDArray[np.int8]
    manifest: WorldManifest
    text: NDArray[np.float32]
    personal: PersonalStore
    taste_size: int | None

    @property
    def num_devices(self) -> int:
        """B."""
        return len(self.tier)

    @property
    def taste(self) -> NDArray[np.float32]:
        """(B, dim) float32 personal vectors, as the last settled round left them."""
        return self.personal.settled[:, : self.taste_size]

    @property
    def duals(self) -> NDArray[np.float32]:
        """(B, P) float32, what FedDyn keeps on each phone; (B, 0) in a run without it."""
        return self.personal.settled[:, self.taste.shape[1] :]

    @classmethod
    def open(
        cls,
        world: Path,
        phones: Path,
        taste: Path,
        *,
        partition_id: int = 0,
        num_partitions: int = 1,
        read_private_text: bool = True,
        taste_size: int | None = None,
    ) -> "DeviceShard":
        """Map a partition's columns.

        Args:
            world: folder that `simulation.world` wrote.
            phones: folder with the text vectors.
            taste: file of the personal parameters.
            partition_id: which partition, from 0.
            num_partitions: how many there are.
            read_private_text: whether the devices look at what was written privately.
            taste_size: columns of the taste among the personal parameters; None: all of them.

        Raises:
            DataError: if a file is missing, or the partition does not exist.
        """
        manifest = WorldManifest.read(world)
        first, end = partition_bounds(manifest.num_devices, partition_id, num_partitions)
        start, tier = manifest.first_device, column(world, "tier")
        if first < start or end > start + len(tier):
            raise DataError(
                f"{world} holds devices {start} .. {start + len(tier) - 1}, partition "
                f"{partition_id} of {num_partitions} is {first} .. {end - 1}: give the node the "
                "folder that was cut for it, or mend its partition-id and num-partitions"
            )
        private = column(phones, "private_vectors") if read_private_text else None
        return cls(
            first_device=first,
            events=open_events(world, manifest, first, end, private),
            tier=tier[first - start : end - start],
            manifest=manifest,
            text=np.array(column(phones, "item_text")),
            personal=PersonalStore.open(taste, first, end, start),
            taste_size=taste_size,
        )

    def rows(self, device_ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Local rows of these devices.

        Raises:
            DataError: if a device belongs to another partition; up to 10 are named.
        """
        rows = np.asarray(device_ids, dtype=np.int64) - self.first_device
        outside = (rows < 0) | (rows >= self.num_devices)
        if outside.any():
            strangers = np.asarray(device_ids)[outside][:10].tolist()
            last = self.first_device + self.num_devices - 1
            raise DataError(
                f"devices {strangers} are not on this node, which holds "
                f"{self.first_device} .. {last}"
            )
        return rows


def open_events(
    world: Path,
    manifest: WorldManifest,
    first: int,
    end: int,
    private_vectors: NDArray[np.float32] | None = None,
) -> Events:
    """What the devices `first` .. `end - 1` have done.

    Args:
        world: folder of the world.
        manifest: what it says of itself.
        first: the first device.
        end: one more than the last.
        private_vectors: of what was written privately; None: nobody looks at it.

    Raises:
        DataError: if a column is missing or damaged.
    """
    here, beyond = first - manifest.first_device, end - manifest.first_device
    if manifest.events == "synthetic":
        num_events = column(world, "num_events")[here:beyond]
        return SyntheticEvents(TasteModel.read(world), first, num_events, manifest.seed)
    offsets = np.asarray(column(world, "offsets")[here : beyond + 1])
    inside = slice(int(offsets[0]), int(offsets[-1]))
    private_row = None if private_vectors is None else column(world, "private_row")[inside]
    histories = Histories(
        offsets - offsets[0], column(world, "item")[inside], private_row, private_vectors
    )
    return StoredEvents(histories, column(world, "held_out")[here:beyond])
