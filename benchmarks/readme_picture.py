"""Draw docs/results.svg from the reports of `benchmarks.seeds`: sums over users, no user's history.

    python -m benchmarks.readme_picture

Dots are means over seeds; whiskers are the mean bounds of the 95 % bootstrap intervals over users.
"""

from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt

from benchmarks.seeds import FOLDER
from simulation.reporting.html import load_report
from simulation.reporting.model import MetricName

COLOURS = {"server": "#3f5fc4", "phone": "#1f7a5c", "none": "#8a8a86"}
METRICS: tuple[tuple[MetricName, str], ...] = (("hr@10", "HR@10, %"), ("ndcg@10", "nDCG@10, %"))


def main() -> None:
    """Draw the picture."""
    reports = [load_report(folder / "report") for folder in sorted(FOLDER.iterdir())]
    plt.rcParams |= {"font.family": "sans-serif", "font.size": 10.5, "svg.hashsalt": "pocketfleet"}
    figure, panes = plt.subplots(1, 2, figsize=(9.6, 3.9), sharey=True, layout="constrained")
    arms = reports[0].arms
    for pane, (metric, label) in zip(panes, METRICS, strict=True):
        for row, arm in enumerate(arms):
            found = [report.known_arm(arm.key).metrics["full"][metric] for report in reports]
            middle, low, high = (
                100 * mean(getattr(interval, bound) for interval in found)
                for bound in ("mean", "low", "high")
            )
            colour = COLOURS[arm.place]
            pane.plot([low, high], [row, row], color=colour, linewidth=2, alpha=0.55)
            pane.plot([middle], [row], "o", color=colour, markersize=7)
            pane.annotate(
                f"{middle:.1f}",
                (high, row),
                (6, 0),
                textcoords="offset points",
                va="center",
                color="#33363d",
            )
        pane.set_xlabel(label)
        pane.set_xlim(left=0)
        pane.margins(x=0.12)
        pane.grid(axis="x", color="#e4e1d8")
        pane.set_axisbelow(True)
        pane.spines[["top", "right", "left"]].set_visible(False)
        pane.tick_params(left=False)
    panes[0].set_yticks(range(len(arms)), [arm.name for arm in arms])
    panes[0].invert_yaxis()
    figure.savefig(Path("docs/results.svg"), facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
