"""What two attackers make of an arm: whose history does the cloud read, and how much epsilon shows?

    mechanism       secure sums   the cloud sees of one phone      history is read off
    none, central   no            its clipped update               that
    local           no            the same with its own noise      that
    any             yes           nothing but the round's sum      a sum of `sum_of` phones
                                  (central noise comes later, distributed noise is in it)

Central noise is added after the cloud has seen the sum: against the cloud it is nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.intervals import Interval, PairedBootstrap
from server.privacy.accounting import default_delta
from server.settings import Federation
from simulation.experiments.audit.canaries import (
    Canaries,
    CanaryAttack,
    play_canaries,
    play_local_canaries,
)
from simulation.experiments.audit.findings import REPLICATES
from simulation.experiments.audit.history_reconstruction import READERS, HistoryAttack, Victims
from simulation.experiments.audit.one_run_bound import epsilon_lower_bound
from simulation.experiments.audit.target import Target
from simulation.experiments.tradeoff.tradeoff_plan import Attacks


@dataclass(frozen=True, slots=True)
class FromBelow:
    """What canaries prove of epsilon.

    Attributes:
        at_least: the lower bound.
        accounted: the ledger's epsilon of the very run that was audited.
        rounds: of that run.
    """

    at_least: float
    accounted: float
    rounds: int


def history_read(target: Target, attacks: Attacks) -> Interval | None:
    """Recall of phones' items from what the cloud sees of round 1, by the better of two readers.

    None where phones send nothing of single items.
    """
    if "item_bias" not in target.trained.names:
        return None
    federation, privacy = target.cloud.federation, target.cloud.federation.privacy
    sizes = HistoryAttack(devices=attacks.devices, noise=(), sums=(), negatives=0)
    victims = Victims.of(target, sizes, federation.training.num_negatives)
    if federation.secure_sum.enabled:
        noise = privacy.noise_multiplier if privacy.mechanism == "distributed" else 0.0
        seen = partial(victims.summed, size=attacks.sum_of, noise=noise)
    elif privacy.mechanism == "local":
        seen = partial(victims.noised, noise=privacy.noise_multiplier)
    else:
        seen = partial(_clipped, victims)
    recalls = [victims.recalls(seen, reader) for reader in READERS.values()]
    best = max(recalls, key=lambda values: float(values.mean()))
    return PairedBootstrap.draw(len(best), target.devices.seed, replicates=REPLICATES).mean(best)


def _clipped(victims: Victims, phone: int) -> NDArray[np.float64]:
    return np.asarray(victims.clipped[phone], dtype=np.float64)


def epsilon_from_below(target: Target, attacks: Attacks, scratch: Path) -> FromBelow | None:
    """Audit the arm's own mechanism, sampling and rounds with canaries.

    None where nobody is a canary. Canaries are read off the parameters, as those see them who are
    not the cloud.
    """
    federation = target.cloud.federation
    mechanism = federation.privacy.mechanism
    if attacks.canaries == 0:
        return None
    local = mechanism == "local"
    attack = CanaryAttack(
        canaries=attacks.canaries,
        kind="random",
        rounds=attacks.local_rounds if local else federation.rounds,
        chance=1.0 if local else federation.cohort_size / target.cloud.num_devices,
        noise=(),
        local_noise=(),
        fault=1.0,
        delta=delta_of(federation, target.cloud.num_devices),
        confidence=attacks.confidence,
        guess_shares=attacks.guess_shares,
    )
    canaries = Canaries.draw(target, attack)
    play: Callable[..., tuple[NDArray[np.float64], float]] = play_canaries
    if local:
        play = play_local_canaries
    elif mechanism == "distributed":
        play = partial(play_canaries, mechanism="distributed")
    noise = _noise_at_hand(federation, target.cloud.num_devices)
    scores, accounted = play(target, canaries, attack, noise, 1.0, scratch / "canaries")
    guesses = [max(1, round(share * attack.canaries)) for share in attack.guess_shares]
    bound = epsilon_lower_bound(
        scores, canaries.included, attack.delta, guesses, confidence=attack.confidence
    )
    return FromBelow(bound.epsilon, accounted, attack.rounds)


def delta_of(federation: Federation, num_devices: int) -> float:
    """Of the promise, also where nothing is promised: an audit needs one."""
    return federation.privacy.delta or default_delta(num_devices)


def _noise_at_hand(federation: Federation, num_devices: int) -> float:
    """Noise multiplier of what is really added: a scaled run has that of a larger population."""
    privacy = federation.privacy
    if not privacy.is_private:
        return 0.0
    scaled = privacy.scaled_population
    return privacy.noise_multiplier * (num_devices / scaled if scaled else 1.0)
