"""What a study found, over its seeds: the rows of its table, and tidy tables for other tools.

    results.parquet      a line per cell, slice, protocol and metric; interval over users
    summary.parquet      a line per variant, slice, protocol and metric; interval over users and
                         seeds, and the paired difference to what it is held against

Both bear the hashes of settings, data and encoder bundle, and the commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.files import write_whole
from models.intervals import Interval, PairedBootstrap
from simulation.experiments.studies.seed_intervals import SeedBootstrap, SeedInterval, Values
from simulation.experiments.studies.study_cells import (
    FULL,
    CellHeader,
    MeasuredCell,
    Slice,
    protocol_of,
)
from simulation.experiments.studies.study_grid import Variant
from simulation.experiments.studies.study_plan import StudyPlan, reference_of

RESULTS_FILE, SUMMARY_FILE = "results.parquet", "summary.parquet"

Place = tuple[str, str, str]
"""Slice, protocol, metric."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric of one variant.

    Attributes:
        found: mean over users and seeds.
        difference: to what the variant is held against, None for the reference.
    """

    found: SeedInterval
    difference: SeedInterval | None


@dataclass(frozen=True, slots=True)
class VariantSummary:
    """One row.

    Attributes:
        variant: it.
        against: name of the variant it is held against, "" for none.
        estimates: by slice, protocol and metric.
        figures: name -> mean over seeds.
    """

    variant: Variant
    against: str
    estimates: dict[Place, Estimate]
    figures: dict[str, float]

    def at(self, part: str, metric: str) -> Estimate | None:
        """One metric of a slice, None if it was not measured."""
        return self.estimates.get((part, protocol_of(part), metric))

    def worst(self, metric: str, beside: str) -> tuple[str, SeedInterval] | None:
        """The slice with the lowest mean, of those that are not `beside`; None if there is none.

        Args:
            metric: of the full ranking.
            beside: slice whose mean it stands beside.
        """
        others = [
            (part, estimate.found)
            for (part, protocol, name), estimate in self.estimates.items()
            if (protocol, name) == (FULL, metric) and part != beside
        ]
        return min(others, key=lambda pair: pair[1].interval.mean) if others else None


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What a study found.

    Attributes:
        plan: of the study.
        rows: in the order of the plan.
        cells: headers of all cells.
        values: variant -> place -> values of each user under each seed.
        draws: slice -> the resampling that all variants share.
    """

    plan: StudyPlan
    rows: tuple[VariantSummary, ...]
    cells: tuple[CellHeader, ...]
    values: dict[str, dict[Place, Values]]
    draws: dict[str, SeedBootstrap]

    def contrast(self, a: str, b: str, part: str) -> Interval:
        """Paired difference a - b of the study's metric, between any two variants."""
        place = (part, protocol_of(part), self.plan.metric)
        return self.draws[part].difference(self.values[a][place], self.values[b][place]).interval

    def ratio(self, a: str, b: str, part: str) -> Interval | None:
        """Mean of a over mean of b of the study's metric; None where b may be 0."""
        place = (part, protocol_of(part), self.plan.metric)
        return self.draws[part].ratio(self.values[a][place], self.values[b][place])

    def row(self, name: str) -> VariantSummary:
        """The row of a variant, which must be there."""
        return next(row for row in self.rows if row.variant.name == name)

    def rows_of(self, arm: str) -> list[VariantSummary]:
        """The rows of an arm."""
        return [row for row in self.rows if row.variant.arm == arm]

    @property
    def commits(self) -> list[str]:
        """Of the code that made the cells, each once."""
        return sorted({cell.commit for cell in self.cells})


def summarise(
    plan: StudyPlan, variants: Sequence[Variant], cells: Sequence[MeasuredCell]
) -> StudySummary:
    """Put the cells of a study together.

    Args:
        plan: of the study.
        variants: rows of the table.
        cells: one for each variant and seed, in any order.
    """
    by_place = {(cell.header.variant, cell.header.seed): cell for cell in cells}
    seeds = plan.seeds
    table = {
        variant.name: _values([by_place[variant.name, seed] for seed in seeds])
        for variant in variants
    }
    draws = _draws(table, seeds, plan.replicates)
    against = reference_of(plan, variants)
    rows = []
    for variant in variants:
        other = table.get(against[variant.name], {})
        estimates = {}
        for place, values in table[variant.name].items():
            draw = draws[place[0]]
            rival = other.get(place)
            difference = draw.difference(values, rival) if rival else None
            estimates[place] = Estimate(draw.mean(values), difference)
        figures = _figures([by_place[variant.name, seed].header for seed in seeds])
        rows.append(VariantSummary(variant, against[variant.name], estimates, figures))
    headers = tuple(by_place[v.name, seed].header for v in variants for seed in seeds)
    return StudySummary(plan, tuple(rows), headers, table, draws)


def _values(cells: Sequence[MeasuredCell]) -> dict[Place, Values]:
    """Values of the places that a variant has under every seed."""
    found: dict[Place, dict[int, Any]] = {}
    for cell in cells:
        for part in cell.slices:
            for metric, values in part.values.items():
                place = (part.name, part.protocol, metric)
                found.setdefault(place, {})[cell.header.seed] = (part.users, values)
    return {place: by_seed for place, by_seed in found.items() if len(by_seed) == len(cells)}


def _draws(
    table: dict[str, dict[Place, Values]], seeds: tuple[int, ...], replicates: int
) -> dict[str, SeedBootstrap]:
    """The same draws for all variants, a set for each slice."""
    users: dict[str, list[np.ndarray]] = {}
    for places in table.values():
        for (part, _, _), values in places.items():
            users.setdefault(part, []).extend(own for own, _ in values.values())
    return {
        part: SeedBootstrap.draw(np.unique(np.concatenate(found)), seeds, replicates)
        for part, found in users.items()
    }


def _figures(headers: Sequence[CellHeader]) -> dict[str, float]:
    names = [name for name in headers[0].figures if all(name in h.figures for h in headers)]
    return {name: float(np.mean([h.figures[name] for h in headers])) for name in names}


def write_tables(
    folder: Path, summary: StudySummary, cells: Sequence[MeasuredCell]
) -> tuple[Path, Path]:
    """Write `results.parquet` and `summary.parquet`; return their paths."""
    points = {row.variant.name: row.variant for row in summary.rows}
    draws: dict[int, PairedBootstrap] = {}
    lines = []
    for cell in cells:
        variant = points[cell.header.variant]
        named = _named(cell.header, variant)
        for part in cell.slices:
            lines += [named | line for line in _lines(part, draws, summary.plan.replicates)]
        lines += [named | _line("", "", *pair, None, 0) for pair in cell.header.figures.items()]
    return (
        _write(folder / RESULTS_FILE, lines),
        _write(folder / SUMMARY_FILE, _summary_lines(summary)),
    )


def _named(header: CellHeader, variant: Variant) -> dict[str, Any]:
    return {
        "study": header.study,
        "cell": f"{header.seed}-{header.key[:16]}",
        "variant": variant.name,
        "arm": variant.arm,
        "point": " ".join(f"{key}={value}" for key, value in variant.point),
        "seed": header.seed,
        "settings_sha256": header.settings_sha256,
        "data_sha256": header.data_sha256,
        "bundle_sha256": header.bundle_sha256,
        "commit": header.commit,
    }


def _lines(part: Slice, draws: dict[int, PairedBootstrap], replicates: int) -> list[dict[str, Any]]:
    """A line per metric of a slice; without users there is nothing, with one no interval."""
    count = len(part.users)
    if count >= 2 and count not in draws:
        draws[count] = PairedBootstrap.draw(count, 0, replicates=replicates)
    lines = []
    for metric, values in part.values.items():
        found = draws[count].mean(values) if count >= 2 else None
        mean = float(values.mean()) if count else float("nan")
        lines.append(_line(part.name, part.protocol, metric, mean, found, count))
    return lines


def _line(
    part: str, protocol: str, metric: str, value: float, found: Interval | None, count: int
) -> dict[str, Any]:
    return {
        "slice": part,
        "protocol": protocol,
        "metric": metric,
        "value": float(value),
        "low": found.low if found else float("nan"),
        "high": found.high if found else float("nan"),
        "num_users": count,
    }


def _summary_lines(summary: StudySummary) -> list[dict[str, Any]]:
    lines = []
    first = summary.cells[0]
    for row in summary.rows:
        hashes = [c.settings_sha256 for c in summary.cells if c.variant == row.variant.name]
        shared = {
            "study": first.study,
            "variant": row.variant.name,
            "arm": row.variant.arm,
            "point": " ".join(f"{key}={value}" for key, value in row.variant.point),
            "seeds": " ".join(map(str, summary.plan.seeds)),
            "against": row.against,
            "settings_sha256": " ".join(hashes),
            "data_sha256": first.data_sha256,
            "bundle_sha256": first.bundle_sha256,
            "commit": " ".join(summary.commits),
        }
        for (part, protocol, metric), estimate in row.estimates.items():
            found, other = estimate.found, estimate.difference
            line = _line(
                part, protocol, metric, found.interval.mean, found.interval, found.num_users
            )
            line["spread_over_seeds"] = found.spread
            for end in ("mean", "low", "high"):
                value = getattr(other.interval, end) if other else float("nan")
                line[f"difference_{end}"] = value
            lines.append(shared | line)
    return lines


def _write(path: Path, lines: list[dict[str, Any]]) -> Path:
    with write_whole(path) as file:
        pd.DataFrame(lines).to_parquet(file, index=False)
    return path
