"""Canaries: devices that are tossed in or out, and what the auditor sees of them.

    central   those that are in send, whenever they are asked, ten times the clip norm along a
              direction of their own; those that are out send zeros, as a device that was never
              there. All goes through the product's rounds: clipping, sums, noise, the server's
              step. A canary's score is how far the parameters moved along its direction [1]
    local     any update may stand in place of any other, so those that are out send the opposite.
              The auditor sees every message, as the product's `train_cohort` makes it on a node of
              one device; the score is what a canary's messages have along its direction

    random    a random direction of length 1: hardly touches those of the others
    dirac     one coordinate, another one for each canary

[1] G. Andrew et al., "One-shot Empirical Privacy Estimation for Federated Learning", ICLR 2024.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.personal import PersonalStore
from clients.protocol.messages import UpdatePrivacy
from clients.recommender_training import train_cohort
from models.errors import SettingsError
from models.seeds import generator
from server.privacy.accounts import ledger_of
from simulation.experiments.audit.scratch_runs import (
    accounted_epsilon,
    broken_noise,
    crafted_devices,
    noise_settings,
    plan_of,
    play,
    prepare_scratch,
)
from simulation.experiments.audit.target import Target
from simulation.world.poisson import drawn_devices

FACTOR_ABOVE_CLIP = 10.0
"""How much longer than the clip norm a canary's update is: so that clipping is audited too."""


class CanaryAttack(BaseModel):
    """Sizes of the audit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    canaries: int = Field(ge=8, description="devices that are canaries; half of them are in")
    kind: Literal["random", "dirac"] = Field(description="their directions")
    rounds: int = Field(ge=1, description="of the run")
    chance: float = Field(gt=0, le=1, description="of a device to take part in a round")
    noise: tuple[float, ...] = Field(description="central noise on a sum / clip norm")
    local_noise: tuple[float, ...] = Field(description="local noise on an update / clip norm")
    fault: float = Field(gt=0, le=1, description="the noise of a broken run / what is accounted")
    delta: float = Field(gt=0, lt=1, description="of the claim; much below 1 / canaries")
    confidence: float = Field(gt=0, lt=1, description="of the lower bound")
    guess_shares: tuple[float, ...] = Field(description="guesses / canaries, settled beforehand")


@dataclass(frozen=True, slots=True)
class Canaries:
    """Devices that are tossed in or out.

    Attributes:
        device_ids: (m,) ascending.
        included: (m,) the coin of each.
        kind: of the directions.
        num_parameters: P, of what a phone sends.
        seed: of the run.
    """

    device_ids: NDArray[np.int64]
    included: NDArray[np.bool_]
    kind: Literal["random", "dirac"]
    num_parameters: int
    seed: int

    @classmethod
    def draw(cls, target: Target, attack: CanaryAttack) -> "Canaries":
        """Choose canaries among the devices of a run and toss their coins.

        Raises:
            SettingsError: if they outnumber the devices, or the coordinates.
        """
        seed, size = target.devices.seed, target.trained.size
        most = min(target.cloud.num_devices, size if attack.kind == "dirac" else 2**62)
        if attack.canaries > most:
            raise SettingsError(
                f"canaries.canaries is {attack.canaries}, this run has room for {most}: ask for "
                "fewer, or audit a run with more devices"
            )
        order = generator(seed, "canaries").permutation(target.cloud.num_devices)
        coins = generator(seed, "coins of canaries").random(attack.canaries) < 0.5
        return cls(np.sort(order[: attack.canaries]), coins, attack.kind, size, seed)

    def direction(self, canary: int) -> NDArray[np.float64]:
        """The direction of a canary, (P,), of length 1."""
        if self.kind == "dirac":
            places = generator(self.seed, "places of canaries").permutation(self.num_parameters)
            return np.asarray(np.arange(self.num_parameters) == places[canary], np.float64)
        drawn = generator(self.seed, "direction of a canary", canary)
        direction = drawn.standard_normal(self.num_parameters)
        return np.asarray(direction / np.linalg.norm(direction))

    def sent(
        self, device_ids: NDArray[np.int64], length: float, *, opposite: bool = False
    ) -> NDArray[np.float64]:
        """What some of them send, (C, P); those that are out send zeros, or the opposite."""
        rows = np.zeros((len(device_ids), self.num_parameters))
        for place, canary in enumerate(np.searchsorted(self.device_ids, device_ids)):
            if self.included[canary] or opposite:
                sign = 1.0 if self.included[canary] else -1.0
                rows[place] = sign * length * self.direction(int(canary))
        return rows

    def scores(self, moved: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far parameters moved along each direction, (m,)."""
        along = [moved @ self.direction(canary) for canary in range(len(self.device_ids))]
        return np.array(along)


def play_canaries(
    target: Target,
    canaries: Canaries,
    attack: CanaryAttack,
    noise: float,
    fault: float,
    folder: Path,
    mechanism: Literal["central", "distributed"] = "central",
) -> tuple[NDArray[np.float64], float]:
    """Run the federation with canaries in it; return their scores (m,) and the accounted epsilon.

    Args:
        target: the run.
        canaries: who they are.
        attack: sizes.
        noise: noise multiplier of the run.
        fault: what the noise is multiplied with behind the ledger's back; 1 is a sound run.
        folder: a new one, for the run.
        mechanism: who adds the noise; "distributed": the phones, in a secure sum of the run's kind.
    """
    seed, num_devices = target.devices.seed, target.cloud.num_devices
    wanted = max(1, round(attack.chance * num_devices))
    cohorts = [
        drawn_devices(num_devices, wanted / num_devices, seed, round_number)
        for round_number in range(1, attack.rounds + 1)
    ]
    sampling = {
        "mode": "synchronous",
        "over_selection": 1.0,
        "window_s": 0.0,
        "sampling": "poisson" if wanted < num_devices else "available",
    }
    plain = {"name": "fedavg", "rate": 1.0}  # what moved is then the sum of what was released
    federation = target.cloud.federation
    prepare_scratch(
        target,
        folder,
        cohorts,
        cohort_size=wanted,
        privacy=noise_settings(target, mechanism, noise, attack.delta),
        secure_sum=federation.secure_sum.model_copy(update={"enabled": mechanism == "distributed"}),
        schedule=federation.schedule.model_copy(update=sampling),
        optimizer=federation.optimizer.model_copy(update=plain),
    )
    length = FACTOR_ABOVE_CLIP * federation.training.clip_norm

    def craft(device_ids: NDArray[np.int64], round_number: int) -> NDArray[np.float64]:
        return canaries.sent(device_ids, length)

    with crafted_devices(canaries.device_ids, craft), broken_noise(fault):
        final = play(folder)
    moved = final.astype(np.float64) - target.initial
    sent = [moved[first:end] for first, end in target.cloud.trained]
    return canaries.scores(np.concatenate(sent)), accounted_epsilon(folder, attack.delta)


def play_local_canaries(
    target: Target,
    canaries: Canaries,
    attack: CanaryAttack,
    noise: float,
    fault: float,
    folder: Path,
) -> tuple[NDArray[np.float64], float]:
    """Let canaries send under the local mechanism; arguments and result as of `play_canaries`."""
    folder.mkdir(parents=True)
    shard, num_devices = target.shard(), target.cloud.num_devices
    store = PersonalStore(folder / "taste.npy", 0, num_devices, shard.personal.settled)
    shard = replace(shard, personal=store)  # what phones keep is staged here, not in the run
    privacy = UpdatePrivacy(
        hidden=True, count_unclipped=False, local_noise_multiplier=fault * noise
    )
    length, job = FACTOR_ABOVE_CLIP * target.cloud.federation.training.clip_norm, target.devices
    scores = np.zeros(len(canaries.device_ids))

    def craft(device_ids: NDArray[np.int64], round_number: int) -> NDArray[np.float64]:
        return canaries.sent(device_ids, length, opposite=True)

    with crafted_devices(canaries.device_ids, craft):
        for round_number in range(1, attack.rounds + 1):
            task = replace(target.task(target.initial, round_number), privacy=privacy)
            for place, device in enumerate(canaries.device_ids):
                alone = replace(task, device_ids=np.array([device]))
                message = train_cohort(
                    shard, alone, job.recommender, job.seed, noise_seed=job.noise_seed
                )
                scores[place] += message.update_sum @ canaries.direction(place)
    return scores, _accounted_locally(target, attack, noise)


def _accounted_locally(target: Target, attack: CanaryAttack, noise: float) -> float:
    """Epsilon of a device that is asked in every round, by the product's own ledger."""
    if noise == 0.0:
        return float("inf")
    everybody = np.arange(target.cloud.num_devices)
    changes = {
        "rounds": attack.rounds,
        "privacy": noise_settings(target, "local", noise, attack.delta),
    }
    federation = target.cloud.federation.model_copy(update=changes)
    plan = plan_of([everybody] * attack.rounds)
    ledger = ledger_of(federation, target.cloud.num_devices, plan, target.trained.size)
    return ledger.spending(attack.rounds).epsilon(attack.delta)
