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
    phones/                    what phones worked out by themselves with their own encoder
      item_text.npy (N, D)     text vectors of the catalogue, centred
      private_vectors.npy (M, D)
    taste.npy (U, dim)         personal parameters, one file per run (`clients.personal`)

Partition k of K is a contiguous stretch of devices, so K is free to change between runs.
"""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.personal import PersonalStore
from clients.protocol.partitions import partition_bounds
from models.errors import DataError
from models.histories import Histories

WORLD_FORMAT = 1


@dataclass(frozen=True, slots=True)
class WorldManifest:
    """What a world folder says of itself.

    Attributes:
        num_devices: U, the population.
        num_items: N, the catalogue.
        tiers: names of the device tiers, in the order of the `tier` column.
    """

    num_devices: int
    num_items: int
    tiers: tuple[str, ...]

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
        return cls(content["num_devices"], content["num_items"], tuple(content["tiers"]))


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
    ends = column(world, "private_text_offsets")
    raw = column(world, "private_text").tobytes()
    return [raw[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]


@dataclass(frozen=True, slots=True)
class DeviceShard:
    """The devices of one node. Rows are local: device `first_device + row`.

    Attributes:
        first_device: id of the device in row 0.
        histories: training events of the devices.
        held_out: (B,) int32.
        tier: (B,) int8.
        manifest: the world it was cut from.
        text: (N, D) float32, text vectors of the catalogue as this phone's encoder made them.
        personal: their personal parameters.
    """

    first_device: int
    histories: Histories
    held_out: NDArray[np.int32]
    tier: NDArray[np.int8]
    manifest: WorldManifest
    text: NDArray[np.float32]
    personal: PersonalStore

    @property
    def taste(self) -> NDArray[np.float32]:
        """(B, dim) float32 personal parameters, as the last settled round left them."""
        return self.personal.settled

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
    ) -> "DeviceShard":
        """Map a partition's columns.

        Args:
            world: folder that `simulation.world.build` wrote.
            phones: folder with the text vectors.
            taste: file of the personal parameters.
            partition_id: which partition, from 0.
            num_partitions: how many there are.
            read_private_text: whether the devices look at what was written privately.

        Raises:
            DataError: if a file is missing, or the partition does not exist.
        """
        manifest = WorldManifest.read(world)
        first, end = partition_bounds(manifest.num_devices, partition_id, num_partitions)
        offsets = np.asarray(column(world, "offsets")[first : end + 1])
        events = slice(int(offsets[0]), int(offsets[-1]))
        private_row = private_vectors = None
        if read_private_text:
            private_row = column(world, "private_row")[events]
            private_vectors = column(phones, "private_vectors")
        histories = Histories(
            offsets - offsets[0], column(world, "item")[events], private_row, private_vectors
        )
        return cls(
            first_device=first,
            histories=histories,
            held_out=column(world, "held_out")[first:end],
            tier=column(world, "tier")[first:end],
            manifest=manifest,
            text=np.array(column(phones, "item_text")),
            personal=PersonalStore.open(taste, first, end),
        )

    def rows(self, device_ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Local rows of these devices.

        Raises:
            DataError: if a device belongs to another partition; up to 10 are named.
        """
        rows = np.asarray(device_ids, dtype=np.int64) - self.first_device
        outside = (rows < 0) | (rows >= self.histories.num_users)
        if outside.any():
            strangers = np.asarray(device_ids)[outside][:10].tolist()
            last = self.first_device + self.histories.num_users - 1
            raise DataError(
                f"devices {strangers} are not on this node, which holds "
                f"{self.first_device} .. {last}"
            )
        return rows
