"""Claim: what the engines cost around the same arithmetic.

    python -m benchmarks.engines RUN          (default: runs/quickstart)

Three rounds of the federated arm of a finished run, on 2 nodes, with both engines in alternation;
wall time, start-up included. The final parameters of the two are compared as well.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine
from clients.job import DEVICE_JOB_FILE, DeviceJob
from server.history import History
from server.settings import SERVER_JOB_FILE, ServerJob
from simulation.engines.names import EngineName
from simulation.experiments.arms import FEDERATED
from simulation.experiments.federation import run_arm
from simulation.run_folder import RunFolder

COMPARED: tuple[EngineName, ...] = ("inline", "flower")
REPEATS, ROUNDS, NODES = 3, 3, 2


def prepare(run: RunFolder, name: str) -> Path:
    """A short copy of the federated arm in a folder of its own."""
    device_job, server_job = DeviceJob.read(run.arm(FEDERATED)), ServerJob.read(run.arm(FEDERATED))
    folder = run.arm(name)
    History(folder).clear()  # a run that has ended is not run again
    taste = np.zeros_like(np.load(device_job.taste))
    np.save(folder / "taste.npy", taste)
    short = server_job.federation.model_copy(update={"rounds": ROUNDS, "num_nodes": NODES})
    jobs = (
        (DEVICE_JOB_FILE, device_job.model_copy(update={"taste": folder / "taste.npy"})),
        (SERVER_JOB_FILE, server_job.model_copy(update={"federation": short, "folder": folder})),
    )
    for file, job in jobs:
        (folder / file).write_text(job.model_dump_json(), encoding="utf-8")
    return folder


def main() -> None:
    run = RunFolder(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart").resolve())
    seconds: dict[str, list[float]] = {engine: [] for engine in COMPARED}
    finals = {}
    for _ in range(REPEATS):
        for engine in COMPARED:
            folder = prepare(run, f"benchmark-{engine}")
            started = time.perf_counter()
            finals[engine] = run_arm(folder, engine).parameters
            seconds[engine].append(time.perf_counter() - started)
    print(describe_machine())
    for name, values in seconds.items():
        print(f"{name}: {ROUNDS} rounds on {NODES} nodes in {statistics.median(values):.1f} s")
    inline, flower = (statistics.median(seconds[engine]) for engine in COMPARED)
    difference = np.abs(finals["inline"] - finals["flower"]).max()
    print(f"ratio {flower / inline:.1f}x; largest difference of a parameter {difference:.1e}")


if __name__ == "__main__":
    main()
