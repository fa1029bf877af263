"""Does a run keep what its epsilon says? Canaries, tossed in or out, in one federated run.

Some devices of the run are canaries [2]. Those that are in send, whenever they are asked, ten times
the clip norm along a direction of their own; those that are out send zeros, as a device that was
never there. All of it goes through the product's rounds: clipping, sums, noise, the server's step.
The score of a canary is how far the parameters moved along its direction. `one_run_bound` turns the
scores into a lower bound on epsilon, which stands beside the accounted upper bound [1].

    random     a random direction of length 1: hardly touches those of the others
    dirac      one coordinate, another one for each canary

The same run with a fault, noise smaller than was accounted for, shows that the audit catches it.

[1] T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
[2] G. Andrew et al., "One-shot Empirical Privacy Estimation for Federated Learning", ICLR 2024.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError
from models.progress import Progress, silent
from models.seeds import generator
from simulation.experiments.audit.findings import Findings, Row, area_under_curve
from simulation.experiments.audit.one_run_bound import epsilon_lower_bound
from simulation.experiments.audit.scratch_runs import (
    accounted_epsilon,
    broken_noise,
    central_noise,
    crafted_devices,
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
    noise: tuple[float, ...] = Field(description="noise on the sum of a round / clip norm")
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

    def sent(self, device_ids: NDArray[np.int64], length: float) -> NDArray[np.float64]:
        """What some of them send, (C, P): zeros from those that are out."""
        rows = np.zeros((len(device_ids), self.num_parameters))
        for place, canary in enumerate(np.searchsorted(self.device_ids, device_ids)):
            if self.included[canary]:
                rows[place] = length * self.direction(int(canary))
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
) -> tuple[NDArray[np.float64], float]:
    """Run the federation with canaries in it; return their scores (m,) and the accounted epsilon.

    Args:
        target: the run.
        canaries: who they are.
        attack: sizes.
        noise: noise multiplier of the run.
        fault: what the noise is multiplied with behind the ledger's back; 1 is a sound run.
        folder: a new one, for the run.
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
        "sampling": "poisson" if wanted < num_devices else "available",
    }
    plain = {"name": "fedavg", "rate": 1.0}  # what moved is then the sum of what was released
    federation = target.cloud.federation
    prepare_scratch(
        target,
        folder,
        cohorts,
        cohort_size=wanted,
        privacy=central_noise(target, noise, attack.delta),
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


def audit_in_one_run(
    target: Target, attack: CanaryAttack, scratch: Path, progress: Progress = silent
) -> Findings:
    """Audit a sound run and a broken one at each noise.

    Args:
        target: the run whose settings, start and devices are taken.
        attack: sizes.
        scratch: an empty folder for the runs.
        progress: told about each run.

    Raises:
        SettingsError: if there are more canaries than devices.
    """
    canaries = Canaries.draw(target, attack)
    guesses = [max(1, round(share * attack.canaries)) for share in attack.guess_shares]
    runs = [(0.0, 1.0)] + [
        (noise, fault) for noise in attack.noise for fault in (1.0, attack.fault)
    ]
    rows: list[Row] = []
    for place, (noise, fault) in enumerate(runs):
        progress("runs with canaries", place, len(runs))
        folder = scratch / f"canaries-{place}"
        scores, accounted = play_canaries(target, canaries, attack, noise, fault, folder)
        rows.append(_row(noise, fault, scores, accounted, canaries, attack, guesses))
    progress("runs with canaries", len(runs), len(runs))
    return Findings(
        "canaries",
        "Does a run keep what its epsilon says?",
        rows,
        (
            f"{attack.canaries} of {target.cloud.num_devices} devices are canaries, {attack.kind}; "
            f"{attack.rounds} rounds; delta {attack.delta:g}; a device takes part in a round with "
            f"chance {attack.chance:g}.",
            "The accounted epsilon is the ledger's: amplified by Poisson sampling where the chance "
            "is below 1, that of a device in every round otherwise.",
            f"A lower bound of {100 * attack.confidence:g} % confidence catches gross faults; that "
            "it stays below the accounted epsilon certifies nothing. If every guess were right it "
            f"would be {_most(attack, guesses):.2f}.",
        ),
    )


def _row(
    noise: float,
    fault: float,
    scores: NDArray[np.float64],
    accounted: float,
    canaries: Canaries,
    attack: CanaryAttack,
    guesses: list[int],
) -> Row:
    inside = canaries.included
    bound = epsilon_lower_bound(scores, inside, attack.delta, guesses, confidence=attack.confidence)
    return {
        "run": "no noise" if not noise else "sound" if fault == 1.0 else "broken",
        "noise, accounted": noise,
        "noise, added": fault * noise,
        "epsilon, accounted": None if np.isinf(accounted) else accounted,
        "epsilon, at least": bound.epsilon,
        "verdict": _verdict(bound.epsilon, accounted),
        "guesses": bound.num_guesses,
        "correct": bound.num_correct,
        "AUC": area_under_curve(scores[inside], scores[~inside]),
    }


def _most(attack: CanaryAttack, guesses: list[int]) -> float:
    """The bound if every guess is correct."""
    coins = np.arange(attack.canaries) % 2 == 0
    perfect = coins.astype(np.float64)
    return epsilon_lower_bound(
        perfect, coins, attack.delta, guesses, confidence=attack.confidence
    ).epsilon


def _verdict(at_least: float, accounted: float) -> str:
    if np.isinf(accounted):
        return "no claim"
    return "caught" if at_least > accounted else "nothing proved"
