"""Users -> devices: a split is written as the columns that phones map from disk.

Every user becomes one device; device ids are the user indices of the interactions. The layout of
the folder is drawn in `clients.shard`. The folder appears whole or not at all. A held-out item that
is cold is not written: it is launched when the rounds have ended, and judged after that
(`simulation.experiments.evaluation`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.shard import WorldManifest, column
from models.histories import NO_PRIVATE_TEXT, Histories
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, Split
from simulation.world.devices import WorldSettings, tiers_of
from simulation.world.folder import replacing_world


@dataclass(frozen=True, slots=True)
class World:
    """A world folder and what the builder knows of it.

    Attributes:
        folder: where it lies.
        manifest: counts and tiers.
        private_texts: (M,) all private texts, in order of `private_row`.
    """

    folder: Path
    manifest: WorldManifest
    private_texts: list[str]

    @property
    def tier(self) -> NDArray[np.int8]:
        """(U,) tier of each device."""
        return column(self.folder, "tier")


def build_world(split: Split, settings: WorldSettings, seed: int, folder: Path) -> World:
    """Write the devices of a split.

    Args:
        split: training events (with private texts, if any) and held-out items.
        settings: the device tiers.
        seed: the run's seed.
        folder: where; an older world there is replaced.

    Raises:
        DataError: if the folder exists and holds no world.
    """
    interactions = split.interactions
    tier = tiers_of(np.arange(interactions.num_users), settings, seed)
    manifest = WorldManifest(
        interactions.num_users,
        interactions.num_items,
        tuple(kind.name for kind in settings.tiers),
        events="stored",
        seed=seed,
    )
    written = split.train[Columns.PRIVATE_TEXT].ne("")
    texts = split.train.loc[written, Columns.PRIVATE_TEXT].tolist()
    columns = _columns(split, written, texts) | {"tier": tier}
    with replacing_world(folder, manifest) as staging:
        for name, values in columns.items():
            np.save(staging / f"{name}.npy", values, allow_pickle=False)
    return World(folder, manifest, texts)


def pooled_histories(split: Split) -> Histories:
    """The same training events as one pool, without private texts: what a server may train on."""
    return Histories(_offsets(split), split.train[Columns.ITEM].to_numpy(np.int32))


def _offsets(split: Split) -> NDArray[np.int64]:
    users = split.train[Columns.USER].to_numpy()
    counts = np.bincount(users, minlength=split.interactions.num_users)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _warm_only(split: Split) -> NDArray[np.int32]:
    """What devices are judged by while rounds run; a cold item is not on the market yet."""
    is_cold = split.cold_item[split.held_out] & (split.held_out != NOTHING_HELD_OUT)
    return np.where(is_cold, NOTHING_HELD_OUT, split.held_out).astype(np.int32)


def _columns(split: Split, written: pd.Series, texts: list[str]) -> dict[str, NDArray]:
    """Every column of the world but the tiers."""
    train = split.train
    private_row = np.full(len(train), NO_PRIVATE_TEXT, dtype=np.int32)
    private_row[written.to_numpy()] = np.arange(len(texts), dtype=np.int32)
    encoded = [text.encode("utf-8") for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return {
        "offsets": _offsets(split),
        "item": train[Columns.ITEM].to_numpy(np.int32),
        "time_s": train[Columns.TIME_S].to_numpy(np.int64),
        "value": train[Columns.VALUE].to_numpy(np.float32),
        "held_out": _warm_only(split),
        "private_row": private_row,
        "private_text": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "private_text_offsets": np.concatenate([[0], ends]).astype(np.int64),
    }
