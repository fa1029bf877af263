"""The common job: what everybody trains, from the same numbers to the same loss.

1,000 users x 100 labelled rows of 64 features; a perceptron 64 -> 256 -> 128 -> 1 (49,665
parameters); local SGD at rate 0.05, one pass in batches of 20; cohorts of 100, 20 rounds, plain
mean: 2,000 client trainings. The rows are made up here. Needs NumPy and psutil alone, so that a
peer's throw-away environment holds nothing of ours. A final loss near `LOSS` says that the same job
was done: FedJAX shuffles and Flower draws its own cohorts, which moves the third digit.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil

NUM_USERS, NUM_ROWS, INPUTS, HIDDEN = 1000, 100, 64, (256, 128)
RATE, BATCH_SIZE, COHORT_SIZE, ROUNDS = 0.05, 20, 100, 20
NUM_CLIENTS = COHORT_SIZE * ROUNDS
LOSS, LOSS_TOLERANCE = 0.61621, 0.002

Layers = list[np.ndarray]
"""weight (out, in), bias (out,), ... as torch orders them, float32."""


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Features (1000, 100, 64) and labels (1000, 100, 1), float32."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(INPUTS, 8)).astype("f4")
    read = rng.normal(size=8).astype("f4")
    features = rng.normal(size=(NUM_USERS, NUM_ROWS, INPUTS)).astype("f4")
    features += 0.3 * rng.normal(size=(NUM_USERS, 1, INPUTS)).astype("f4")
    noise = 0.2 * rng.normal(size=(NUM_USERS, NUM_ROWS)).astype("f4")
    labels = np.tanh(features @ mix / 4) @ read + noise > 0
    return features, labels.astype("f4")[..., None]


def cohorts() -> list[np.ndarray]:
    """Users of each round."""
    rng = np.random.default_rng(1)
    return [rng.permutation(NUM_USERS)[:COHORT_SIZE] for _ in range(ROUNDS)]


def initial() -> Layers:
    """Where all start."""
    rng, layers = np.random.default_rng(2), []
    sizes = (INPUTS, *HIDDEN, 1)
    for inputs, outputs in itertools.pairwise(sizes):
        bound = 1 / np.sqrt(inputs)
        layers.append(rng.uniform(-bound, bound, (outputs, inputs)).astype("f4"))
        layers.append(rng.uniform(-bound, bound, outputs).astype("f4"))
    return layers


def loss_of(layers: Layers) -> float:
    """Mean loss over all rows of all users."""
    features, labels = rows()
    hidden, wanted = features.reshape(-1, INPUTS), labels.reshape(-1)
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        hidden = np.maximum(hidden @ weight.T + bias, 0)
    logits = (hidden @ layers[-2].T + layers[-1])[:, 0]
    return float(np.mean(np.logaddexp(0, logits) - wanted * logits))


@dataclass
class Clock:
    """Seconds of the clock on the wall and of processors, all processes of the job together."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    clients: int = NUM_CLIENTS


@contextmanager
def timed() -> Iterator[Clock]:
    """Time what happens inside."""
    clock, wall, cpu = Clock(), time.perf_counter(), cpu_seconds()
    yield clock
    clock.wall_s, clock.cpu_s = time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Processor time of this process and all that it started."""
    me = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in [me, *me.children(recursive=True)])


def report(clock: Clock, layers: Layers) -> None:
    """Print one line of JSON, the last of this process.

    Raises:
        SystemExit: if the loss is not that of the job.
    """
    loss = loss_of(layers)
    memory = psutil.Process().memory_info().rss
    line = {
        "clients_per_s": clock.clients / clock.wall_s,
        "clients_per_cpu_s": clock.clients / clock.cpu_s,
        "wall_s": clock.wall_s,
        "cpu_s": clock.cpu_s,
        "loss": loss,
        "memory_mb": memory / 1e6,
    }
    print(json.dumps(line), flush=True)
    if abs(loss - LOSS) > LOSS_TOLERANCE:
        sys.exit(f"the loss is {loss:.5f}, the job's is {LOSS}: another job was done")
