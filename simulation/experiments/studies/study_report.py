"""From a study's summary to what is shown of it."""

from datetime import datetime

from models import intervals
from simulation.experiments.studies.seed_intervals import SeedInterval
from simulation.experiments.studies.study_cells import protocol_of
from simulation.experiments.studies.study_kinds import StudyKind
from simulation.experiments.studies.study_summary import (
    Estimate,
    StudySummary,
    VariantSummary,
)
from simulation.reporting.model import Interval
from simulation.reporting.study_model import StudyEstimate, StudyReport, StudyRow, StudyTable


def report_of(
    name: str, summary: StudySummary, kind: StudyKind, command: str, created: datetime
) -> StudyReport:
    """Put a study into words and tables.

    Args:
        name: of the study.
        summary: what it found.
        kind: of the study; it reads the numbers.
        command: the command line.
        created: now, with its zone.
    """
    plan, cells = summary.plan, summary.cells
    tables = [_table(summary, part) for part in plan.slices]
    return StudyReport(
        name=name,
        title=plan.title,
        question=plan.question,
        metric=plan.metric,
        shown=plan.shown,
        tables=tuple(table for table in tables if table),
        reading=tuple(kind.read(summary)),
        created=created,
        command=command,
        seeds=plan.seeds,
        commits=tuple(summary.commits),
        data_sha256=tuple(sorted({cell.data_sha256 for cell in cells})),
        bundle_sha256=tuple(sorted({cell.bundle_sha256 for cell in cells})),
        plan=plan.model_dump(mode="json"),
    )


def _table(summary: StudySummary, part: str) -> StudyTable | None:
    """The table of a slice, with the rows that were measured on it; None if there is none."""
    rows = [_row(summary, row, part) for row in summary.rows if row.at(part, summary.plan.metric)]
    return StudyTable(part=part, rows=tuple(rows)) if rows else None


def _row(summary: StudySummary, row: VariantSummary, part: str) -> StudyRow:
    plan = summary.plan
    metrics = {
        metric: _estimate(estimate)
        for (name, protocol, metric), estimate in row.estimates.items()
        if (name, protocol) == (part, protocol_of(part))
    }
    titles = {other.variant.name: other.variant.title for other in summary.rows}
    worst = row.worst(plan.metric, part) if len(plan.slices) == 1 else None
    main = row.at(part, plan.metric)
    return StudyRow(
        name=row.variant.name,
        title=row.variant.title,
        against=titles.get(row.against, ""),
        metrics=metrics,
        worst_slice=worst[0] if worst else "",
        worst=_interval(worst[1]) if worst else None,
        num_users=main.found.num_users if main else 0,
        figures=row.figures,
    )


def _estimate(estimate: Estimate) -> StudyEstimate:
    return StudyEstimate(
        found=_interval(estimate.found),
        spread=estimate.found.spread,
        difference=_interval(estimate.difference) if estimate.difference else None,
    )


def _interval(found: SeedInterval) -> Interval:
    bounds: intervals.Interval = found.interval
    return Interval(mean=bounds.mean, low=bounds.low, high=bounds.high)
