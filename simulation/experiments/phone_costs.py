"""What serving costs a phone, measured on this machine: time, bytes, memory.

The package is put together and loaded as on a phone, and requests of real users go through it.
Memory is that of a fresh process that does nothing but serve.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clients.device_package import DevicePackage, write_package
from clients.local_evaluation import score_devices
from clients.serving import Latency, Phone, latency
from models.errors import EngineError
from models.files import write_json
from models.recommender import Shared
from models.seeds import generator
from simulation.data.interactions import Columns
from simulation.experiments.federation import FederatedArm
from simulation.experiments.materials import Materials
from simulation.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class PhoneCosts:
    """What serving costs.

    Attributes:
        package: the installed package.
        whole: a whole request: one new private text is encoded, the catalogue is ranked.
        encode: the text alone.
        rank: the ranking alone.
        mean_tokens: of the texts timed.
        peak_bytes: resident memory of a process that serves, Python included.
        model_bytes: what loading and serving added to a process that had only imported.
    """

    package: DevicePackage
    whole: Latency
    encode: Latency
    rank: Latency
    mean_tokens: float
    peak_bytes: int
    model_bytes: int


def install_package(
    run: RunFolder,
    materials: Materials,
    opted_in: NDArray[np.int64],
    raw_item_text: NDArray[np.float32],
    parameters: Shared,
) -> DevicePackage:
    """Put the device package of a run together.

    Args:
        run: the run folder, with its bundle.
        materials: data and devices.
        opted_in: users whose choices decide which vectors are cached first; nobody else's may.
        raw_item_text: (N, D) the encoder's vectors of the catalogue, not centred.
        parameters: the recommender.

    Raises:
        BudgetError: if bundle and recommender alone pass the package's budget.
    """
    pool = materials.pool
    chosen = [pool.items[pool.offsets[user] : pool.offsets[user + 1]] for user in opted_in]
    popularity = np.bincount(np.concatenate(chosen), minlength=len(materials.catalogue))
    arrays = {name: tensor.numpy() for name, tensor in parameters.items()}
    return write_package(run.package, run.bundle, arrays, raw_item_text, popularity)


def measure_phone(run: RunFolder, materials: Materials, num_requests: int, seed: int) -> PhoneCosts:
    """Time requests of real users on the installed package, one thread, one request at a time."""
    phone = Phone.load(run.package, materials.catalogue)
    requests = _requests(materials, num_requests, seed)
    taste = np.zeros(phone.ranker.items.shape[1], dtype=np.float32)

    def whole(number: int) -> object:
        history, text = requests[number]
        phone.written.clear()  # the text is new: it has to be encoded
        return phone.recommend(history, {len(history) - 1: text}, taste, 10)

    def encode(number: int) -> object:
        return phone.encoder.encode([requests[number][1]])

    def rank(number: int) -> object:
        history, _ = requests[number]
        return phone.ranker.top(phone.ranker.state(history, None, taste), history, 10)

    catalogue = run.phones / "catalogue.json"
    write_json(catalogue, materials.catalogue)
    memory = memory_of_serving(run.package, catalogue)
    with threadpool_limits(1):
        timed = [latency(request, num_requests) for request in (whole, encode, rank)]
    return PhoneCosts(
        package=DevicePackage.open(run.package),
        whole=timed[0],
        encode=timed[1],
        rank=timed[2],
        mean_tokens=float(np.mean([phone.encoder.num_tokens(text) for _, text in requests])),
        peak_bytes=memory["peak"],
        model_bytes=memory["peak"] - memory["imported"],
    )


def agreement_with_evaluation(
    run: RunFolder, materials: Materials, arm: FederatedArm, top: int
) -> float:
    """How much of each user's top list the installed package and the evaluation share, mean.

    The evaluation scores in torch with float32 vectors; the package ranks in NumPy with float16
    ones. Both see the same private texts and personal parameters.
    """
    phone, shard = Phone.load(run.package, materials.catalogue), arm.shard()
    users = materials.evaluated
    scores = score_devices(shard, users, arm.launched(), arm.job.recommender)
    shared = 0.0
    for row, user in enumerate(users):
        history, _ = shard.events.cut(np.array([user]))
        seen = history.items.astype(np.int64)
        private = history.private_of(0)
        state = phone.ranker.state(seen, private, np.asarray(shard.taste[user]))
        on_phone = phone.ranker.top(state, seen, top)
        scores[row, seen] = -np.inf
        evaluated = np.argpartition(-scores[row], top)[:top]
        shared += len(np.intersect1d(on_phone, evaluated)) / top
    return shared / len(users)


def _requests(materials: Materials, count: int, seed: int) -> list[tuple[NDArray[np.int64], str]]:
    """Histories of users drawn at random, each with a text: their own latest, or an item's."""
    rng = generator(seed, "latency")
    pool, train = materials.pool, materials.split.train
    texts = materials.world.private_texts or materials.catalogue
    active = np.flatnonzero(pool.lengths() > 0)
    written = train[Columns.PRIVATE_TEXT].to_numpy()
    drawn = []
    for user in rng.choice(active, count):
        start, end = pool.offsets[user], pool.offsets[user + 1]
        own = [text for text in written[start:end] if text]
        text = own[-1] if own else texts[int(rng.integers(len(texts)))]
        drawn.append((pool.items[start:end].astype(np.int64), text))
    return drawn


def memory_of_serving(package: Path, catalogue: Path) -> dict[str, int]:
    """Memory of a fresh process that loads a package and serves one request.

    Args:
        package: an installed package.
        catalogue: item texts, as a JSON list.

    Returns:
        bytes at the peak, by "imported" (before the package was loaded) and "peak".

    Raises:
        EngineError: if serving failed, or imported torch.
    """
    done = subprocess.run(
        [sys.executable, "-m", "clients.serving_probe", str(package), str(catalogue)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    if done.returncode != 0:
        raise EngineError(f"serving failed in a fresh process: {done.stderr.strip()[-300:]}")
    measured = json.loads(done.stdout)
    if measured["torch"]:
        raise EngineError("serving imported torch, which no phone has")
    return {"imported": int(measured["imported"]), "peak": int(measured["peak"])}
