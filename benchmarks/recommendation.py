"""Claim: what an encoder is worth to the recommender, on warm and on cold items.

    python -m benchmarks.recommendation RUN --encoder general=models/pretrained/ei-bert-en
    python -m benchmarks.recommendation RUN --student taught=models/pretrained/ei-bert-en

RUN is a run folder: its settings are taken, and its own bundle is compared as "catalogue". Each
encoder gets a recommender of its own, trained from the same start. Every `--student` is a bundle
that is first cross-distilled for recommendation, for each task anew. `--federated NAME` trains the
static and the federated arm on an encoder too. Figures go to RUN/recommendation.json.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from models.errors import SettingsError
from models.files import write_json
from simulation.data.cache import cache_folder
from simulation.data.splits import Split
from simulation.experiments.encoders.encoder_comparison import (
    ArmValues,
    EncoderComparisonSettings,
    catalogue_of,
    compare_encoders,
    load_encoder_comparison,
    play_on_phones,
)
from simulation.experiments.encoders.ranking_tasks import RankingTask, cold_task, warm_task
from simulation.experiments.encoders.recommender_course import Course
from simulation.experiments.encoders.text_readers import (
    NONE,
    TextReader,
    bundle_reader,
    no_text_reader,
    random_reader,
    teacher_reader,
    tf_idf_reader,
)
from simulation.experiments.materials import prepare_data
from simulation.run_folder import RunFolder
from simulation.settings import Settings, load_settings

TASKS = ("warm", "cold")
OWN_BUNDLE = "catalogue"


def main(words: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(words)
    torch.set_num_threads(1)
    run, plan = RunFolder(asked.run.resolve()), load_encoder_comparison(asked.plan)
    settings = load_settings(str(run.path / "settings.json"), asked.set)
    cache = cache_folder()
    parts = prepare_data(settings, cache, say)
    catalogue = catalogue_of(parts)
    readers = encoders(run, settings, plan, catalogue, named(asked.encoder))
    course = Course(
        settings=settings,
        distillation=plan.cross_distillation,
        companions=plan.companions,
        teacher=readers[0],
        catalogue=catalogue,
        cache=cache,
    )
    folder, students = run.path / "encoders", named(asked.student)
    print(describe_machine())
    reports = []
    for name in asked.tasks:
        if name == "warm":
            task, able = warm_task(parts), readers
        else:
            length = settings.recommender.max_history
            task = cold_task(parts, plan.cold_share, length, settings.seed)
            able = [reader for reader in readers if reader.name != NONE]  # knows no cold item
        result = compare_encoders(task, able, students, course, folder, say)
        phones = on_phones(asked.federated, task, parts, able, settings, folder)
        result = replace(result, arms=(*result.arms, *phones))
        reports.append(result.report(settings.seed, settings.comparison.replicates))
        print("\n".join(table(reports[-1])), flush=True)
    write_json(run.path / "recommendation.json", {"machine": describe_machine(), "tasks": reports})


def encoders(
    run: RunFolder,
    settings: Settings,
    plan: EncoderComparisonSettings,
    catalogue: Sequence[str],
    bundles: dict[str, Path],
) -> list[TextReader]:
    """All encoders that need no teaching, the teacher first."""
    folders = {OWN_BUNDLE: run.bundle} if run.bundle.is_dir() else {}
    return [
        teacher_reader(settings, cache_folder(), say),
        *(bundle_reader(name, folder) for name, folder in (folders | bundles).items()),
        tf_idf_reader(catalogue, plan.vector_size, settings.seed),
        random_reader(plan.vector_size, settings.seed),
        no_text_reader(plan.vector_size),
    ]


def on_phones(
    names: Sequence[str],
    task: RankingTask,
    parts: Split,
    readers: Sequence[TextReader],
    settings: Settings,
    folder: Path,
) -> list[ArmValues]:
    """Static and federated arms of the encoders that were named."""
    known = {reader.name: reader for reader in readers}
    arms: list[ArmValues] = []
    for name in names:
        taught = folder / name / task.name / "bundle"
        if name not in known and not taught.is_dir():
            raise SettingsError(f"--federated {name}: choose of {', '.join(known)}")
        reader = known[name] if name in known else bundle_reader(name, taught)
        arms += play_on_phones(
            task, parts, reader, settings, folder / name / task.name / "phones", say
        )
    return arms


def table(report: dict[str, Any]) -> list[str]:
    """A task's table in Markdown: means in %, with the paired difference to the reference."""
    names = list(report["arms"][0]["means"])
    against = " ".join(report["reference"])
    lines = [
        f"\n{report['task']} items: {report['num_requests']:,} requests of "
        f"{report['num_users']:,} users; % [95 % interval]; second line: minus {against}",
        "| encoder | arm | bytes | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for row in report["arms"]:
        size = f"{row['num_bytes']:,}" if row["num_bytes"] else ""
        cells = [
            f"{_percent(row['means'][name])}<br>{_percent(row['differences'][name], '+')}"
            for name in names
        ]
        lines.append(f"| {row['encoder']} | {row['arm']} | {size} | " + " | ".join(cells) + " |")
    return lines


def _percent(interval: dict[str, float], sign: str = "") -> str:
    mean, low, high = (f"{100 * interval[key]:{sign}.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def named(words: Sequence[str]) -> dict[str, Path]:
    """Read NAME=PATH options.

    Raises:
        SettingsError: if one is not of that form, or a name stands twice.
    """
    pairs = [word.partition("=") for word in words]
    broken = [
        word for word, (name, _, path) in zip(words, pairs, strict=True) if not (name and path)
    ]
    found = {name: Path(path) for name, _, path in pairs}
    if broken or len(found) < len(pairs):
        raise SettingsError(f"options {list(words)}: give NAME=PATH, each name once")
    return found


def say(what: str, done: int, total: int) -> None:
    """One line at the end of whatever takes long."""
    if done == total:
        print(f"done: {what}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommendation")
    parser.add_argument("run", type=Path, help="a run folder: its settings, and its own bundle")
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=BUNDLE")
    parser.add_argument("--student", action="append", default=[], metavar="NAME=BUNDLE")
    parser.add_argument("--federated", action="append", default=[], metavar="NAME")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--plan", type=Path, help="other settings of this comparison, in TOML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    main()
