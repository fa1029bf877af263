"""Claim: 8.4 million devices on two cores: what building, a round and an evaluation cost.

    python -m benchmarks.fleet                                (everything: half an hour)
    python -m benchmarks.fleet build round evaluate
    python -m benchmarks.fleet cohort population --picture docs/fleet.svg

    build        a world of 8.4 M devices: seconds, peak memory, disk, opening it
    round        10,000 reports from 8.4 M, two workers and one: seconds, peak memory
    evaluate     1 M devices, full ranking over the catalogue, the 99-negative protocol beside it
    ray          the same round under `flwr run`: two Ray workers and one
    cohort       1e2 .. 1e5 reports from 8.4 M
    population   1,000 reports from 1e4 .. 1e7
    profile      one round of 10,000 on one thread: where the processor's time goes

Each part runs in a process of its own.

All of it the product's own path: the preset `fleet` (MovieLens-100K's users as the source, the
committed encoder), plan, messages, per-device clipping, checkpoint, history. Seconds are those of
the rounds after the first, which opens files. Peak memory counts all processes of the run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.machine import describe_machine
from clients.local_evaluation import evaluate_devices
from clients.protocol.messages import EvalTask, TrainTask
from clients.recommender_training import train_cohort
from clients.shard import DeviceShard, WorldManifest
from models.files import write_json
from models.recommender import initial_parameters
from server.cohorts import CohortPlan
from server.history import History
from server.settings import ServerJob
from simulation.data.cache import cache_folder
from simulation.data.interactions import Columns
from simulation.engines.flower import run_flower
from simulation.experiments.federation import prepare_arm, run_arm
from simulation.experiments.language.tables import markdown
from simulation.experiments.materials import (
    Materials,
    encode_on_phones,
    make_bundle,
    prepare_data,
)
from simulation.run_folder import RunFolder
from simulation.settings import Settings, load_settings
from simulation.world.build import World, pooled_histories
from simulation.world.population import FittedPopulation, build_population, fit_population

DEVICES, COHORT, EVALUATED = 8_400_000, 10_000, 1_000_000
COHORTS = (100, 1_000, 10_000, 100_000)
POPULATIONS = (10_000, 100_000, 1_000_000, 10_000_000)
FEW = 1_000
ARM = "fleet"


@dataclass
class Memory:
    """Most memory that this process and its children had together, bytes."""

    peak: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until told to stop."""
        me = psutil.Process()
        while not self.over.wait(0.1):
            total = 0
            for each in [me, *me.children(recursive=True)]:
                try:
                    total += each.memory_full_info().uss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)


@contextmanager
def watched_memory() -> Iterator[Memory]:
    """Look at memory ten times a second; pages that processes share are counted in none."""
    memory = Memory()
    thread = threading.Thread(target=memory.watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.over.set()
        thread.join()


@dataclass(frozen=True)
class Bench:
    """What all parts start from.

    Attributes:
        folder: scratch.
        settings: of the preset `fleet`, evaluation cut to a single device.
        materials: data of the source.
        fitted: the population.
    """

    folder: Path
    settings: Settings
    materials: Materials
    fitted: FittedPopulation

    @classmethod
    def prepare(cls, folder: Path) -> "Bench":
        """Fit the population."""
        settings = load_settings("fleet", ["federation.evaluate_devices=1"])
        cache = cache_folder()
        parts = prepare_data(settings, cache)
        pool, items = pooled_histories(parts), parts.interactions.num_items
        times = parts.train[Columns.TIME_S].to_numpy()
        fitted = fit_population(pool, times, items, settings.population, settings.seed)
        world = World(folder / "none", WorldManifest(1, items, (), "synthetic", 0), [])
        return cls(folder, settings, Materials(parts, world, pool), fitted)

    def arm(self, devices: int, cohort: int, rounds: int, nodes: int = 8) -> Path:
        """A run folder that is ready to be played."""
        run = RunFolder(self.folder / f"{devices}-{cohort}-{nodes}")
        population = self.settings.population.model_copy(update={"devices": devices})
        changes = {"cohort_size": cohort, "rounds": rounds, "evaluate_every": rounds}
        federation = self.settings.federation.model_copy(update=changes | {"num_nodes": nodes})
        settings = self.settings.model_copy(
            update={"population": population, "federation": federation}
        )
        world, seed = settings.world, settings.seed
        manifest = build_population(self.fitted, population, world, seed, run.world)
        materials = Materials(
            self.materials.split, World(run.world, manifest, []), self.materials.pool
        )
        make_bundle(run, settings, materials.catalogue, cache_folder())
        _, text = encode_on_phones(run, materials)
        num_items, text_dim = text.shape
        start = initial_parameters(settings.recommender, num_items, text_dim, seed)
        return prepare_arm(
            run, ARM, settings, materials, start, text.shape[1], read_private_text=False
        )


@dataclass(frozen=True)
class Played:
    """A run of some rounds."""

    seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, folder: Path, workers: int) -> "Played":
        """Play it, under the inline engine."""
        return cls.with_engine(folder, lambda: run_arm(folder, "inline", workers))

    @classmethod
    def with_engine(cls, folder: Path, play: Callable[[], object]) -> "Played":
        """Play it, and read its history."""
        with watched_memory() as memory:
            play()
        rows = History(folder).rows()[2:]  # round 0 is the rehearsal, round 1 opens the files
        return cls(statistics.median(row["seconds"] for row in rows), memory.peak)


def build(bench: Bench) -> list[list[str]]:
    """A process of its own, as a user would call it."""
    out = bench.folder / "built"
    command = [sys.executable, "-m", "simulation", "world", "build", "--preset", "fleet"]
    with watched_memory() as memory:
        started = time.perf_counter()
        subprocess.run([*command, "--out", str(out), "--json"], check=True, capture_output=True)
        seconds = time.perf_counter() - started
    num_bytes = sum(path.stat().st_size for path in (out / "world").iterdir())
    code = (
        "import time, sys; from pathlib import Path; from clients.shard import open_events, "
        "WorldManifest; t = time.perf_counter(); w = Path(sys.argv[1]); m = WorldManifest.read(w); "
        "e = open_events(w, m, 0, m.num_devices); print(time.perf_counter() - t)"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(out / "world")], check=True, capture_output=True, text=True
    )
    return [
        ["build a world of 8.4 M devices", f"{seconds:.0f} s, {memory.peak / 1e9:.2f} GB"],
        ["on disk", f"{num_bytes / 1e6:.0f} MB, {num_bytes / DEVICES:.1f} bytes a device"],
        ["open it", f"{1e3 * float(opened.stdout):.0f} ms"],
    ]


def round_of_10_000(bench: Bench) -> list[list[str]]:
    rows = []
    for workers in (2, 1):
        played = Played.of(bench.arm(DEVICES, COHORT, 4), workers)
        title = f"a round, 10,000 reports from 8.4 M, {workers} worker{'s' * (workers > 1)}"
        rate = COHORT / played.seconds
        peak = played.peak_bytes / 1e9
        rows.append([title, f"{played.seconds:.1f} s, {rate:,.0f} devices/s, {peak:.2f} GB"])
    return rows


def ray(bench: Bench) -> list[list[str]]:
    """Under Flower's own runtime; a worker that is given all CPUs is alone."""
    rows, cpus = [], psutil.cpu_count() or 1
    for workers in (2, 1):
        folder = bench.arm(DEVICES, COHORT, 4)
        played = Played.with_engine(folder, partial(run_flower, folder, 8, cpus // workers))
        rate = COHORT / played.seconds
        title = f"the same under `flwr run`, {workers} Ray worker{'s' * (workers > 1)}"
        rows.append([title, f"{played.seconds:.1f} s, {rate:,.0f} devices/s", str(played.seconds)])
    both = float(rows[1][2]) / float(rows[0][2])
    return [*(row[:2] for row in rows), ["two Ray workers against one", f"{both:.2f}x"]]


def evaluate(bench: Bench) -> list[list[str]]:
    folder = bench.arm(DEVICES, FEW, 1)
    job = ServerJob.read(folder)
    changes = {"evaluate_devices": EVALUATED, "rounds": 1}
    federation = job.federation.model_copy(update=changes)
    (folder / "server-job.json").write_text(
        job.model_copy(update={"federation": federation}).model_dump_json()
    )
    started = time.perf_counter()
    with watched_memory() as memory:
        run_arm(folder, "inline", 2)
    wall = time.perf_counter() - started
    rows = History(folder).rows()
    trained = rows[1]["seconds"]
    each = (wall - trained) / 2  # before and after the one round
    users = f"{EVALUATED / each:,.0f} devices/s"
    title = "evaluate 1 M devices, both protocols, 2 workers (their start included)"
    return [[title, f"{each:.0f} s, {users}, {memory.peak / 1e9:.2f} GB"]]


def cohort(bench: Bench) -> list[list[str]]:
    rows = []
    for size in COHORTS:
        played = Played.of(bench.arm(DEVICES, size, 3), 2)
        rows.append([f"{size:,} reports from 8.4 M", *_cost(played, size)])
    return rows


def population(bench: Bench) -> list[list[str]]:
    rows = []
    for devices in POPULATIONS:
        played = Played.of(bench.arm(devices, FEW, 4), 2)
        rows.append([f"1,000 reports from {devices:,}", *_cost(played, FEW)])
    return rows


def _cost(played: Played, size: int) -> list[str]:
    each = 1e3 * played.seconds / size
    told = f"{played.seconds:.2f} s, {each:.2f} ms a device, {played.peak_bytes / 1e9:.2f} GB"
    return [told, str(played.seconds)]


def profile(bench: Bench) -> list[list[str]]:
    """One node, one thread: what the processor does in a round of 10,000."""
    torch.set_num_threads(1)
    folder = bench.arm(DEVICES, COHORT, 1, nodes=1)
    run, job = folder.parents[1], ServerJob.read(folder)
    devices = CohortPlan.read(folder / "cohorts.npz").cohort(1).reported
    shard = DeviceShard.open(run / "world", run / "phones", folder / "taste.npy")
    parameters = np.load(folder / "initial.npy")
    task = TrainTask(parameters, devices, 1, job.federation.training)
    settings = bench.settings.recommender
    train_cohort(shard, task, settings, 0, noise_seed=0)
    started = time.process_time()
    train_cohort(shard, task, settings, 0, noise_seed=0)
    whole = time.process_time() - started
    started = time.process_time()
    shard.events.cut(shard.rows(devices))
    drawing = time.process_time() - started
    with torch.profiler.profile() as found:
        train_cohort(shard, task, settings, 0, noise_seed=0)
    shares = _shares(found)
    rows = [
        ["a round of 10,000, one thread", f"{whole:.1f} CPU-s, {COHORT / whole:,.0f} devices/s"]
    ]
    rows += [[f"  {name}", f"{100 * share:.0f} %"] for name, share in shares.items()]
    rows.append(["  drawing the devices' events (NumPy)", f"{100 * drawing / whole:.0f} %"])
    few = EvalTask(parameters, devices, 0, job.federation.training.block_bytes)
    started = time.process_time()
    evaluate_devices(shard, few, settings, 0)
    spent = time.process_time() - started
    rows.append(["evaluation, one thread", f"{1e6 * spent / COHORT:.0f} CPU-us a device"])
    return rows


PRODUCTS = ("mm", "bmm", "baddbmm", "addmm", "mv", "dot", "addmv")


def _shares(found: torch.profiler.profile) -> dict[str, float]:
    """Shares of torch's own time, the largest kinds by name."""
    times: dict[str, float] = {}
    for event in found.key_averages():
        name = str(event.key).removeprefix("aten::").rstrip("_")
        kind = "matrix products" if name in PRODUCTS else name
        times[kind] = times.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    ordered = sorted(times.items(), key=lambda item: -item[1])
    shares = {name: spent / total for name, spent in ordered[:10]}
    shares["all else in torch"] = 1.0 - sum(shares.values())
    return shares


PARTS: dict[str, Callable[[Bench], list[list[str]]]] = {
    "build": build,
    "round": round_of_10_000,
    "evaluate": evaluate,
    "ray": ray,
    "cohort": cohort,
    "population": population,
    "profile": profile,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    parser.add_argument("--picture", type=Path, help="an SVG of cohort and population")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    names = given.parts or list(PARTS)
    found = {name: measure(name, alone=len(names) == 1) for name in names}
    if given.out:
        write_json(given.out, {"machine": describe_machine(), "parts": found})
    print(describe_machine())
    print(markdown([["", "measured"], *(row[:2] for rows in found.values() for row in rows)]))
    if given.picture:
        draw(found, given.picture)


def measure(part: str, *, alone: bool) -> list[list[str]]:
    """One part, in this process if it is the only one, else in one of its own."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        if alone:
            return PARTS[part](Bench.prepare(Path(name)))
        out = Path(name) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.fleet", part, "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows: list[list[str]] = json.loads(out.read_text("utf-8"))["parts"][part]
    print(json.dumps(rows), file=sys.stderr, flush=True)
    return rows


def draw(found: dict[str, list[list[str]]], picture: Path) -> None:
    """Seconds of a round against cohort and population, both axes logarithmic."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for axis, part, sizes in zip(
        axes, ("cohort", "population"), (COHORTS, POPULATIONS), strict=True
    ):
        seconds = [float(row[2]) for row in found[part]]
        axis.loglog(sizes, seconds, marker="o", color="#2a6f97")
        if part == "cohort":
            line = [seconds[-1] * size / sizes[-1] for size in sizes]
            axis.loglog(sizes, line, linestyle=":", color="#888888", label="linear")
            axis.legend(frameon=False)
        axis.set_xlabel(
            "reports in a round, of 8.4 million devices"
            if part == "cohort"
            else "devices, 1,000 reports in a round"
        )
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds of a round, 2 workers")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
