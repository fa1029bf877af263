"""Draw docs/frontier.svg: quality against bytes, from the results of the language tasks.

    python -m benchmarks.frontier --clinc150 PATH/data_full.json --split test

A dot is an encoder in a format: the mean score over the sets (all must be there), and the bytes of
its largest bundle. The line joins what nothing smaller beats: the frontier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.language_understanding import options, prepare
from simulation.experiments.language.cells import CellResult
from simulation.experiments.language.filling import current_results
from simulation.experiments.language.settings import USUAL
from simulation.experiments.language.tables import left_out_note, mean_of, scores_of

BUDGET_BYTES = 1_910_000
OURS, OTHERS = "#1f7a5c", "#3f5fc4"
SAME = "the same"
"""A column's title may say that its encoder is that of the column before it."""

LABEL_HEIGHT = 0.24
"""In points of score: labels nearer to each other than this would lie on one another."""


@dataclass(frozen=True, slots=True)
class Dot:
    """An encoder in a format.

    Attributes:
        name: beside the dot.
        ours: whether it is an EI-BERT.
        num_bytes: of all that ships.
        score: mean over the sets, %.
    """

    name: str
    ours: bool
    num_bytes: int
    score: float


def main() -> None:
    parser = options()
    parser.set_defaults(split="test", table=True)
    parser.add_argument("--out", type=Path, default=Path("docs/frontier.svg"))
    given = parser.parse_args()
    bench, sets = prepare(given, [])
    results, left_out = current_results(bench, given.results, given.split, sets)
    found = dots(results, bench.settings.columns | bench.settings.frontier, sets)
    draw(found, given.out)
    for dot in sorted(found, key=lambda dot: dot.num_bytes):
        mark = "*" if dot in frontier(found) else " "
        print(f"{mark} {dot.num_bytes:>12,} bytes  {dot.score:5.1f} %  {dot.name}")
    print(left_out_note(left_out))


def dots(results: Sequence[CellResult], columns: dict[str, str], sets: Sequence[str]) -> list[Dot]:
    """The arms and formats that have a score on every set."""
    found, before = [], ""
    for title, text in columns.items():
        arm, _, kind = text.partition(":")
        score = mean_of([scores_of(results, name, arm, USUAL, kind) for name in sets])
        own = [
            r.num_bytes[kind]
            for r in results
            if (r.arm, r.variant) == (arm, USUAL) and kind in r.num_bytes
        ]
        if score is not None and own:
            if title.startswith(SAME):
                title = before.rpartition(",")[0] + title.removeprefix(SAME)
            before = title
            found.append(Dot(title, arm.startswith("ei-bert"), max(own), score))
    return found


def frontier(found: Sequence[Dot]) -> list[Dot]:
    """The dots that no other one with as few bytes beats, by rising bytes.

    >>> dots = [Dot("a", True, 1, 50.0), Dot("b", True, 2, 40.0), Dot("c", True, 3, 60.0)]
    >>> [dot.name for dot in frontier(dots)]
    ['a', 'c']
    """
    kept: list[Dot] = []
    for dot in sorted(found, key=lambda dot: (dot.num_bytes, -dot.score)):
        if not kept or dot.score > kept[-1].score:
            kept.append(dot)
    return kept


def label_heights(found: Sequence[Dot]) -> list[tuple[Dot, float]]:
    """Where each dot's label goes: at its score, or below it where another label is.

    >>> both = [Dot("a", True, 100, 5.0), Dot("b", True, 110, 5.0)]
    >>> [round(height, 2) for _, height in label_heights(both)]
    [5.0, 4.76]
    """
    placed: list[tuple[Dot, float]] = []
    for dot in sorted(found, key=lambda dot: (-dot.score, dot.num_bytes)):
        height = dot.score
        beside = [h for other, h in placed if 1 / 4 < dot.num_bytes / other.num_bytes < 4]
        while any(abs(height - other) < LABEL_HEIGHT - 1e-9 for other in beside):
            height -= 0.02
        placed.append((dot, height))
    return placed


def draw(found: Sequence[Dot], out: Path) -> None:
    """Draw the picture."""
    import matplotlib.pyplot as plt

    plt.rcParams |= {"font.family": "sans-serif", "font.size": 10.5, "svg.hashsalt": "pocketfleet"}
    figure, pane = plt.subplots(figsize=(7.6, 4.2), layout="constrained")
    line = frontier(found)
    pane.plot([d.num_bytes for d in line], [d.score for d in line], color="#8a8a86", linewidth=1)
    for dot, height in label_heights(found):
        colour = OURS if dot.ours else OTHERS
        pane.plot([dot.num_bytes], [dot.score], "o", color=colour, markersize=7)
        aside = 1.12 * dot.num_bytes
        pane.plot([dot.num_bytes, aside], [dot.score, height], color=colour, linewidth=0.8)
        pane.text(1.02 * aside, height, dot.name, fontsize=9, va="center", color="#222220")
    pane.axvline(BUDGET_BYTES, color="#b5483a", linestyle="--", linewidth=1)
    pane.set_xscale("log")
    pane.set_xlabel("bytes of all that ships")
    pane.set_ylabel("mean score over the sets, %")
    pane.margins(x=0.2, y=0.12)
    pane.grid(color="#e4e1d8")
    pane.set_axisbelow(True)
    pane.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
