"""Small federated runs for an attacker's own use, played by the product's own rounds.

    target (start, settings) + cohorts --prepare_scratch--> a folder like that of an arm --play-->
    final parameters

Everything but the cohorts is the product's: nodes, local training, clipping, sums, noise, the
server's step, the ledger. Two things may be put into it for the length of a run, in this process:

    crafted_devices   some devices send what the attacker says, in place of what they learnt; it
                      goes through clipping and sums like any other update
    broken_noise      the cloud adds less noise than the ledger accounts for
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import clients.recommender_training
from clients.job import DEVICE_JOB_FILE
from clients.local_training import LocalUpdates
from clients.personal import PersonalStore
from clients.recommender_training import TrainedDevices
from models.files import write_text
from models.seeds import generator
from server.cohorts import CohortPlan, Outcome
from server.history import History
from server.privacy.accounts import ledger_of
from server.privacy.mechanism import Mechanism
from server.privacy.settings import PrivacySettings
from server.settings import SERVER_JOB_FILE, ServerJob
from simulation.engines.inline import run_inline
from simulation.experiments.audit.target import Target

EVALUATED = 8
"""Devices that evaluate in a scratch run: nobody looks at it."""

Craft = Callable[[NDArray[np.int64], int], NDArray[np.floating]]
"""Device ids (C,) and round number -> what they send, (C, P)."""


def plan_of(cohorts: Sequence[NDArray[np.int64]]) -> CohortPlan:
    """A plan of synchronous rounds in which everybody invited reports.

    Args:
        cohorts: device ids of each round, ascending.
    """
    sizes = [len(each) for each in cohorts]
    invited = np.concatenate([np.empty(0, dtype=np.int64), *cohorts])
    return CohortPlan(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        invited=invited,
        outcome=np.full(len(invited), Outcome.REPORTED, dtype=np.int8),
        version=np.repeat(np.arange(len(cohorts), dtype=np.int64), sizes),
        start_s=np.arange(len(cohorts), dtype=np.float64),
        duration_s=np.ones(len(cohorts)),
    )


def poisson_cohorts(
    members: NDArray[np.int64], chance: float, rounds: int, seed: int, *address: int
) -> list[NDArray[np.int64]]:
    """Cohorts in which each member takes part with the same chance, whatever the others do.

    Args:
        members: device ids, ascending.
        chance: of each in each round.
        rounds: how many.
        seed: the run's seed.
        address: of the draws.
    """
    drawn = [
        generator(seed, "a scratch cohort", *address, round_number).random(len(members)) < chance
        for round_number in range(rounds)
    ]
    return [members[inside] for inside in drawn]


def prepare_scratch(
    target: Target,
    folder: Path,
    cohorts: Sequence[NDArray[np.int64]],
    *,
    noise_seed: int | None = None,
    **changes: Any,
) -> Path:
    """Write all that the inline engine needs; return the folder.

    Args:
        target: whose devices, start and settings.
        folder: a new one.
        cohorts: device ids of each round, ascending.
        noise_seed: of the cloud; None: the target's. Two runs that share it share their noise,
            and whoever compares them has none before him.
        changes: of the federation's settings. Unless they say otherwise nothing is promised, and
            no amplification is claimed.
    """
    folder.mkdir(parents=True)
    settings = target.task(target.initial, 1).training
    plain = {
        "mode": "synchronous",
        "sampling": "available",
        "over_selection": 1.0,
        "window_s": 0.0,
    }
    here = {
        "rounds": len(cohorts),
        "num_nodes": 1,
        "evaluate_every": len(cohorts),
        "evaluate_devices": min(EVALUATED, target.cloud.num_devices),
        "patience": 1000,
        "training": settings,
        "privacy": noise_settings(target, "central", 0.0),
        "secure_sum": target.cloud.federation.secure_sum.model_copy(update={"enabled": False}),
        "schedule": target.cloud.federation.schedule.model_copy(update=plain),
    }
    federation = target.cloud.federation.model_copy(update=here | changes)
    plan_of(cohorts).write(folder / "cohorts.npz")
    np.save(folder / "initial.npy", target.initial)
    duals = target.trained.size if federation.training.dynamic else 0
    columns = target.devices.recommender.dim + duals
    PersonalStore.create(folder / "taste.npy", target.cloud.num_devices, columns)
    devices = target.devices.model_copy(update={"taste": folder / "taste.npy"})
    places = {
        "plan": folder / "cohorts.npz",
        "initial": folder / "initial.npy",
        "folder": folder,
        "federation": federation,
        "noise_seed": target.cloud.noise_seed if noise_seed is None else noise_seed,
    }
    cloud = target.cloud.model_copy(update=places)
    write_text(folder / DEVICE_JOB_FILE, devices.model_dump_json(indent=2) + "\n")
    write_text(folder / SERVER_JOB_FILE, cloud.model_dump_json(indent=2) + "\n")
    return folder


def play(folder: Path) -> NDArray[np.float32]:
    """Run what `prepare_scratch` wrote; return the final parameters (P,)."""
    run_inline(folder, 1)
    return History(folder).read_final()


def noise_settings(
    target: Target,
    mechanism: Literal["central", "local", "distributed"],
    noise_multiplier: float,
    delta: float = 0.0,
) -> PrivacySettings:
    """The run's privacy settings with this noise, a fixed clip norm, and nothing solved for.

    Args:
        target: the run.
        mechanism: who adds noise.
        noise_multiplier: noise / clip norm; 0 promises nothing.
        delta: of the promise; 0 is the product's own.
    """
    changes = {
        "mechanism": mechanism if noise_multiplier else "none",
        "noise_multiplier": noise_multiplier,
        "delta": delta,
        "target_epsilon": 0.0,
        "budget_epsilon": 0.0,
        "target_quantile": 0.0,
        "evaluation_noise_multiplier": 0.0,
        "scaled_population": 0,
    }
    return target.cloud.federation.privacy.model_copy(update=changes)


def accounted_epsilon(folder: Path, delta: float) -> float:
    """Epsilon of a scratch run by the product's own ledger; infinity where nothing is promised."""
    job = ServerJob.read(folder)
    if not job.federation.privacy.is_private:
        return float("inf")
    plan = CohortPlan.read(job.plan)
    ledger = ledger_of(job.federation, job.num_devices, plan, job.num_trained)
    return ledger.spending(ledger.rounds).epsilon(delta)


@contextmanager
def broken_noise(factor: float) -> Iterator[None]:
    """Let the cloud add noise that is smaller than its settings say; 1 leaves it whole."""
    before = Mechanism.noise_std

    def smaller(mechanism: Mechanism, clip_norm: float) -> float:
        return factor * before(mechanism, clip_norm)

    with _in_place_of(Mechanism, "noise_std", smaller):
        yield


@contextmanager
def crafted_devices(device_ids: NDArray[np.int64], craft: Craft) -> Iterator[None]:
    """Let some devices send updates of the attacker's making.

    They are made where a device's own would have been, before clipping; a device that is not in
    this list is not touched.

    Args:
        device_ids: who, ascending.
        craft: what each sends.
    """
    before = clients.recommender_training.train_devices

    def train(*args: Any) -> TrainedDevices:
        trained = before(*args)
        shard, rows, task = args[0], args[1], args[3]
        ids = np.asarray(rows) + shard.first_device
        mine = np.isin(ids, device_ids)
        if not mine.any():
            return trained
        sent = torch.from_numpy(craft(ids[mine], task.round_number).astype(np.float32))
        return replace(trained, updates=_replaced(trained.updates, mine, sent))

    with _in_place_of(clients.recommender_training, "train_devices", train):
        yield


def _replaced(updates: LocalUpdates, mine: NDArray[np.bool_], sent: Tensor) -> LocalUpdates:
    """A block in which some devices send something else."""
    inside = torch.from_numpy(mine)
    norms = updates.norms.clone()
    norms[inside] = sent.norm(dim=1)

    def weighted_sum(weights: Tensor) -> Tensor:
        return updates.weighted_sum(weights * ~inside) + weights[inside] @ sent

    def rows() -> Tensor:
        laid_out = updates.rows().clone()
        laid_out[inside] = sent
        return laid_out

    return LocalUpdates(updates.losses, norms, weighted_sum, rows)


@contextmanager
def _in_place_of(owner: object, name: str, stand_in: object) -> Iterator[None]:
    """Put something in the place of a function of a module or class for a while."""
    before = getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, before)
