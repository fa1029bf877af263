"""Where real releases put real users' held-out items: arms of a finished run, or device packages.

    federated             an arm of the run as it ended, personal vectors and all
    federated-no-private  likewise
    static                where its arms began: trained on the opted-in few
    random-text           federated, with random numbers in place of all text vectors
    a run folder          the federated arm of another run on the same users
    a package folder      as freshly installed: no personal vector, private texts unread

Ranks are among all items that the user has not chosen in training, as in the run's own report. The
phones of a simulation belong to the experimenter, so this may look at each user's rank.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clients.device_package import DevicePackage
from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.local_evaluation import score_devices
from clients.serving import Phone
from clients.shard import DeviceShard, WorldManifest, column
from models.errors import DataError, SettingsError
from models.histories import Histories
from models.launch import launched
from models.metrics import held_out_ranks
from models.recommender import parameter_layout
from models.seeds import generator
from simulation.experiments.arms import FEDERATED, FEDERATED_BLIND, STATIC
from simulation.experiments.rollout.real_users import RealUsers
from simulation.run_folder import RunFolder

RANDOM_TEXT = "random-text"
NAMED = (FEDERATED, FEDERATED_BLIND, STATIC, RANDOM_TEXT)
USERS_AT_A_TIME = 1024

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Scores (B, N) of the catalogue for some users of the run."""


def real_users(run: RunFolder, old: str, new: str) -> RealUsers:
    """Rank the held-out item of every user of a run under two releases.

    Args:
        run: a finished run of real users, with a federated arm.
        old: the release before: one of `NAMED`, or the folder of a run or of a package.
        new: the new one, likewise.

    Raises:
        DataError: if a folder cannot be read, or its users or items are others.
        SettingsError: if a name is none of these.
    """
    manifest = WorldManifest.read(run.world)
    if manifest.events != "stored":
        raise DataError(
            f"{run.path} has synthetic devices, which hold nothing of real users out: name a run "
            "with population.devices = 0"
        )
    offsets, held_out = column(run.world, "offsets"), np.asarray(column(run.world, "held_out"))
    users = np.flatnonzero((held_out >= 0) & (np.diff(offsets) > 0))
    histories = Histories(offsets=np.asarray(offsets), items=np.asarray(column(run.world, "item")))
    ranks, candidates = [], np.zeros(0, dtype=np.int64)
    for scorer in (_scorer(run, old, manifest), _scorer(run, new, manifest)):
        found, rivals = _ranked(scorer, users, histories, held_out, manifest.num_items)
        ranks.append(found)
        candidates = rivals + 1
    names = (shown_name(old), shown_name(new))
    return RealUsers(names, np.diff(offsets)[users], np.stack(ranks), candidates)


def shown_name(release: str) -> str:
    """What a release is called: its name, or the last two parts of its path.

    >>> shown_name("static"), shown_name("/somewhere/runs/quickstart/package")
    ('static', 'quickstart/package')
    """
    return release if release in NAMED else "/".join(Path(release).parts[-2:])


def _ranked(
    scorer: Scorer,
    users: NDArray[np.int64],
    histories: Histories,
    held_out: NDArray[np.int32],
    num_items: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rank (U,) of each held-out item from 0, and how many rivals it had."""
    ranks, rivals = np.zeros(len(users)), np.zeros(len(users), dtype=np.int64)
    for start in range(0, len(users), USERS_AT_A_TIME):
        part = slice(start, start + USERS_AT_A_TIME)
        seen = histories.seen(users[part], num_items)
        ranks[part], rivals[part] = held_out_ranks(
            scorer(users[part]), held_out[users[part]], ~seen
        )
    return ranks, rivals


def _scorer(run: RunFolder, name: str, manifest: WorldManifest) -> Scorer:
    if name in NAMED:
        return _arm_scorer(run, name)
    folder = Path(name)
    if not folder.is_dir():
        raise SettingsError(
            f"there is no release '{name}': name one of {', '.join(NAMED)}, or the folder of a run "
            "or of a package"
        )
    if (folder / "arms").is_dir():
        other = RunFolder(folder.resolve())
        for each in ("offsets", "item", "held_out"):
            if not np.array_equal(column(run.world, each), column(other.world, each)):
                raise DataError(
                    f"{folder} has other users or items than {run.path} ({each} differs): name a "
                    "run on the same data and split"
                )
        return _arm_scorer(other, FEDERATED)
    return _package_scorer(run, folder, manifest)


def _arm_scorer(run: RunFolder, name: str) -> Scorer:
    """An arm of the run; paths are those of the folder as it lies, in case it was moved."""
    folder = run.arm(name if name in (FEDERATED, FEDERATED_BLIND) else FEDERATED)
    try:
        text = (folder / DEVICE_JOB_FILE).read_text(encoding="utf-8")
        job = DeviceJob.model_validate_json(text)
        flat = np.load(folder / ("initial.npy" if name == STATIC else "final.npy"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{run.path} has no finished arm '{folder.name}' ({folder}): run `pocketfleet "
            "quickstart` or `simulate` there first"
        ) from error
    shard = DeviceShard.open(
        run.world,
        run.phones,
        folder / "taste.npy",
        read_private_text=job.read_private_text and name != STATIC,
        taste_size=job.recommender.dim,
    )
    layout = parameter_layout(job.recommender, *shard.text.shape)
    if flat.shape != (layout.size,):
        raise DataError(f"{folder} has parameters {flat.shape}, {layout.size:,} are wanted")
    served = layout.flatten(launched(layout.unflatten(torch.from_numpy(flat.copy())))).numpy()
    if name == STATIC:
        nobody = np.zeros_like(np.asarray(shard.personal.settled))
        shard = replace(shard, personal=replace(shard.personal, settled=nobody))
    if name == RANDOM_TEXT:
        drawn = generator(job.seed, "random text").normal(size=shard.text.shape)
        sizes = np.linalg.norm(shard.text, axis=1, keepdims=True)
        drawn *= sizes / np.linalg.norm(drawn, axis=1, keepdims=True)
        shard = replace(shard, text=drawn.astype(np.float32))
    return lambda users: score_devices(shard, users, served, job.recommender)


def _package_scorer(run: RunFolder, folder: Path, manifest: WorldManifest) -> Scorer:
    """A package as it comes, by the phone's own code."""
    package = DevicePackage.open(folder)
    if package.num_items != manifest.num_items:
        raise DataError(
            f"the package {folder} is for {package.num_items:,} items, {run.path} has "
            f"{manifest.num_items:,}: name a package of this catalogue"
        )
    phone = Phone.load(folder, _catalogue(run, package))
    offsets, items = column(run.world, "offsets"), column(run.world, "item")
    nobody = np.zeros(phone.ranker.items.shape[1], dtype=np.float32)

    def scores(users: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = []
        for user in users:
            history = np.asarray(items[offsets[user] : offsets[user + 1]], dtype=np.int64)
            rows.append(phone.ranker.scores(phone.ranker.state(history, None, nobody)))
        return np.stack(rows)

    return scores


def _catalogue(run: RunFolder, package: DevicePackage) -> list[str]:
    """Item texts: only those that the package has no vector of are ever read."""
    if package.num_cached == package.num_items:
        return [""] * package.num_items
    path = run.phones / "catalogue.json"
    try:
        return [str(text) for text in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError) as error:
        raise DataError(
            f"the package {package.folder} lacks the vectors of some items, and {path} with their "
            "texts cannot be read: name a run that `pocketfleet quickstart` finished"
        ) from error
