"""Does a run keep what its epsilon says? Canaries, tossed in or out, in one federated run.

What canaries send and how they are scored is in `canaries`; `one_run_bound` turns the scores into a
lower bound on epsilon [1], which stands beside the accounted upper bound. The same run with a
fault, noise smaller than was accounted for, shows that the audit catches it.

[1] T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.progress import Progress, silent
from simulation.experiments.audit.canaries import (
    Canaries,
    CanaryAttack,
    play_canaries,
    play_local_canaries,
)
from simulation.experiments.audit.findings import Findings, Row, area_under_curve
from simulation.experiments.audit.one_run_bound import epsilon_lower_bound
from simulation.experiments.audit.target import Target

PLAYERS = {"central": play_canaries, "local": play_local_canaries}


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
    runs = [("central", 0.0, 1.0)]
    for mechanism, noises in (("central", attack.noise), ("local", attack.local_noise)):
        runs += [(mechanism, noise, fault) for noise in noises for fault in (1.0, attack.fault)]
    rows: list[Row] = []
    for place, (mechanism, noise, fault) in enumerate(runs):
        progress("runs with canaries", place, len(runs))
        folder = scratch / f"canaries-{place}"
        played = PLAYERS[mechanism](target, canaries, attack, noise, fault, folder)
        rows.append(_row(mechanism, noise, fault, *played, canaries, attack, guesses))
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
    mechanism: str,
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
        "mechanism": mechanism if noise else "none",
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
