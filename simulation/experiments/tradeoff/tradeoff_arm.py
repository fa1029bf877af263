"""One arm of a trade-off: run, judged, attacked, written down.

    arms/tradeoff-NAME/       the federated arm as any other; killed, it goes on
    tradeoff/NAME.json        its row, written when all of it is known

A row is made again when the settings of its arm have changed; else it is read.
"""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from clients.local_evaluation import evaluated_blocks
from clients.protocol.messages import EvalTask
from clients.shard import DeviceShard
from models.files import write_text
from models.intervals import Interval, PairedBootstrap
from models.seeds import generator
from server.privacy.statement import PrivacyStatement
from server.server_teacher import CentralModel
from server.settings import ServerJob
from simulation.experiments.audit.target import Target
from simulation.experiments.federation import FederatedArm, prepare_arm, run_arm
from simulation.experiments.materials import Materials
from simulation.experiments.tradeoff.adversaries import (
    FromBelow,
    delta_of,
    epsilon_from_below,
    history_read,
)
from simulation.experiments.tradeoff.tradeoff_plan import TradeoffArm, TradeoffPlan
from simulation.run_folder import RunFolder, git_commit
from simulation.settings import Settings

KEY_FILE = "tradeoff-key.txt"
METRICS = ("ndcg@10", "hr@10")


class Estimate(BaseModel):
    """A mean with its 95 % interval, a fraction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Interval) -> "Estimate":
        """For JSON."""
        return cls(mean=found.mean, low=found.low, high=found.high)


class TradeoffRow(BaseModel):
    """What an arm costs and promises.

    Attributes:
        name: of the arm.
        title: for the reader.
        quality: metric -> mean over the evaluated devices.
        start: the same before round 1.
        gain: from there to the end, device by device.
        mechanism: "none", "central", "local" or "distributed".
        hidden: whether the cloud sees the whole sum only.
        noise_multiplier: of the sum, or of an update under local noise; 0 without.
        epsilon: None where nothing is promised.
        epsilon_outside: distributed noise: against those who see parameters only.
        epsilon_at_hand: scaled: for the devices that there are.
        delta: of all epsilons.
        scaled_population: that noise is scaled to, or 0.
        epsilon_at_least: what canaries prove, None where they were not sent.
        audited_epsilon: that was accounted for the canaries' run.
        history: recall of a phone's items from what the cloud sees; None: nothing of items is sent.
        bytes_up: of a phone in a round.
        bytes_down: likewise.
        devices_per_round: that reported, the mean.
        seconds_per_round: on this machine, the median.
        rounds: that were run.
        key: of settings and plan.
        commit: of the code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    quality: dict[str, Estimate]
    start: dict[str, Estimate]
    gain: dict[str, Estimate]
    mechanism: str
    hidden: bool
    noise_multiplier: float
    epsilon: float | None
    epsilon_outside: float | None
    epsilon_at_hand: float | None
    delta: float
    scaled_population: int
    epsilon_at_least: float | None
    audited_epsilon: float | None
    history: Estimate | None
    bytes_up: int
    bytes_down: int
    devices_per_round: float
    seconds_per_round: float
    rounds: int
    key: str
    commit: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What all arms share.

    Attributes:
        run: the run folder, its world and phones made.
        plan: of the trade-off.
        materials: data and devices.
        static: where all arms start.
    """

    run: RunFolder
    plan: TradeoffPlan
    materials: Materials
    static: CentralModel

    def row_file(self, arm: TradeoffArm) -> Path:
        """Where the row of an arm is."""
        return self.run.path / "tradeoff" / f"{arm.name}.json"

    def row(self, arm: TradeoffArm, settings: Settings) -> TradeoffRow:
        """The row of an arm: read, if it is of these settings, or made.

        Args:
            arm: which promise.
            settings: of its run.
        """
        key = key_of(settings, self.plan)
        if (kept := read_row(self.row_file(arm), key)) is not None:
            return kept
        folder = self._prepared(arm, settings, key)
        played = run_arm(folder, "inline", settings.workers)
        made = self._judged(arm, settings, played, key)
        write_text(self.row_file(arm), made.model_dump_json(indent=2) + "\n")
        return made

    def _prepared(self, arm: TradeoffArm, settings: Settings, key: str) -> Path:
        """The folder of the arm, ready to be run or to go on."""
        name = f"tradeoff-{arm.name}"
        keyed = self.run.arm(name) / KEY_FILE
        if keyed.is_file() and keyed.read_text(encoding="utf-8") == key:
            return self.run.arm(name)
        keyed.unlink(missing_ok=True)
        text_dim = self.static.parameters["text_projection"].shape[0]
        start = self.static.parameters
        folder = prepare_arm(
            self.run, name, settings, self.materials, start, text_dim, read_private_text=True
        )
        write_text(keyed, key)
        return folder

    def _judged(
        self, arm: TradeoffArm, settings: Settings, played: FederatedArm, key: str
    ) -> TradeoffRow:
        cloud, rows = ServerJob.read(played.folder), played.history().rows()[1:]
        federation, privacy = cloud.federation, cloud.federation.privacy
        said = PrivacyStatement.read(played.folder)
        target = Target.of_arm(played.folder, most_devices=cloud.num_devices)
        below, read = self._from_below(target), history_read(target, self.plan.attacks)
        reported = [row["num_reported"] for row in rows]
        invited = [row["num_invited"] for row in rows]
        end = self._values(played.shard(), played.parameters, target, settings)
        start = self._values(target.shard(), target.initial, target, settings)
        users, replicates = len(end[METRICS[0]]), settings.comparison.replicates
        over_users = PairedBootstrap.draw(users, settings.seed, replicates=replicates)
        return TradeoffRow(
            name=arm.name,
            title=arm.title,
            quality={name: Estimate.of(over_users.mean(end[name])) for name in METRICS},
            start={name: Estimate.of(over_users.mean(start[name])) for name in METRICS},
            gain={
                name: Estimate.of(over_users.difference(end[name], start[name])) for name in METRICS
            },
            mechanism=privacy.mechanism,
            hidden=federation.secure_sum.enabled,
            noise_multiplier=privacy.noise_multiplier,
            epsilon=said.epsilon if said else None,
            epsilon_outside=said.epsilon_outside if said else None,
            epsilon_at_hand=said.epsilon_at_hand if said else None,
            delta=said.delta if said else delta_of(federation, cloud.num_devices),
            scaled_population=privacy.scaled_population,
            epsilon_at_least=below.at_least if below else None,
            audited_epsilon=below.accounted if below and np.isfinite(below.accounted) else None,
            history=Estimate.of(read) if read else None,
            bytes_up=round(sum(row["bytes_up"] for row in rows) / max(1, sum(reported))),
            bytes_down=round(sum(row["bytes_down"] for row in rows) / max(1, sum(invited))),
            devices_per_round=statistics.fmean(reported),
            seconds_per_round=statistics.median(row["seconds"] for row in rows),
            rounds=len(rows),
            key=key,
            commit=git_commit(),
        )

    def _from_below(self, target: Target) -> FromBelow | None:
        with tempfile.TemporaryDirectory(prefix="pocketfleet-tradeoff-") as scratch:
            return epsilon_from_below(target, self.plan.attacks, Path(scratch))

    def _values(
        self,
        shard: DeviceShard,
        parameters: NDArray[np.float32],
        target: Target,
        settings: Settings,
    ) -> dict[str, NDArray[np.float64]]:
        """Metrics of each device, as the experimenter finds them, who may look at every one."""
        devices = evaluated_devices(shard.num_devices, self.plan.evaluated, settings.seed)
        federation = target.cloud.federation
        task = EvalTask(parameters, devices, federation.rounds, federation.training.block_bytes)
        blocks = evaluated_blocks(shard, task, target.devices.recommender, settings.seed)
        values = [ranks.values("full") for _, ranks in blocks]
        return {name: np.concatenate([each[name] for each in values]) for name in METRICS}


def evaluated_devices(num_devices: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """The devices behind the intervals, the same for all arms; none stands for all of them."""
    if not 0 < wanted < num_devices:
        return np.empty(0, dtype=np.int64)
    rng = generator(seed, "devices of a trade-off")
    return np.sort(rng.choice(num_devices, wanted, replace=False, shuffle=False)).astype(np.int64)


def key_of(settings: Settings, plan: TradeoffPlan) -> str:
    """What a row depends on, but for the code."""
    told = [settings.model_dump_json(), str(plan.evaluated), plan.attacks.model_dump_json()]
    return sha256("\n".join(told).encode()).hexdigest()


def read_row(path: Path, key: str) -> TradeoffRow | None:
    """A row of these settings; None: it is not there, or of others."""
    try:
        found = TradeoffRow.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return found if found.key == key else None


def rows_in(folder: Path, plan: TradeoffPlan) -> Sequence[TradeoffRow]:
    """All rows that lie in a run folder, in the order of the plan, whatever their settings."""
    found = []
    for arm in plan.arms:
        path = folder / "tradeoff" / f"{arm.name}.json"
        if path.is_file():
            found.append(TradeoffRow.model_validate_json(path.read_text(encoding="utf-8")))
    return found
