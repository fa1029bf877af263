"""Sentences that follow from the numbers of a study; other numbers give other sentences.

Differences are in points (percent of the metric's scale), with their interval over users and seeds.
"""

from collections.abc import Sequence

from models.intervals import Interval
from simulation.experiments.studies.study_summary import StudySummary, VariantSummary


def points(found: Interval) -> str:
    """A difference with its interval, in points.

    >>> points(Interval(-0.0124, -0.0221, -0.0028))
    '−1.24 points [−2.21, −0.28]'
    """
    mean, low, high = (f"{100 * end:+.2f}".replace("-", "−") for end in _ends(found))
    return f"{mean} points [{low}, {high}]"


def percent(found: Interval) -> str:
    """A mean with its interval, in percent.

    >>> percent(Interval(0.1043, 0.0871, 0.122))
    '10.4 % [8.7, 12.2]'
    """
    mean, low, high = (f"{100 * end:.1f}" for end in _ends(found))
    return f"{mean} % [{low}, {high}]"


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.mean, found.low, found.high


def verdict(title: str, other: str, difference: Interval) -> str:
    """Whether one thing is better than another, beyond the interval.

    >>> verdict("A", "B", Interval(0.02, 0.01, 0.03))
    'A is better than B (+2.00 points [+1.00, +3.00]).'
    >>> verdict("A", "B", Interval(0.01, -0.01, 0.03))
    'A and B cannot be told apart (+1.00 points [−1.00, +3.00]).'
    """
    told = points(difference)
    if not difference.excludes_zero():
        return f"{title} and {other} cannot be told apart ({told})."
    better = "better" if difference.mean > 0 else "worse"
    return f"{title} is {better} than {other} ({told})."


def title_of(row: VariantSummary) -> str:
    """A row's title inside of a sentence."""
    return row.variant.title


def differences(
    summary: StudySummary, part: str, rows: Sequence[VariantSummary] | None = None
) -> list[tuple[VariantSummary, Interval]]:
    """Rows that are held against another one, with the paired difference of the study's metric."""
    found = []
    for row in summary.rows if rows is None else rows:
        estimate = row.at(part, summary.plan.metric)
        if estimate and estimate.difference:
            found.append((row, estimate.difference.interval))
    return found


def against_reference(summary: StudySummary, part: str) -> list[str]:
    """Which rows are better, worse, and not told apart from what they are held against."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row, difference in differences(summary, part):
        kind = "same"
        if difference.excludes_zero():
            kind = "better" if difference.mean > 0 else "worse"
        groups[kind].append(f"{title_of(row)} ({points(difference)})")
    said = []
    if groups["better"]:
        said.append(f"Better, beyond the interval: {'; '.join(groups['better'])}.")
    if groups["worse"]:
        said.append(f"Worse, beyond the interval: {'; '.join(groups['worse'])}.")
    if groups["same"]:
        said.append(f"Not told apart: {'; '.join(groups['same'])}.")
    return said


def seeds_and_users(summary: StudySummary, part: str) -> str:
    """What is behind the intervals."""
    estimate = summary.rows[0].at(part, summary.plan.metric)
    users = estimate.found.num_users if estimate else 0
    count = len(summary.plan.seeds)
    seeds = "one seed" if count == 1 else f"{count} seeds"
    return f"Behind each interval are {users:,} users and {seeds}" + (
        ", so it holds for this seed only." if count == 1 else "."
    )
