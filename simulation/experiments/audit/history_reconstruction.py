"""Which items did this phone's user choose? Read off one update.

The gradient of a softmax lifts what was chosen next and pushes down all else, so the sign of an
item's bias tells. With s_t the score vectors' gradient at moment t, and u_t the user's state,

    bias_i    ~  sum_t s_ti           > 0 for what was chosen, < 0 for the others
    row_i     ~  sum_t s_ti u_t       nearly s_i times a mean state: the table is near rank one

    reader "bias"       ranks items by their bias alone
    reader "direction"  ranks by the leading left singular vector of [rows, bias], with the sign
                        that goes with the bias: all 33 numbers of an item speak, noise averages out

With sampled negatives an item that did not move was not touched: it is guessed last. Guesses are as
many as the history is long, which an attacker is granted. Beside them stand guesses of the most
popular items, and chance.

This is label leakage of the softmax [1] in a recommender.

[1] B. Zhao, K. Mopuri, H. Bilen, "iDLG: Improved Deep Leakage from Gradients", 2020.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.privacy.local_noise import noise_of_devices
from models.errors import SettingsError
from models.parameters import Layout
from models.progress import Progress, silent
from models.seeds import generator
from simulation.experiments.audit.findings import Findings, Row, recall_at, with_interval
from simulation.experiments.audit.protections import clipped, gaussian, masked
from simulation.experiments.audit.target import (
    Target,
    all_events,
    popularity,
    recent_items,
    trained_blocks,
)

Table = NDArray[np.float64]
"""(N, dim + 1): rows of the items' residuals, and their biases in the last column; where phones do
not send residuals, biases alone, (N, 1)."""


class HistoryAttack(BaseModel):
    """Sizes of the attack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: int = Field(ge=2, description="phones that are attacked, drawn at random")
    noise: tuple[float, ...] = Field(description="local noise on each number / clip norm")
    sums: tuple[int, ...] = Field(description="phones in a sum, this one included")
    negatives: int = Field(ge=0, description="also with so many sampled negatives; 0: without")


def by_bias(table: Table) -> NDArray[np.float64]:
    """Guess by the bias, (N,); items that did not move at all come last."""
    moved = np.abs(table).max(axis=1) > 0
    return np.where(moved, table[:, -1], -np.inf)


def by_direction(table: Table) -> NDArray[np.float64]:
    """Guess by the leading direction of residuals and biases together, (N,)."""
    moved = np.abs(table).max(axis=1) > 0
    # The right singular vector from the small Gram matrix: (dim + 1)^2 numbers, not N.
    _, vectors = np.linalg.eigh(table.T @ table)
    leading = table @ vectors[:, -1]
    sign = 1.0 if leading @ table[:, -1] >= 0 else -1.0
    return np.where(moved, sign * leading, -np.inf)


Reader = Callable[[Table], NDArray[np.float64]]

READERS: dict[str, Reader] = {
    "bias": by_bias,
    "direction": by_direction,
}


def table_of(layout: Layout, update: NDArray[np.floating]) -> Table:
    """The item table in an update (P,): residuals, and biases in the last column."""
    named = layout.unflatten(torch.from_numpy(np.array(update, dtype=np.float64)))
    residuals = [named["id_residual"]] if "id_residual" in named else []
    columns = [*residuals, named["item_bias"].unsqueeze(1)]
    return np.asarray(torch.cat(columns, dim=1).numpy())


@dataclass(frozen=True, slots=True)
class Victims:
    """Phones under attack.

    Attributes:
        device_ids: (D,) ascending.
        plain: (D, P) what each would send, not clipped.
        clipped: (D, P) the same, each as short as the clip norm wants.
        items: of each, the items that it trained on.
        layout: of the P numbers.
        clip_norm: of the run.
        seed: of the run.
    """

    device_ids: NDArray[np.int64]
    plain: NDArray[np.float32]
    clipped: NDArray[np.float32]
    items: list[NDArray[np.int64]]
    layout: Layout
    clip_norm: float
    seed: int

    @classmethod
    def of(cls, target: Target, attack: HistoryAttack, negatives: int) -> "Victims":
        """Let some devices train for one round and keep what each of them would send."""
        shard, length = target.shard(), target.devices.recommender.max_history
        rows = _drawn(shard.events.lengths(np.arange(shard.num_devices)), attack, target)
        task = target.task(target.initial, 1, num_negatives=negatives)
        plain = np.empty((len(rows), target.trained.size), np.float32)
        for block in trained_blocks(target, shard, rows, task):
            plain[np.searchsorted(rows, block.rows)] = block.updates.rows().numpy()
        clip_norm = task.training.clip_norm
        return cls(
            rows,
            plain,
            clipped(plain, clip_norm).astype(np.float32),
            [recent_items(shard, int(row), length) for row in rows],
            target.trained,
            clip_norm,
            target.devices.seed,
        )

    def recalls(self, seen_of: Callable[[int], NDArray], reader: Reader) -> NDArray[np.float64]:
        """Recall for each phone, (D,), when the attacker sees `seen_of(phone)`, (P,)."""
        return np.array(
            [
                recall_at(reader(table_of(self.layout, seen_of(phone))), items, len(items))
                for phone, items in enumerate(self.items)
            ]
        )

    def noised(self, phone: int, noise: float) -> NDArray[np.float64]:
        """What the phone sends under the local mechanism, with this noise / clip norm."""
        std, device = noise * self.clip_norm, self.device_ids[[phone]]
        added = noise_of_devices(self.seed, 1, device, self.layout.size, std)
        return np.asarray(self.clipped[phone] + added)

    def summed(self, phone: int, size: int, noise: float = 0.0) -> NDArray[np.float64]:
        """The sum over this phone and others, all clipped, with central noise / clip norm."""
        others = np.delete(np.arange(len(self.items)), phone)
        rng = generator(self.seed, "company of an attacked update", phone)
        company = rng.permutation(others)[: size - 1]
        total = self.clipped[[phone, *company]].sum(axis=0, dtype=np.float64)
        std = noise * self.clip_norm
        return np.asarray(
            total + gaussian(self.layout.size, std, self.seed, "noise on an attacked sum", phone)
        )

    def masked(self, phone: int) -> NDArray[np.float64]:
        """What a phone sends under secure aggregation."""
        return masked(self.layout.size, self.seed, phone)


def reconstruct_histories(
    target: Target, attack: HistoryAttack, progress: Progress = silent
) -> Findings:
    """Attack the first round of a run and say how much of the histories was read.

    Raises:
        SettingsError: if phones send nothing of single items, or a sum outnumbers the devices.
    """
    _check(attack, target)
    shard = target.shard()
    seed, num_items = target.devices.seed, shard.manifest.num_items
    popular = popularity(all_events(shard), num_items).astype(np.float64)
    rows: list[Row] = []
    losses = [0, attack.negatives] if attack.negatives else [0]
    for place, negatives in enumerate(losses):
        progress("reading histories off updates", place, len(losses))
        victims = Victims.of(target, attack, negatives)
        loss = f"{negatives} sampled negatives" if negatives else "whole catalogue"
        guessed = [recall_at(popular, items, len(items)) for items in victims.items]
        beside = {
            "popularity": float(np.mean(guessed)),
            "chance": float(np.mean([len(items) / num_items for items in victims.items])),
        }
        for seen, reader, recalls in _scenes(victims, attack):
            figures = with_interval("recall", recalls, seed)
            rows.append({"loss": loss, "seen": seen, "reader": reader, **figures, **beside})
    progress("reading histories off updates", len(losses), len(losses))
    return Findings(
        "history",
        "Which items did a phone's user choose, from what the phone sends in round 1?",
        rows,
        (
            f"{attack.devices} phones, guesses as many as each history is long.",
            "Noise is per number, as a share of the clip norm; local noise with an epsilon worth "
            "having is 1 and more.",
            "A masked input is uniform in its ring: guessing from it is chance.",
        ),
    )


def _scenes(
    victims: Victims, attack: HistoryAttack
) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """What is seen, the reader's name, and the recall for each phone."""
    seen: dict[str, Callable[[int], NDArray]] = {
        "plain update": lambda phone: victims.plain[phone],
        "clipped": lambda phone: victims.clipped[phone],
    }
    for noise in attack.noise:
        seen[f"clipped + noise {noise:g}"] = partial(victims.noised, noise=noise)
    for size in attack.sums:
        seen[f"sum of {size}"] = partial(victims.summed, size=size)
    if attack.sums and attack.noise:
        most, loudest = max(attack.sums), max(attack.noise)
        released = partial(victims.summed, size=most, noise=loudest)
        seen[f"sum of {most} + central noise {loudest:g}"] = released
    seen["masked input"] = victims.masked
    for name, view in seen.items():
        for reader, read in READERS.items():
            yield name, reader, victims.recalls(view, read)


def _drawn(lengths: NDArray[np.int64], attack: HistoryAttack, target: Target) -> NDArray[np.int64]:
    """Devices with something to train on, drawn at random; ascending."""
    able = np.flatnonzero(lengths >= 2)
    rng = generator(target.devices.seed, "attacked devices")
    return np.sort(rng.permutation(able)[: attack.devices])


def _check(attack: HistoryAttack, target: Target) -> None:
    if "item_bias" not in target.trained.names:
        raise SettingsError(
            f"federation.training.trained is '{target.cloud.federation.training.trained}': phones "
            "send nothing of single items, so there is nothing to read; take 'all' or 'head+bias'"
        )
    largest = max(attack.sums, default=1)
    if largest > min(attack.devices, target.cloud.num_devices):
        raise SettingsError(
            f"history.sums has a sum of {largest} phones, {attack.devices} are attacked and the "
            f"run has {target.cloud.num_devices}: ask for smaller sums, or more devices"
        )
