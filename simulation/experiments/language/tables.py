"""Results of the language tasks as Markdown tables.

    | set         | teacher | EI-BERT |        | method   | clinc150   | rt-snippets |
    | clinc150    |    96.9 |    95.1 |        | plain    | 94.1 ± 0.2 |  79.0 ± 0.5 |
    | mean        |         |         |        | + head   | ...        |             |
    | of teacher  |   100.0 |    97.7 |

A figure is a mean over the seeds that are there; ± is their standard deviation, with n - 1, and is
left out for one seed. What is missing is a dash, never a guess.
"""

import statistics
from collections.abc import Sequence

from simulation.experiments.language.cells import CellResult, LeftOut
from simulation.experiments.language.settings import USUAL, LanguageSettings

MISSING = "-"
_NAMES_SHOWN = 3


def scores_of(
    results: Sequence[CellResult], set_name: str, arm: str, variant: str, format_name: str
) -> list[float]:
    """Return the scores of all seeds in %, sorted by seed."""
    found = (
        result
        for result in sorted(results, key=lambda result: result.seed)
        if (result.set_name, result.arm, result.variant) == (set_name, arm, variant)
    )
    return [100 * r.scores[format_name] for r in found if format_name in r.scores]


def quality_table(
    results: Sequence[CellResult], settings: LanguageSettings, sets: Sequence[str]
) -> str:
    """Return the table of all sets: a row per set, a column per model kind.

    Below: the mean over the sets (only where all are there), its share of the first column's mean,
    and the bytes, of the largest bundle.
    """
    columns = {title: _arm_and_format(text) for title, text in settings.columns.items()}
    scores = {
        title: [scores_of(results, name, arm, USUAL, kind) for name in sets]
        for title, (arm, kind) in columns.items()
    }
    means = {title: mean_of(found) for title, found in scores.items()}
    best = next(iter(means.values()))
    rows = [["set", *columns]]
    for place, name in enumerate(sets):
        unit = f" ({settings.of_set(name).score})"
        rows.append([name + unit, *(as_cell(scores[title][place]) for title in columns)])
    rows.append(["mean", *(_one(mean) for mean in means.values())])
    rows.append(["share of the teacher", *(_one(_share(mean, best)) for mean in means.values())])
    rows.append(["bytes", *(_bytes(results, *column) for column in columns.values())])
    return markdown(rows)


def ablation_table(
    results: Sequence[CellResult], settings: LanguageSettings, sets: Sequence[str]
) -> str:
    """Return a table per group of ablations: a row per training, a column per set."""
    parts = []
    for group in dict.fromkeys(row.group for row in settings.ablations):
        rows = [[group, *sets, "bytes"]]
        for row in settings.ablations:
            if row.group == group:
                cells = [
                    as_cell(scores_of(results, name, row.start, row.variant, row.format))
                    for name in sets
                ]
                num_bytes = _bytes(results, row.start, row.format, row.variant)
                rows.append([row.title, *cells, num_bytes])
        parts.append(markdown(rows))
    return "\n\n".join(parts)


def left_out_note(left_out: Sequence[LeftOut]) -> str:
    """Say how many results are not in a table, and why; nothing where all are.

    >>> left_out_note([])
    ''
    """
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        cell = one.result
        name = f"{cell.set_name}/{cell.arm}--{cell.variant}--{cell.seed}"
        reasons.setdefault(one.why, []).append(name)
    lines = [f"Results left out: {len(left_out)}"] if left_out else []
    for why, names in reasons.items():
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = ", ..." if len(names) > _NAMES_SHOWN else ""
        lines.append(f"- {len(names)} ({shown}{more}): {why}")
    return "\n".join(lines)


def mean_of(found: Sequence[Sequence[float]]) -> float | None:
    """Return the mean over the sets of the mean over the seeds, if every set is there.

    >>> mean_of([[1.0, 3.0], [4.0]])
    3.0
    """
    if not found or not all(found):
        return None
    return statistics.mean(statistics.mean(scores) for scores in found)


def as_cell(scores: Sequence[float]) -> str:
    """Return mean and spread over the seeds.

    >>> as_cell([90.0, 92.0]), as_cell([90.0]), as_cell([])
    ('91.0 ± 1.4', '90.0', '-')
    """
    if len(scores) < 2:
        return _one(scores[0] if scores else None)
    return f"{statistics.mean(scores):.1f} ± {statistics.stdev(scores):.1f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first one as its head.

    >>> print(markdown([["a", "b"], ["1", "2"]]))
    | a | b |
    |---|--:|
    | 1 | 2 |
    """
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---|" + "--:|" * (len(rows[0]) - 1), *body])


def _arm_and_format(text: str) -> tuple[str, str]:
    arm, _, kind = text.partition(":")
    return arm, kind


def _bytes(results: Sequence[CellResult], arm: str, kind: str, variant: str = USUAL) -> str:
    found = [
        r.num_bytes[kind]
        for r in results
        if (r.arm, r.variant) == (arm, variant) and kind in r.num_bytes
    ]
    return f"{max(found):,}" if found else MISSING


def _share(value: float | None, of: float | None) -> float | None:
    return None if value is None or not of else 100 * value / of


def _one(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"
