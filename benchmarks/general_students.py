"""Claim: what each general student that tasks start from is like, before any task.

    python -m benchmarks.general_students                        (all recipes of the settings)
    python -m benchmarks.general_students short short-states short-masked-words

A student that is not there yet is compressed first, minutes to an hour each; one that is there is
only read. Agreement (share of the 10 nearest in common with the text teacher) and cosine are on
held-back texts: in fp32 at the warm start and after pre-training, and as it ships.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from models.progress import Progress
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.experiments.encoders.general_students import find_start
from simulation.experiments.language.settings import StartSettings, load_language_settings
from simulation.experiments.language.tables import markdown

HEAD = [
    "student", "bytes", "words", "attention kept, %", "agreement, warm start",
    "agreement, pre-trained", "agreement, as it ships", "cosine, warm start", "cosine, pre-trained",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("starts", nargs="*", help="names in the settings; all recipes if left out")
    parser.add_argument("--settings", type=Path, help="a TOML file in place of the product's")
    given = parser.parse_args()
    settings = load_language_settings(given.settings, {})
    recipes = [name for name, start in settings.starts.items() if not start.bundle]
    with Voice(machine=False).progress() as progress:
        rows = [row_of(name, settings.starts[name], progress) for name in given.starts or recipes]
    print(describe_machine())
    print(markdown([HEAD, *rows]))


def row_of(name: str, start: StartSettings, progress: Progress) -> list[str]:
    """Compress the student if need be, and read its report."""
    folder = find_start(start, cache_folder(), progress)
    report = json.loads(folder.with_name(f"{folder.name}-report.json").read_text())
    stages: dict[str, dict[str, Any]] = {row["stage"]: row["figures"] for row in report["stages"]}
    warm, trained, words = stages["student"], stages["pretraining"], stages["pruning"]
    shares = (
        warm["neighbours"],
        trained["neighbours"],
        report["parity"]["teacher_neighbour_agreement"],
        warm["held_back_cosine"],
        trained["held_back_cosine"],
    )
    kept = 100 * words.get("attention_kept", float("nan"))
    counts = [f"{report['bundle_bytes']:,}", f"{words['words_after']:,}", f"{kept:.1f}"]
    return [name, *counts, *(f"{share:.3f}" for share in shares)]


if __name__ == "__main__":
    main()
