"""What the server remembers of each round: one JSON line per round, and the final parameters.

A line holds sums and counts of a cohort, never anything of one device. `seconds` is this machine's
time, `start_s` and `duration_s` are the virtual clock's. In a private run the figures that depend
on data without noise are null: they never left the nodes. Who took part follows from the plan,
which no data has changed; it is the cloud's own record and not part of what epsilon covers.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.protocol.messages import EvalReply, TrainReply
from models.errors import DataError
from models.files import write_text, write_whole
from models.metrics import PROTOCOLS, MetricSums
from server.cohorts import Cohort

HISTORY_FILE = "history.jsonl"
FINAL_FILE = "final.npy"
CHECKPOINT_FILE = "checkpoint.npz"
LEDGER_FILE = "ledger.json"
BYTES_PER_PARAMETER = 4  # a phone sends and receives float32


@dataclass(frozen=True, slots=True)
class Spent:
    """What a round of the history says about privacy.

    Attributes:
        epsilon: spent so far, or None.
        delta: that goes with it, or None.
        note: for the reader, or nothing.
    """

    epsilon: float | None = None
    delta: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round.

    Attributes:
        round_number: 0 is the evaluation before training.
        num_invited: devices that downloaded the parameters.
        num_reported: devices in the sum.
        num_late: devices whose report came when the round was over.
        num_dropped: devices that were interrupted.
        num_absent: devices that Poisson sampling drew and that were not there.
        num_refused: devices whose update was not finite, or None.
        num_lost: devices whose node failed.
        num_clipped: updates longer than the clip norm, or None.
        clip_norm: largest norm of an update in this round; None before training.
        loss: mean loss of the reporting devices before their training, or None.
        update_norm: mean L2 norm of their updates before clipping, or None.
        bytes_down: by all invited devices together.
        bytes_up: by all reporting devices together.
        smallest_sum: devices in the smallest sum that the cloud saw: of one node, or with secure
            sums of all; 1 lays a device's update open.
        seconds: time on this machine.
        start_s: virtual start of the round.
        duration_s: virtual length of the round.
        epsilon: what the run has spent after this round and its evaluation; None where nothing is
            promised.
        delta: that goes with it.
        note: what a reader must know of this round: what epsilon does not cover, why a run ended.
        faults: what went wrong with nodes in this round, a line each.
        metrics: protocol -> metric -> mean over devices, where evaluated.
        tiers: tier -> metric -> mean, full ranking, where evaluated.
    """

    round_number: int
    num_invited: int
    num_reported: int
    num_late: int
    num_dropped: int
    num_absent: int
    num_refused: int | None
    num_lost: int
    num_clipped: int | None
    clip_norm: float | None
    loss: float | None
    update_norm: float | None
    bytes_down: int
    bytes_up: int
    smallest_sum: int | None
    seconds: float
    start_s: float
    duration_s: float
    epsilon: float | None
    delta: float | None
    note: str
    faults: tuple[str, ...]
    metrics: dict[str, dict[str, float]] | None
    tiers: dict[str, dict[str, float]] | None

    @classmethod
    def before_training(cls, evaluated: EvalReply, spent: Spent) -> "RoundRow":
        """Round 0: where the run starts from."""
        metrics, tiers = _means(evaluated)
        return cls(
            round_number=0,
            num_invited=0,
            num_reported=0,
            num_late=0,
            num_dropped=0,
            num_absent=0,
            num_refused=0,
            num_lost=0,
            num_clipped=0,
            clip_norm=None,
            loss=None,
            update_norm=None,
            bytes_down=0,
            bytes_up=0,
            smallest_sum=None,
            seconds=0.0,
            start_s=0.0,
            duration_s=0.0,
            epsilon=spent.epsilon,
            delta=spent.delta,
            note=spent.note,
            faults=(),
            metrics=metrics,
            tiers=tiers,
        )

    @classmethod
    def of(
        cls,
        round_number: int,
        cohort: Cohort,
        reply: TrainReply,
        smallest_sum: int | None,
        *,
        clip_norm: float,
        spent: Spent,
        num_lost: int,
        faults: tuple[str, ...],
        seconds: float,
        traffic: tuple[int, int],
    ) -> "RoundRow":
        """A training round, before any evaluation.

        `traffic` is what a phone sends, and what it receives beside the parameters.
        """
        size = len(reply.update_sum) * BYTES_PER_PARAMETER
        up_bytes, more_down_bytes = traffic
        devices = reply.num_devices
        return cls(
            round_number=round_number,
            num_invited=len(cohort.invited),
            num_reported=devices,
            num_late=cohort.num_late,
            num_dropped=cohort.num_dropped,
            num_absent=cohort.num_absent,
            num_refused=reply.num_refused,
            num_lost=num_lost,
            num_clipped=reply.num_clipped,
            clip_norm=clip_norm,
            loss=_mean(reply.loss_sum, devices),
            update_norm=_mean(reply.norm_sum, devices),
            bytes_down=(size + more_down_bytes) * len(cohort.invited),
            bytes_up=up_bytes * devices,
            smallest_sum=smallest_sum,
            seconds=seconds,
            start_s=cohort.start_s,
            duration_s=cohort.duration_s,
            epsilon=spent.epsilon,
            delta=spent.delta,
            note=spent.note,
            faults=faults,
            metrics=None,
            tiers=None,
        )

    def to_json(self) -> str:
        """The round as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> "RoundRow":
        """Read what `to_json` wrote."""
        fields = json.loads(line)
        return cls(**fields | {"faults": tuple(fields["faults"])})

    def evaluated(self, reply: EvalReply, faults: tuple[str, ...]) -> "RoundRow":
        """The same round with the evaluation after it; without figures if no node answered."""
        faults = (*self.faults, *faults)
        if not reply.sums:
            return replace(self, faults=faults)
        metrics, tiers = _means(reply)
        return replace(self, metrics=metrics, tiers=tiers, faults=faults)


@dataclass(frozen=True, slots=True)
class History:
    """The history file of a run.

    Attributes:
        folder: the run's folder.
    """

    folder: Path

    def clear(self) -> None:
        """Remove an older history, its final parameters, its checkpoint and its ledger."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        (self.folder / FINAL_FILE).unlink(missing_ok=True)
        (self.folder / LEDGER_FILE).unlink(missing_ok=True)
        (self.folder / HISTORY_FILE).unlink(missing_ok=True)

    def keep(self, last_round: int) -> None:
        """Drop the rows of later rounds, and a line that was not written to its end."""
        path = self.folder / HISTORY_FILE
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n") or int(json.loads(line)["round_number"]) > last_round:
                break
            kept.append(line)
        write_text(path, "".join(kept))

    def last_round(self) -> int:
        """The round of the last row."""
        return int(self.rows()[-1]["round_number"])

    def append(self, row: RoundRow) -> None:
        """Add a round."""
        path = self.folder / HISTORY_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(row.to_json() + "\n")
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}; free some space") from error

    def rows(self) -> list[dict[str, Any]]:
        """All rounds so far, as they stand in the file.

        Raises:
            DataError: if there is no history.
        """
        path = self.folder / HISTORY_FILE
        if not path.is_file():
            raise DataError(f"no {HISTORY_FILE} in {self.folder}: the run has not started")
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}): run again") from error

    def write_final(self, parameters: NDArray[np.float32]) -> None:
        """Write the final parameters: the file says that the run is whole."""
        with write_whole(self.folder / FINAL_FILE) as file:
            np.save(file, parameters)

    def is_whole(self) -> bool:
        """Whether the run has ended."""
        return (self.folder / FINAL_FILE).is_file()

    def read_final(self) -> NDArray[np.float32]:
        """The final parameters (P,).

        Raises:
            DataError: if the run has not ended well.
        """
        path = self.folder / FINAL_FILE
        if not path.is_file():
            raise DataError(f"no {FINAL_FILE} in {self.folder}: the run did not end")
        try:
            final: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): run again") from error
        return final


def _mean(total: float | None, count: int) -> float | None:
    return None if total is None or count == 0 else total / count


def _means(
    evaluated: EvalReply,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    metrics = {protocol: _inside(evaluated.total(protocol)) for protocol in PROTOCOLS}
    tiers = {
        tier: _inside(sums)
        for (tier, protocol), sums in evaluated.sums.items()
        if protocol == "full"
    }
    return metrics, tiers


def _inside(sums: MetricSums) -> dict[str, float]:
    """Means within 0 .. 1, as every metric is: noise may have carried them out."""
    return {name: min(max(mean, 0.0), 1.0) for name, mean in sums.means().items()}
