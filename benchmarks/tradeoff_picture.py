"""Draw docs/privacy.svg: what the cloud may promise against what the recommendations are worth.

    python -m benchmarks.tradeoff_picture runs/tradeoff runs/tradeoff-fleet

One pane for each run folder of `pocketfleet tradeoff`. A dot is an arm: nDCG@10 with its 95 %
interval over users, at its epsilon; arms that promise nothing stand at the right edge. The grey
line is where all arms start.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import DataError
from simulation.experiments.tradeoff.tradeoff_arm import TradeoffRow

COLOURS = {
    "none": "#6c6c68",
    "central": "#1f7a5c",
    "local": "#b5483a",
    "distributed": "#3f5fc4",
}
SCALED, HIDDEN = "#b98a1e", "#7a4fb0"
LABELS = {
    "none": "no privacy",
    "central": "noise of the cloud",
    "local": "noise of each phone",
    "distributed": "noise of the phones, secure sum",
}
METRIC = "ndcg@10"


@dataclass(frozen=True, slots=True)
class Mark:
    """How an arm is drawn.

    Attributes:
        epsilon: its place; None: it promises nothing.
        colour: of its mechanism.
        label: of its mechanism, for the legend.
    """

    epsilon: float | None
    colour: str
    label: str


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of `pocketfleet tradeoff`")
    parser.add_argument("--titles", nargs="+", help="of the panes, else the folders' names")
    parser.add_argument("--out", type=Path, default=Path("docs/privacy.svg"))
    given = parser.parse_args()
    titles = given.titles or [run.name for run in given.runs]
    draw([(title, rows_of(run)) for title, run in zip(titles, given.runs, strict=True)], given.out)


def rows_of(run: Path) -> list[TradeoffRow]:
    """All rows in a run folder.

    Raises:
        DataError: if it has none.
    """
    files = sorted((run / "tradeoff").glob("*.json"))
    if not files:
        raise DataError(f"{run} has no rows of a trade-off: run `pocketfleet tradeoff --out {run}`")
    return [TradeoffRow.model_validate_json(path.read_text(encoding="utf-8")) for path in files]


def mark_of(row: TradeoffRow) -> Mark:
    """How an arm is drawn."""
    if row.scaled_population:
        phones = row.scaled_population / 1e6
        return Mark(row.epsilon, SCALED, f"noise of the cloud, scaled to {phones:.1f} M phones")
    if row.mechanism == "central" and row.hidden:
        return Mark(row.epsilon, HIDDEN, f"{LABELS['central']}, secure sum")
    return Mark(row.epsilon, COLOURS[row.mechanism], LABELS[row.mechanism])


def draw(panes: Sequence[tuple[str, Sequence[TradeoffRow]]], out: Path) -> None:
    """Draw the picture."""
    import matplotlib.pyplot as plt

    plt.rcParams |= {"font.family": "sans-serif", "font.size": 10.5, "svg.hashsalt": "pocketfleet"}
    figure, axes = plt.subplots(
        1, len(panes), figsize=(4.6 * len(panes), 4.2), layout="constrained", squeeze=False
    )
    labels: dict[str, Any] = {}
    for pane, (title, rows) in zip(axes[0], panes, strict=True):
        _draw_pane(pane, title, rows, labels)
    axes[0][0].set_ylabel("nDCG@10, full ranking, %")
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(out, facecolor="white", metadata={"Date": None})


def _draw_pane(pane: Any, title: str, rows: Sequence[TradeoffRow], labels: dict[str, Any]) -> None:
    known = sorted({round(row.epsilon) for row in rows if row.epsilon is not None})
    edge = 2.5 * max(known, default=1)
    start = rows[0].start[METRIC]
    pane.axhline(100 * start.mean, color="#8a8a86", linewidth=1)
    shifts: dict[float, int] = {}
    for row in rows:
        mark, found = mark_of(row), row.quality[METRIC]
        place = mark.epsilon if mark.epsilon is not None else edge
        beside = shifts.get(round(place), 0)
        shifts[round(place)] = beside + 1
        dot = pane.errorbar(
            [place * 1.09**beside],
            [100 * found.mean],
            yerr=[[100 * (found.mean - found.low)], [100 * (found.high - found.mean)]],
            fmt="o",
            color=mark.colour,
            capsize=3,
            markersize=6,
        )
        labels.setdefault(mark.label, dot)
    pane.set_xscale("log")
    pane.set_xticks([*known, edge], [*(str(each) for each in known), "none"])
    pane.minorticks_off()
    pane.set_xlabel("epsilon that is promised")
    pane.set_title(f"{title} (line: before any round)", fontsize=10.5)
    pane.grid(axis="y", color="#e4e1d8")
    pane.set_axisbelow(True)
    pane.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
