"""Was this device among those that trained? Asked of the final model, and of one round's update.

Final model. Shadow models are trained by the product's own rounds, each on a random half of the
devices, every device in exactly half of them. For a device, the losses of the others that had it,
and of those that had not, are two normal distributions [1]:

    LiRA            log N(loss; in) - log N(loss; out)       one model is attacked with the others
    LiRA, offline   (mean out - loss) / sd                   the attacker never trained on it
    loss            - loss                                   the same threshold for everybody

The unit is a user: the loss is that of a device's whole recent history. The spread is one for both
distributions of a device, for shadows are few; a model's mean loss is taken out first. A device's
personal vector is not known to the attacker.

One round. The attacker holds a candidate's events, works out what it would have sent, and asks how
much of it is in the sum of the round: the two, less the mean update, multiplied.

[1] N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.shard import DeviceShard
from models.errors import SettingsError
from models.progress import Progress, silent
from models.recommender import losses, share
from models.seeds import generator, integer_seed
from simulation.experiments.audit.findings import Findings, Row, membership_figures
from simulation.experiments.audit.protections import clipped, gaussian
from simulation.experiments.audit.scratch_runs import (
    noise_settings,
    play,
    poisson_cohorts,
    prepare_scratch,
)
from simulation.experiments.audit.target import Target, Vector, all_events, trained_blocks

Scores = NDArray[np.float64]
USERS_AT_A_TIME = 32


class MembershipAttack(BaseModel):
    """Sizes of the attack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shadows: int = Field(ge=6, description="shadow models, an even number")
    rounds: int = Field(ge=1, description="of each shadow model")
    chance: float = Field(gt=0, le=1, description="of a member to take part in a round")
    noise: tuple[float, ...] = Field(description="central noise on the sum of a round / clip norm")
    candidates: int = Field(ge=10, description="devices in the attack on one round")
    trials: int = Field(ge=2, description="rounds that are attacked")


def halves(num_devices: int, shadows: int, seed: int) -> NDArray[np.bool_]:
    """Who is in which shadow model: (S, U), every device in exactly half of them.

    Raises:
        SettingsError: if they cannot be halved.
    """
    if shadows % 2:
        raise SettingsError(f"membership.shadows is {shadows}: take an even number, 6 or more")
    keys = generator(seed, "shadow members").random((shadows, num_devices))
    return np.asarray(keys.argsort(axis=0).argsort(axis=0) < shadows // 2)


def lira(losses_of: Scores, member: NDArray[np.bool_]) -> dict[str, Scores]:
    """Scores (S, U) of each attack, higher for likelier members; each shadow is attacked in turn.

    Args:
        losses_of: (S, U) loss of each device under each shadow model.
        member: (S, U) who was in.
    """
    centred = losses_of - losses_of.mean(axis=1, keepdims=True)
    online, offline = np.empty_like(centred), np.empty_like(centred)
    for attacked in range(len(centred)):
        others = np.delete(np.arange(len(centred)), attacked)
        known, inside = centred[others], member[others]
        mean_in = (known * inside).sum(axis=0) / inside.sum(axis=0)
        mean_out = (known * ~inside).sum(axis=0) / (~inside).sum(axis=0)
        apart = known - np.where(inside, mean_in, mean_out)
        spread = np.sqrt((apart**2).sum(axis=0) / (len(others) - 2)) + 1e-12
        z_in, z_out = (
            (centred[attacked] - mean_in) / spread,
            (centred[attacked] - mean_out) / spread,
        )
        online[attacked] = 0.5 * (z_out**2 - z_in**2)
        offline[attacked] = -z_out
    return {"LiRA": online, "LiRA, offline": offline, "loss": -losses_of}


def device_losses(target: Target, shard: DeviceShard, parameters: Vector) -> Scores:
    """Mean loss of each device over its recent history, without its personal vector: (U,)."""
    shared, text = share(target.named(parameters)), torch.from_numpy(shard.text)
    histories, length = all_events(shard), target.devices.recommender.max_history
    found = np.zeros(histories.num_users)
    for first in range(0, histories.num_users, USERS_AT_A_TIME):
        users = np.arange(first, min(first + USERS_AT_A_TIME, histories.num_users))
        block = histories.training_block(users, length)
        taste = torch.zeros(len(users), target.devices.recommender.dim)
        with torch.no_grad():
            found[users] = losses(shared, text, block, taste).double().numpy()
    return found


def train_shadows(
    target: Target,
    attack: MembershipAttack,
    noise: float,
    scratch: Path,
    progress: Progress = silent,
) -> tuple[Scores, NDArray[np.bool_]]:
    """Losses (S, U) of all devices under each shadow model, and who was in (S, U).

    Args:
        target: the run whose settings and start the shadows take.
        attack: sizes.
        noise: on the sum of a round, as a share of the clip norm.
        scratch: folder for the shadows' runs; each is removed by the caller.
        progress: told about each shadow.
    """
    seed, num_devices = target.devices.seed, target.cloud.num_devices
    member = halves(num_devices, attack.shadows, seed)
    in_a_round = max(1, round(attack.chance * num_devices / 2))
    shard, found = target.shard(), []
    for shadow, inside in enumerate(member):
        progress(f"shadow models, noise {noise:g}", shadow, attack.shadows)
        cohorts = poisson_cohorts(
            np.flatnonzero(inside), attack.chance, attack.rounds, seed, shadow
        )
        folder = prepare_scratch(
            target,
            scratch / f"noise-{noise:g}-{shadow}",
            cohorts,
            noise_seed=integer_seed(seed, "a shadow's cloud", shadow),  # its noise is its own
            privacy=noise_settings(target, "central", noise),
            cohort_size=in_a_round,
        )
        found.append(device_losses(target, shard, play(folder)))
    progress(f"shadow models, noise {noise:g}", attack.shadows, attack.shadows)
    return np.stack(found), member


@dataclass(frozen=True, slots=True)
class RoundTrials:
    """Rounds whose members are to be told.

    Attributes:
        updates: (D, P) clipped updates of the candidates.
        member: (T, D) who is in which round.
    """

    updates: NDArray[np.float32]
    member: NDArray[np.bool_]

    @classmethod
    def draw(cls, target: Target, attack: MembershipAttack) -> "RoundTrials":
        """Let candidates train once, and draw the members of some rounds."""
        shard, seed = target.shard(), target.devices.seed
        able = np.flatnonzero(shard.events.lengths(np.arange(shard.num_devices)) >= 2)
        order = generator(seed, "candidates of membership").permutation(able)
        rows, task = np.sort(order[: attack.candidates]), target.task(target.initial, 1)
        clip_norm = task.training.clip_norm
        sent = [
            clipped(block.updates.rows().numpy(), clip_norm).astype(np.float32)
            for block in trained_blocks(target, shard, rows, task)
        ]
        updates = np.concatenate(sent)
        chance = min(0.5, target.cloud.federation.cohort_size / len(updates))
        drawn = generator(seed, "members of a round").random((attack.trials, len(updates)))
        return cls(updates, drawn < chance)

    def scores(self, std: float, seed: int) -> Scores:
        """How much of each candidate's update is in each round's noisy sum, (T, D)."""
        mean = self.updates.mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = self.updates - mean
        lengths = np.linalg.norm(apart, axis=1) + 1e-12
        found = []
        for trial, inside in enumerate(self.member):
            total = (inside.astype(np.float32) @ self.updates).astype(np.float64)
            total += gaussian(len(total), std, seed, "noise of an attacked round", trial)
            found.append(apart @ (total - inside.sum() * mean) / lengths)
        return np.stack(found)


def infer_membership(
    target: Target, attack: MembershipAttack, scratch: Path, progress: Progress = silent
) -> Findings:
    """Attack the final model with shadow models, and single rounds.

    Args:
        target: the run whose settings, start and devices are taken.
        attack: sizes.
        scratch: an empty folder for the shadows' runs.
        progress: told about each shadow.

    Raises:
        SettingsError: if the shadows are an odd number.
    """
    seed = target.devices.seed
    clip_norm = target.cloud.federation.training.clip_norm
    rows: list[Row] = []
    for noise in attack.noise:
        found, member = train_shadows(target, attack, noise, scratch, progress)
        for name, scores in lira(found, member).items():
            figures = membership_figures(scores, member, seed)
            rows.append({"attacked": "final model", "noise": noise, "attack": name, **figures})
    rounds = RoundTrials.draw(target, attack)
    for noise in attack.noise:
        scores = rounds.scores(noise * clip_norm, seed)
        figures = membership_figures(scores, rounds.member, seed)
        rows.append({"attacked": "one round", "noise": noise, "attack": "own update", **figures})
    return Findings(
        "membership",
        "Was this device among those that trained?",
        rows,
        (
            f"{attack.shadows} shadow models of {attack.rounds} rounds, each on half of "
            f"{target.cloud.num_devices} devices, a member in a round with chance "
            f"{attack.chance:g}; all begin at the run's start.",
            "Guessing is an AUC of 0.5 and TPR = FPR.",
            f"One round: {rounds.updates.shape[0]} candidates, "
            f"{int(rounds.member.sum(axis=1).mean())} of them in a sum.",
            "Noise is on each number of a round's sum, as a share of the clip norm.",
        ),
    )
