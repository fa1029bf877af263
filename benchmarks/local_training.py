"""Claim: training a block of devices at once is faster than one device after another.

    python -m benchmarks.local_training

The product's recommender, one local step, clipping included, on MovieLens-100K's histories with
random text vectors of 128 numbers (time does not depend on their values). Both ways train the same
devices in alternation; the median of the repeats is printed, one thread.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe_machine
from clients.local_training import sum_of_clipped
from clients.protocol.messages import TrainTask
from clients.recommender_training import train_cohort, train_one_device
from clients.shard import DeviceShard
from models.progress import silent
from models.recommender import initial_parameters, parameter_layout
from models.seeds import generator
from simulation.data.cache import cache_folder
from simulation.engines.hardware import block_bytes
from simulation.experiments.materials import prepare_data
from simulation.settings import load_settings
from simulation.world.build import build_world

REPEATS, NUM_DEVICES, TEXT_DIM = 5, 94, 128


def main() -> None:
    torch.set_num_threads(1)
    settings = load_settings("quickstart")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = prepare_data(settings, cache_folder(), silent)
        world = build_world(parts, settings.world, settings.seed, folder / "world")
        num_items, shape = parts.interactions.num_items, settings.recommender
        phones = folder / "phones"
        phones.mkdir()
        rng = generator(0, "benchmark")
        for file, rows in (("item_text", num_items), ("private_vectors", len(world.private_texts))):
            vectors = rng.normal(0, TEXT_DIM**-0.5, (rows, TEXT_DIM)).astype(np.float32)
            np.save(phones / f"{file}.npy", vectors)
        np.save(folder / "taste.npy", np.zeros((parts.interactions.num_users, shape.dim), "f4"))
        shard = DeviceShard.open(folder / "world", phones, folder / "taste.npy")
        layout = parameter_layout(shape, num_items, TEXT_DIM)
        parameters = initial_parameters(shape, num_items, TEXT_DIM, 0)
        cohort = np.sort(rng.choice(parts.interactions.num_users, NUM_DEVICES, replace=False))
        changes = {"block_bytes": block_bytes()}
        training = settings.federation.training.model_copy(update=changes)
        task = TrainTask(layout.flatten(parameters).numpy(), cohort, 1, training)

        def loop() -> None:
            for row in cohort:
                one = replace(task, device_ids=np.array([row]))
                trained = train_one_device(shard, int(row), parameters, one, shape, 0)
                sum_of_clipped([trained.updates], one, layout.size, 0)

        def block() -> None:
            train_cohort(shard, task, shape, 0, noise_seed=0)

        times: dict[str, list[float]] = {"loop": [], "block": []}
        ways: tuple[tuple[str, Callable[[], None]], ...] = (("loop", loop), ("block", block))
        for _ in range(REPEATS):
            for way, work in ways:
                started = time.process_time()
                work()
                times[way].append((time.process_time() - started) / NUM_DEVICES)
    slow, fast = (statistics.median(times[way]) for way in ("loop", "block"))
    print(describe_machine())
    print(f"local step, one device in the readable loop: {slow * 1e3:.1f} CPU-ms")
    print(f"local step, in blocks of {training.block_bytes:,} bytes: {fast * 1e3:.2f} CPU-ms")
    print(f"ratio: {slow / fast:.1f}x; {1 / fast:.0f} devices per CPU-second")


if __name__ == "__main__":
    main()
