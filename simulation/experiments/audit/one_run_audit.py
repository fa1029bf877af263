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
from simulation.experiments.audit.one_run_bound import epsilon_lower_bound, gaussian_epsilon
from simulation.experiments.audit.scratch_runs import (
    crafted_devices,
    noisy_rounds,
    play,
    poisson_cohorts,
    prepare_scratch,
)
from simulation.experiments.audit.target import Target

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
    target: Target, canaries: Canaries, attack: CanaryAttack, noise: float, folder: Path
) -> NDArray[np.float64]:
    """Run the federation with canaries in it; return their scores (m,).

    Args:
        target: the run.
        canaries: who they are.
        attack: sizes.
        noise: on the sum of a round, as a share of the clip norm: what is really added.
        folder: a new one, for the run.
    """
    seed, clip_norm = target.devices.seed, target.cloud.federation.training.clip_norm
    everybody = np.arange(target.cloud.num_devices)
    cohorts = poisson_cohorts(everybody, attack.chance, attack.rounds, seed)
    plain = {"name": "fedavg", "rate": 1.0}  # what moved is then the sum of what was released
    optimizer = target.cloud.federation.optimizer.model_copy(update=plain)
    prepare_scratch(target, folder, cohorts, optimizer=optimizer)

    def craft(device_ids: NDArray[np.int64], round_number: int) -> NDArray[np.float64]:
        return canaries.sent(device_ids, FACTOR_ABOVE_CLIP * clip_norm)

    with crafted_devices(canaries.device_ids, craft), noisy_rounds(noise * clip_norm, seed):
        final = play(folder)
    moved = final.astype(np.float64) - target.initial
    sent = [moved[first:end] for first, end in target.cloud.trained]
    return canaries.scores(np.concatenate(sent))


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
    runs = [(0.0, 0.0)] + [(z, z * factor) for z in attack.noise for factor in (1.0, attack.fault)]
    rows: list[Row] = []
    for place, (stated, added) in enumerate(runs):
        progress("runs with canaries", place, len(runs))
        scores = play_canaries(target, canaries, attack, added, scratch / f"canaries-{place}")
        bound = epsilon_lower_bound(
            scores, canaries.included, attack.delta, guesses, confidence=attack.confidence
        )
        upper = gaussian_epsilon(stated / np.sqrt(attack.rounds), attack.delta)
        inside = canaries.included
        rows.append(
            {
                "run": "no noise" if not stated else "sound" if added == stated else "broken",
                "noise, accounted": stated,
                "noise, added": added,
                "epsilon, accounted": None if np.isinf(upper) else upper,
                "epsilon, at least": bound.epsilon,
                "verdict": _verdict(bound.epsilon, upper),
                "guesses": bound.num_guesses,
                "correct": bound.num_correct,
                "AUC": area_under_curve(scores[inside], scores[~inside]),
            }
        )
    progress("runs with canaries", len(runs), len(runs))
    return Findings(
        "canaries",
        "Does a run keep what its epsilon says?",
        rows,
        (
            f"{attack.canaries} of {target.cloud.num_devices} devices are canaries, {attack.kind}; "
            f"{attack.rounds} rounds; delta {attack.delta:g}; a device takes part in a round with "
            f"chance {attack.chance:g}.",
            "The accounted epsilon is that of a device that takes part in every round, without "
            "amplification by sampling.",
            f"A lower bound of {100 * attack.confidence:g} % confidence catches gross faults; that "
            "it stays below the accounted epsilon certifies nothing. No canaries prove more than "
            f"{_most(attack, guesses):.2f}.",
        ),
    )


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
