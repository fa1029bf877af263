"""Somebody's own torch recommender, trained by the fleet: `federate_own(model, data, settings)`.

    data -> split -> devices with tiers -> cohort plan on the virtual clock
    model.start -> TrainTask -> phones (clients.recommenders.own) -> clipped sums -> optimizer
    history of rounds, final parameters, and where each user's held-out item stands

The round loop, messages, clipping, privacy, robust sums, faults and the inline engine are those of
every federated run; only the phones' arithmetic is the model's. The model is an object of the
calling program, and stays in its process: no file names a class to be loaded, so the Flower engine,
deployments and worker processes, which read what they run from files, cannot carry it.

Phones learn from training events alone, and negatives are drawn without a look at what is held out
(`models.negatives`). A model that has read held-out items by some way of its own is not found out.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clients.local_evaluation import Ranks
from clients.recommenders.own import OwnDevices, ranked_blocks
from clients.recommenders.own_app import own_app
from models.errors import DataError, SettingsError
from models.histories import Histories
from models.negatives import Negatives, check_for_leaks
from models.recommenders.own import OwnModel, Parameters, check_own, layout_of
from models.threads import fixed_threads
from server.history import BYTES_PER_PARAMETER, History
from server.privacy.accounts import with_noise_solved
from server.privacy.noise_seed import noise_seed_of
from server.settings import Federation, ServerJob
from server.strategy import federate
from simulation.data.fingerprint import data_sha256
from simulation.data.interactions import Interactions
from simulation.data.splits import split
from simulation.engines.hardware import block_bytes
from simulation.engines.inline import SERVER_NODE_ID, InlineGrid, task_identity
from simulation.settings import Settings
from simulation.world.build import pooled_histories
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.devices import tiers_of
from simulation.world.timeline import RoundCost, Timeline

ARM = "own model"


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A model of somebody's own, trained.

    Attributes:
        parameters: by name, after the last round.
        rounds: a row for each round as the cloud's history has it (`server.history.RoundRow`),
            round 0 before any training.
        histories: training events of U users.
        users: (U',) users that have a held-out item, ascending.
        values: metric -> (U',) after the last round, full ranking.
        sampled: the same against 99 sampled items.
        tier: (U',) tier of each of these users' devices.
        rule: how the data were split, one sentence for people.
    """

    parameters: Parameters
    rounds: list[dict[str, Any]]
    histories: Histories
    users: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    sampled: dict[str, NDArray[np.float64]]
    tier: NDArray[np.int8]
    rule: str


def federate_own(
    model: OwnModel, data: Interactions, settings: Settings, folder: Path | None = None
) -> OwnRun:
    """Train a model on the devices of some data, and evaluate it on every device.

    Of the settings it reads seed, split, world and federation; `federation.training.personal_rate`
    has nothing to do here.

    Args:
        model: the recommender.
        data: who chose what, when: `simulation.data.in_memory.interactions_of`, or
            `simulation.data.loading.load_interactions`.
        settings: of the run.
        folder: where the history and the final parameters are left, `history.jsonl` and
            `final.npy`; an older run's are replaced. None: nowhere.

    Raises:
        SettingsError: if the model, or a setting, is not one that can be run; the message says why.
        DataError: if nobody has a held-out item.
        EngineError: if nobody's update arrives for too many rounds.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="pocketfleet-own-") as scratch:
            return federate_own(model, data, settings, Path(scratch))
    federation = _settled(settings)
    parts = split(data, settings.split, settings.seed)
    devices = OwnDevices(
        0,
        pooled_histories(parts),
        parts.held_out.astype(np.int32),
        tiers_of(np.arange(data.num_users), settings.world, settings.seed),
        tuple(tier.name for tier in settings.world.tiers),
        data.num_items,
    )
    if not (devices.held_out >= 0).any():
        raise DataError(f"{data.name}: nobody has a held-out item; users need 2 events or more")
    num_negatives = federation.training.num_negatives
    check_for_leaks(
        devices.histories, devices.held_out, Negatives(num_negatives), data.num_items
    ).raise_if_leaking()
    with fixed_threads(1):
        start = check_own(model, data.num_items, num_negatives, settings.seed)
        final = _played(model, start, devices, settings, federation, data_sha256(data), folder)
        return _judged(model, final, devices, settings, federation, folder, parts.rule)


def _settled(settings: Settings) -> Federation:
    """The federation, with what no model of one's own can do refused."""
    federation, training = settings.federation, settings.federation.training
    refused = {
        "federation.secure_sum.enabled": (federation.secure_sum.enabled, "false"),
        "federation.training.trained": (training.trained != "all", '"all"'),
        "federation.training.dynamic": (training.dynamic, "false"),
        "federation.training.processor": (training.processor == "cuda", '"cpu"'),
        "federation.training.precision": (training.precision != "fp32", '"fp32"'),
        "population.devices": (settings.population.devices > 0, "0"),
        "split.cold_items": (settings.split.cold_items > 0, "0"),
    }
    for key, (is_wrong, cure) in refused.items():
        if is_wrong:
            raise SettingsError(f"{key} is for the product's own recommender: set it to {cure}")
    size = training.block_bytes or block_bytes()
    settled = training.model_copy(update={"processor": "cpu", "block_bytes": size})
    return federation.model_copy(update={"training": settled})


def _played(
    model: OwnModel,
    start: Parameters,
    devices: OwnDevices,
    settings: Settings,
    federation: Federation,
    digest: str,
    folder: Path,
) -> NDArray[np.float32]:
    """All rounds on the inline engine; the final parameters, (P,)."""
    layout, population = layout_of(start), devices.histories.num_users
    num_bytes = layout.size * BYTES_PER_PARAMETER
    train_s = settings.world.reference.step_s * federation.training.local_epochs
    timeline = Timeline(
        settings.world, population, RoundCost(num_bytes, num_bytes, train_s), settings.seed
    )
    plan = plan_cohorts(timeline, federation)
    federation = with_noise_solved(federation, population, plan, layout.size)
    initial = layout.flatten(start).numpy()
    digests = [hashlib.sha256(initial.tobytes()).hexdigest(), digest]
    noise_seed = noise_seed_of(settings.seed, ARM, federation, digests)
    History(folder).clear()
    np.save(folder / "initial.npy", initial, allow_pickle=False)
    plan.write(folder / "cohorts.npz")
    job = ServerJob(
        seed=settings.seed,
        noise_seed=noise_seed,
        num_devices=population,
        num_parameters=layout.size,
        trained=((0, layout.size),),
        tiers=devices.tiers,
        federation=federation,
        plan=folder / "cohorts.npz",
        initial=folder / "initial.npy",
        folder=folder,
    )
    app = own_app(devices, model, layout, settings.seed, noise_seed)
    with task_identity(SERVER_NODE_ID):
        return federate(InlineGrid(app, federation.num_nodes, {}), job, plan)


def _judged(
    model: OwnModel,
    final: NDArray[np.float32],
    devices: OwnDevices,
    settings: Settings,
    federation: Federation,
    folder: Path,
    rule: str,
) -> OwnRun:
    """Rank every held-out item once more, user by user: what the cloud never sees."""
    layout = layout_of(model.start(devices.num_items, settings.seed))
    parameters = layout.unflatten(torch.from_numpy(final.copy()))
    everybody = np.arange(devices.histories.num_users)
    size = federation.training.block_bytes
    blocks = ranked_blocks(devices, model, parameters, everybody, size, settings.seed)
    users, ranks = zip(*blocks, strict=True)
    order = np.concatenate(users)  # ascending: blocks are cut in order
    values, sampled = (_joined(ranks, protocol) for protocol in ("full", "sampled-99"))
    return OwnRun(
        parameters,
        History(folder).rows(),
        devices.histories,
        order,
        values,
        sampled,
        devices.tier[order],
        rule,
    )


def _joined(ranks: tuple[Ranks, ...], protocol: str) -> dict[str, NDArray[np.float64]]:
    found = [each.values(protocol) for each in ranks]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
