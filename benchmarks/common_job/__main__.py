"""Claim: one job through the whole product, against its ceiling and its peers.

    python -m benchmarks.common_job                                  (everything; minutes)
    python -m benchmarks.common_job --only product explicit loop --repeats 5

Each runs in a process of its own on one thread (Flower: two actors), one after another, the whole
turn repeated; medians over the turns, and the ratio to the product within each turn. FedJAX and pfl
run in environments of their own, made once beside the cache. CPU-seconds count all processes of a
peer. Nothing is compared whose final loss is not the job's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.machine import describe_machine
from models.files import write_json
from simulation.data.cache import cache_folder
from simulation.experiments.language.tables import markdown

HERE = "benchmarks.common_job"
PEERS = {
    "product": [f"{HERE}.product"],
    "explicit": [f"{HERE}.torch_peers", "explicit"],
    "vmap": [f"{HERE}.torch_peers", "vmap"],
    "loop": [f"{HERE}.torch_peers", "loop"],
    "fedjax": [f"{HERE}.fedjax_peer"],
    "pfl": [f"{HERE}.pfl_peer"],
    "flower-100": [f"{HERE}.flower_peer", "100"],
    "flower-1000": [f"{HERE}.flower_peer", "1000"],
}
TITLES = {
    "product": "Pocketfleet, whole: messages, clipping, sums, checkpoints",
    "explicit": "explicit batched products alone (the ceiling)",
    "vmap": "torch.func.vmap",
    "loop": "plain torch loop",
    "fedjax": "FedJAX 0.0.17",
    "pfl": "pfl 0.6",
    "flower-100": "Flower, a node per client, 100 nodes",
    "flower-1000": "Flower, a node per client, 1,000 nodes",
}
ENVIRONMENTS = {
    "fedjax": ["fedjax==0.0.17", "jax<0.5", "jaxlib<0.5", "numpy<2", "psutil"],
    "pfl": ["pfl[pytorch]>=0.6,<0.7", "torch==2.13.0", "psutil"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures of every turn")
    given = parser.parse_args()
    names = list(dict.fromkeys(["product", *given.only]))
    pythons = {name: python_of(name) for name in names}
    turns: list[dict[str, dict[str, float]]] = []
    for number in range(given.repeats):
        turn = {}
        for name in names:
            print(f"turn {number + 1}/{given.repeats}: {name}", file=sys.stderr, flush=True)
            turn[name] = run(pythons[name], PEERS[name])
        turns.append(turn)
    if given.out:
        write_json(given.out, {"machine": describe_machine(), "turns": turns})
    print(describe_machine())
    print(table(names, turns))


def run(python: str, words: list[str]) -> dict[str, float]:
    """One job; its last line is its figures."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    done = subprocess.run(
        [python, "-m", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def python_of(name: str) -> str:
    """The interpreter a peer runs in: ours, or that of an environment made for it."""
    if name not in ENVIRONMENTS:
        return sys.executable
    folder = cache_folder() / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        print(f"making an environment for {name} in {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *ENVIRONMENTS[name]], check=True)
        (folder / "ready").touch()
    return str(python)


def table(names: list[str], turns: list[dict[str, dict[str, float]]]) -> str:
    """Medians over the turns, the fastest first."""
    rows = []
    for name in names:
        each = [turn[name]["clients_per_cpu_s"] for turn in turns]
        walls = [turn[name]["clients_per_s"] for turn in turns]
        ratios = [
            turn["product"]["clients_per_cpu_s"] / turn[name]["clients_per_cpu_s"] for turn in turns
        ]
        ratio = statistics.median(ratios)
        rows.append((statistics.median(each), statistics.median(walls), ratio, TITLES[name]))
    rows.sort(reverse=True)
    lines = [["", "clients per CPU-second", "clients per second", "product : this"]]
    for cpu, wall, ratio, title in rows:
        lines.append([title, f"{cpu:,.0f}", f"{wall:,.0f}", f"{ratio:.2f}"])
    return markdown(lines)


if __name__ == "__main__":
    main()
