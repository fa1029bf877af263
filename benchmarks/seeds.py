"""Claim: the figures of the README's table, as means over seeds.

    python -m benchmarks.seeds 0 1 2

Runs the whole comparison once per seed (each makes its own encoder bundle) and prints mean and
spread of every arm, and how often a contrast was clear.
"""

import statistics
import sys
from pathlib import Path

from benchmarks.machine import describe_machine
from simulation.data.cache import cache_folder
from simulation.experiments.comparison import compare
from simulation.reporting.html import write_report
from simulation.reporting.model import ReportData
from simulation.run_folder import running
from simulation.settings import load_settings

FOLDER = Path("runs/seeds")


def main() -> None:
    seeds = [int(word) for word in sys.argv[1:]] or [0, 1, 2]
    reports: list[ReportData] = []
    for seed in seeds:
        settings = load_settings("quickstart", [f"seed={seed}"])
        with running(FOLDER / str(seed), "compare", settings) as run:
            report = compare(run, settings, cache_folder(), "inline")
            write_report(report, run.report)
        reports.append(report)
        print(f"seed {seed}: {report.headline}", flush=True)
    print(describe_machine())
    print(f"mean over seeds {seeds} (standard deviation), full ranking, in %")
    for arm in reports[0].arms:
        cells = []
        for metric in ("hr@10", "ndcg@10"):
            values = [100 * r.known_arm(arm.key).metrics["full"][metric].mean for r in reports]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{metric} {statistics.mean(values):5.2f} ({spread:.2f})")
        print(f"{arm.name:28} {'   '.join(cells)}")
    for index, contrast in enumerate(reports[0].contrasts):
        found = [report.contrasts[index] for report in reports]
        means = ", ".join(
            f"{100 * c.mean:+.2f} [{100 * c.low:+.2f}, {100 * c.high:+.2f}]" for c in found
        )
        print(f"{contrast.a} - {contrast.b} ({contrast.metric}): {means}")


if __name__ == "__main__":
    main()
