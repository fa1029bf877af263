"""Claim: one elastic run is about as good at each size as a run of its own.

    python -m benchmarks.elastic
    python -m benchmarks.elastic --texts 60000 --steps 2000 --sizes 0.5MB 1.91MB

Elastic: one training in which all sizes share their weights. Own run: an ordinary student of the
same shape, words, texts, steps, rates and bits, trained by itself. Both ship as bundles and are
asked a text a request; judged on texts held back from both. What an own run reads in a different
order is chance: one seed. `--texts` cuts the corpus, which the teacher then reads anew.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from models.files import write_json
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.experiments.encoders.elastic_sizes import compare_with_own_runs, load_elastic
from simulation.experiments.language.tables import markdown


def main(words: Sequence[str] | None = None) -> None:
    given = parser().parse_args(words)
    plan, settings = load_elastic(given.settings, overrides(given))
    names = given.sizes or [size.name for size in plan.sizes]
    voice = Voice(machine=given.json)
    with voice.progress() as progress:
        rows = compare_with_own_runs(plan, settings, names, given.out, cache_folder(), progress)
    found = {
        "machine": describe_machine(),
        "steps": plan.training.steps,
        "seed": settings.seed,
        "rows": rows,
    }
    write_json(given.out / "elastic.json", found)
    voice.result(found)
    if not given.json:
        print(f"{found['machine']}\n{plan.training.steps:,} steps, seed {settings.seed}\n")
        print(table(rows))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic")
    parser.add_argument("--texts", type=int, help="general texts in place of the preset's")
    parser.add_argument("--steps", type=int, help="of the elastic run, and of each own run")
    parser.add_argument("--sizes", nargs="+", metavar="NAME", help="that get a run of their own")
    parser.add_argument("--settings", type=Path, help="a TOML file in place of the product's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-elastic"))
    parser.add_argument("--json", action="store_true")
    return parser


def overrides(given: argparse.Namespace) -> list[str]:
    """All options that change settings, `--set` the last."""
    found = []
    if given.texts is not None:
        found += [
            f"text.prose_sentences={given.texts}",
            f"compression.corpus.prose_texts={given.texts}",
        ]
    if given.steps is not None:
        found.append(f"training.steps={given.steps}")
    return [*found, *given.set]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Two rows per size: its slice of the elastic run, and its own run."""
    lines = [["size", "run", "bytes", "words", "neighbours in common, %", "cosine"]]
    for row in rows:
        for kind, title in (("elastic", "elastic"), ("own", "its own")):
            found = row[kind]
            agreement = [f"{100 * found['neighbours']:.1f}", f"{found['cosine']:.4f}"]
            counts = [f"{found['num_bytes']:,}", f"{found['words']:,}"]
            lines.append([row["name"], title, *counts, *agreement])
    return markdown(lines)


if __name__ == "__main__":
    main()
