"""Claim: what a device may update decides what it sends and how long it trains; quality follows.

    python -m benchmarks.device_updates 0 1 2                    (seeds)
    python -m benchmarks.device_updates 0 --set split.target=validation

One federated run of the default job for each setting of federation.training.trained, all from the
same static model and with the committed encoder: bytes up per device and round, nDCG@10 and HR@10
(full ranking over all devices, the last evaluation), CPU time of local training per device.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from models.files import write_json
from models.recommender import PARTS
from server.history import BYTES_PER_PARAMETER
from server.settings import ServerJob
from simulation.data.cache import cache_folder
from simulation.experiments.arms import FEDERATED_BLIND, STATIC
from simulation.experiments.federation import prepare_arm, run_arm
from simulation.experiments.language.tables import markdown
from simulation.experiments.materials import encode_on_phones, make_bundle, prepare_materials
from simulation.experiments.training import central_jobs, train_pooled
from simulation.run_folder import RunFolder
from simulation.settings import load_settings

NEEDS = {
    "low-rank": ["recommender.low_rank=4"],
    "adapter": ["recommender.adapter=16"],
    "gated-mix": ["recommender.low_rank=4", "recommender.adapter=16", "recommender.gated=true"],
}
RATES = {"head": 0.01, "head+bias": 0.01, "low-rank": 0.01, "adapter": 0.01, "gated-mix": 0.01}
"""The server's rate (FedAdam), the same for all; the place to change it for one."""

Row = dict[str, float]


def run(seed: int, overrides: list[str]) -> dict[str, Row]:
    """All settings for one seed."""
    cache, found = cache_folder(), {}
    with tempfile.TemporaryDirectory(prefix="updates-") as name:
        common = ["text.bundle=models/pretrained/ei-bert-en", f"seed={seed}", *overrides]
        settings = load_settings("quickstart", common)
        folder = RunFolder(Path(name))
        materials = prepare_materials(folder, settings, cache)
        make_bundle(folder, settings, materials.catalogue, cache)
        _, text = encode_on_phones(folder, materials)
        static = train_pooled(central_jobs(settings, materials, text, None), 1)[STATIC]
        for part in ("all", *PARTS):
            extra = NEEDS.get(part, [])
            rate = RATES.get(part, settings.federation.optimizer.rate)
            mine = [f"federation.optimizer.rate={rate}", f"federation.training.trained={part}"]
            changed = load_settings("quickstart", [*common, *extra, *mine])
            arm = prepare_arm(
                folder,
                FEDERATED_BLIND,
                changed,
                materials,
                static.parameters,
                text.shape[1],
                read_private_text=False,
            )
            started = time.process_time()
            played = run_arm(arm, "inline")
            rows = played.history().rows()
            trained = sum(row["num_reported"] for row in rows)
            metrics = rows[-1]["metrics"]["full"]
            found[part] = {
                "bytes_up": ServerJob.read(arm).num_trained * BYTES_PER_PARAMETER,
                "start": rows[0]["metrics"]["full"]["ndcg@10"],
                "ndcg": metrics["ndcg@10"],
                "hr": metrics["hr@10"],
                "ms": 1e3 * sum(row["seconds"] for row in rows) / trained,
                "cpu_s": time.process_time() - started,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    seeds = {seed: run(seed, given.set) for seed in given.seeds}
    print(describe_machine())
    lines = [["a device updates", "kB up", "nDCG@10, %", "HR@10, %", "ms a device"]]
    starts = [100 * found["all"]["start"] for found in seeds.values()]
    lines.append(["nothing (the static model)", "0", _told(starts), "", ""])
    for part in ("all", *PARTS):
        rows = [found[part] for found in seeds.values()]
        lines.append(
            [
                part,
                f"{rows[0]['bytes_up'] / 1e3:,.1f}",
                _told([100 * row["ndcg"] for row in rows]),
                _told([100 * row["hr"] for row in rows]),
                f"{statistics.median(row['ms'] for row in rows):.2f}",
            ]
        )
    print(markdown(lines))
    if given.out:
        write_json(given.out, {"machine": describe_machine(), "seeds": seeds})


def _told(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ({statistics.stdev(values):.1f})"


if __name__ == "__main__":
    main()
