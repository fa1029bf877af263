"""`pocketfleet elastic`: one training, a bundle per size, and a report.

    plan (sizes, steps) + preset (texts, teacher) --> family --one training--> OUT/sizes/NAME/
                                                                               OUT/report.json

A run that was stopped goes on: the teacher's reading and the training are kept in the cache as they
go. When nothing changed since the last run, the bundles are kept.
"""

import json
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from models.bundle import LARGEST_BUNDLE_BYTES, EncoderBundle
from models.compression.elastic.elastic_family import Family, prepare_family
from models.compression.elastic.family_settings import FamilySettings, check_family
from models.errors import PocketfleetError, SettingsError
from models.files import write_json
from models.progress import Progress, silent
from models.threads import fixed_threads
from simulation.data.interactions import Columns
from simulation.experiments.materials import encoder_corpus, find_teacher, prepare_data
from simulation.experiments.plans import load_plan
from simulation.run_folder import git_commit, versions
from simulation.settings import Settings, load_settings

REPORT, SIZES = "report.json", "sizes"

_RECENT_STEPS = 50


class ElasticPlan(FamilySettings, frozen=True):
    """A family, and the preset that it extends."""

    preset: str = Field(description="whose texts, teacher, pruning, losses and bits are taken")
    overrides: tuple[str, ...] = Field(description='on the preset, each "section.key=value"')


def load_elastic(
    path: Path | None = None, overrides: Sequence[str] = ()
) -> tuple[ElasticPlan, Settings]:
    """Read a plan and the preset that it extends.

    Args:
        path: a TOML file; the product's when None.
        overrides: each "section.key=value", of the plan or of the preset.

    Raises:
        SettingsError: if one of the two is wrong, or they do not fit together.
    """
    plan, others = load_plan(ElasticPlan, "elastic", path, overrides)
    settings = load_settings(plan.preset, [*plan.overrides, *others])
    check_family(plan, settings.compression)
    return plan, settings


def make_sizes(
    plan: ElasticPlan, settings: Settings, out: Path, cache: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Train a family and write a bundle per size; return the report.

    Args:
        plan: the sizes and how they learn.
        settings: of the preset that it extends.
        out: gets `sizes/NAME/` and `report.json`.
        cache: folder of downloads, readings and unfinished work.
        progress: told about everything.

    Raises:
        DataError: if the teacher or the texts cannot be had.
        BudgetError: if a bundle does not fit into its budget.
    """
    with fixed_threads(settings.text.threads):
        family = read_family(plan, settings, cache, progress)
        kept = _kept(out, family.fingerprint)
        if kept is not None:
            progress("keeping the bundles: their texts, settings and teacher are the same", 1, 1)
            return kept
        for size in plan.sizes:
            if (
                out / SIZES / size.name
            ).exists():  # raises now, not after hours: only a bundle goes
                EncoderBundle.open(out / SIZES / size.name, LARGEST_BUNDLE_BYTES)
        (out / REPORT).unlink(missing_ok=True)  # a report never stands beside other bundles
        elastic, losses = family.train(progress)
        figures = [
            family.ship_slice(elastic, place, out / SIZES / size.name, progress)
            for place, size in enumerate(plan.sizes)
        ]
    report = {
        "sizes": [asdict(row) | {"bundle": f"{SIZES}/{row.name}"} for row in figures],
        "texts": len(family.curriculum.held_back),
        "judged_texts": len(family.judged),
        "steps": len(losses),
        "loss": statistics.fmean(losses[-_RECENT_STEPS:]),
        "seed": settings.seed,
        "made_from": family.fingerprint,
        "plan": plan.model_dump(mode="json"),
        "commit": git_commit(),
        "versions": versions(),
    }
    write_json(out / REPORT, report)
    shutil.rmtree(family.work, ignore_errors=True)  # kept until now for a run that is killed
    return report


def compare_with_own_runs(
    plan: ElasticPlan,
    settings: Settings,
    names: Sequence[str],
    folder: Path,
    cache: Path,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train a family, and some of its sizes once more, each by itself.

    Args:
        plan: the sizes and how they learn.
        settings: of the preset that it extends.
        names: of the sizes that get a run of their own.
        folder: gets `elastic/NAME/` and `own/NAME/`.
        cache: folder of downloads, readings and unfinished work.
        progress: told about everything.

    Returns:
        per size the figures of its slice, `elastic`, and of its own run, `own`.

    Raises:
        SettingsError: if there is no such size.
        DataError: if the teacher or the texts cannot be had.
        BudgetError: if a bundle does not fit into its budget.
    """
    known = [size.name for size in plan.sizes]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SettingsError(f"there are no sizes {unknown}: choose of {', '.join(known)}")
    with fixed_threads(settings.text.threads):
        family = read_family(plan, settings, cache, progress)
        elastic, _ = family.train(progress)
        rows = []
        for place, name in enumerate(known):
            if name in names:
                slice_ = family.ship_slice(elastic, place, folder / "elastic" / name, progress)
                own = family.own_run(place, folder / "own" / name, progress)
                rows.append({"name": name, "elastic": asdict(slice_), "own": asdict(own)})
    shutil.rmtree(family.work, ignore_errors=True)
    return rows


def read_family(
    plan: ElasticPlan, settings: Settings, cache: Path, progress: Progress = silent
) -> Family:
    """Fetch texts and teacher, and prepare the training.

    Raises:
        DataError: if the teacher or the texts cannot be had.
    """
    catalogue: list[str] = []
    if settings.text.corpus == "catalogue":
        items = prepare_data(settings, cache, progress).interactions.items
        catalogue = list(items[Columns.TEXT])
    return prepare_family(
        find_teacher(settings, cache, progress),
        encoder_corpus(settings, catalogue, cache, progress),
        settings.compression,
        plan,
        cache,
        settings.seed,
        settings.text.threads,
        progress,
    )


def _kept(out: Path, fingerprint: str) -> dict[str, Any] | None:
    """The report of an earlier run, if it made just these bundles and they are undamaged."""
    try:
        report: dict[str, Any] = json.loads((out / REPORT).read_text(encoding="utf-8"))
        for row in report["sizes"]:
            EncoderBundle.open(out / row["bundle"], LARGEST_BUNDLE_BYTES)
    except (OSError, ValueError, KeyError, TypeError, PocketfleetError):
        return None
    return report if report.get("made_from") == fingerprint else None
