"""Claim: PFedRec-size phones train at 2,000 and more per CPU-second.

    python -m benchmarks.federated_recommenders

One round of all 943 phones of MovieLens-100K, for each method of the plan: draws, steps, clipping,
sums, what is personal written to disk. One thread; the median of the repeats, after one that is not
counted. What the methods reach is another thing: `pocketfleet study recommenders`.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from models.recommenders.methods import TITLES, method_of
from models.threads import fixed_threads
from simulation.data.cache import cache_folder
from simulation.data.loading import load_interactions
from simulation.experiments.federated_recommenders.rounds import HeldBack, Rounds
from simulation.experiments.federated_recommenders.settings import RecommenderRun, load_study

REPEATS = 7


def cpu_seconds_of_a_round(run: RecommenderRun, parts: HeldBack) -> list[float]:
    """CPU-seconds of a round of all phones, `REPEATS` times."""
    method, times = method_of(run.method), []
    start = method.layout(parts.num_items).flatten(method.start(parts.num_items, 0)).numpy()
    with tempfile.TemporaryDirectory() as folder, fixed_threads(1):
        rounds = Rounds.prepared(run, parts, 0, Path(folder))
        for round_number in range(1, REPEATS + 2):
            started = time.process_time()
            rounds.train(start, round_number)
            times.append(time.process_time() - started)
    return times[1:]


def main() -> None:
    study = load_study()
    parts = HeldBack.of(load_interactions(study.data, cache_folder()), study.split, 0)
    phones = parts.histories.num_users
    print(describe_machine())
    done = set()
    for run in study.runs:
        if run.method.name in done:
            continue
        done.add(run.method.name)
        one = run.model_copy(update={"num_nodes": 1, "cohort_share": 1.0})
        times = cpu_seconds_of_a_round(one, parts)
        middle = statistics.median(times)
        rates = [phones / seconds for seconds in times]
        print(
            f"{TITLES[run.method.name]:9} dim {run.method.dim}: {phones / middle:6,.0f} phones per "
            f"CPU-second (median of {REPEATS}; {min(rates):,.0f} .. {max(rates):,.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
