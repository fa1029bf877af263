"""A folder for one node: its own devices and nothing else, as it would lie on a machine of its own.

    run folder, all devices            node folder, devices first .. end - 1
      device-job.json  absolute paths    device-job.json  paths relative to it
      world/           U devices         world/           theirs; the manifest says `first_device`
      phones/          all texts         phones/          the catalogue's, and their private ones
      taste.npy        (U, dim)          taste.npy        (end - first, dim)

Device ids stay what they are, so every draw has the same address and a run on such folders ends
with the same parameters. The folder travels as a file; no message carries any of it. What its
devices learn about their users (`taste.npy`) stays in it.

Private texts themselves are left out: training reads their vectors.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.personal import settle_all
from clients.protocol.partitions import partition_bounds
from clients.shard import WORLD_FORMAT, WorldManifest, column
from models.errors import DataError
from models.files import write_text, write_whole

EVENT_COLUMNS = ("item", "time_s", "value")
SYNTHETIC_COLUMNS = ("tier", "num_events")  # by device; the rest describes the population


def cut_node_folder(run_folder: Path, partition_id: int, num_partitions: int, out: Path) -> None:
    """Cut what one node needs out of a prepared run folder.

    Args:
        run_folder: a federated arm that was prepared and not begun.
        partition_id: which partition, from 0.
        num_partitions: how many there are.
        out: the node's folder; must not exist.

    Raises:
        DataError: if `out` exists, the run folder is not prepared, or there is no such partition.
    """
    if out.exists():
        raise DataError(
            f"{out} exists, and what a node learned may lie there: remove it, or name another"
        )
    job = DeviceJob.read(run_folder)
    manifest = WorldManifest.read(job.world)
    first, end = partition_bounds(manifest.num_devices, partition_id, num_partitions)
    settle_all(job.taste, 0, manifest.num_devices)
    world, phones = out / "world", out / "phones"
    world.mkdir(parents=True)
    phones.mkdir()
    _save(phones / "item_text.npy", column(job.phones, "item_text"))
    if manifest.events == "synthetic":
        private = _cut_synthetic(job.world, world, first, end)
    else:
        private = _cut_stored(job.world, world, first, end, job.read_private_text)
    if job.read_private_text:
        _save(phones / "private_vectors.npy", column(job.phones, "private_vectors")[private])
    _save(out / "taste.npy", column(job.taste.parent, job.taste.stem)[first:end])
    part = {"format": WORLD_FORMAT} | asdict(replace(manifest, first_device=first))
    write_text(world / "manifest.json", json.dumps(part, indent=2) + "\n")
    relative = {"world": Path("world"), "phones": Path("phones"), "taste": Path("taste.npy")}
    here = job.model_copy(update=relative)  # written last: it says that all is there
    write_text(out / DEVICE_JOB_FILE, here.model_dump_json(indent=2) + "\n")


def _cut_stored(
    source: Path, world: Path, first: int, end: int, read_private_text: bool
) -> NDArray[np.int64]:
    """Cut the columns of stored events; return the rows of the private texts that are theirs."""
    for name in ("tier", "held_out"):
        _save(world / f"{name}.npy", column(source, name)[first:end])
    offsets = np.asarray(column(source, "offsets")[first : end + 1])
    inside = slice(int(offsets[0]), int(offsets[-1]))
    _save(world / "offsets.npy", offsets - offsets[0])
    for name in EVENT_COLUMNS:
        _save(world / f"{name}.npy", column(source, name)[inside])
    rows = np.asarray(column(source, "private_row")[inside])
    mine: NDArray[np.int64] = np.unique(rows[rows >= 0])
    renumbered = np.where(rows >= 0, np.searchsorted(mine, rows), -1).astype(rows.dtype)
    _save(world / "private_row.npy", renumbered if read_private_text else np.full_like(rows, -1))
    return mine


def _cut_synthetic(source: Path, world: Path, first: int, end: int) -> NDArray[np.int64]:
    """Cut the columns of synthetic devices; they write no private texts."""
    for path in sorted(source.glob("*.npy")):
        if path.stem in SYNTHETIC_COLUMNS:
            _save(world / path.name, column(source, path.stem)[first:end])
        else:
            shutil.copyfile(path, world / path.name)
    return np.empty(0, dtype=np.int64)


def _save(path: Path, array: NDArray) -> None:
    with write_whole(path) as file:
        np.save(file, array, allow_pickle=False)
