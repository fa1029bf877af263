"""Claim: what the ultra-compact encoder is worth on labelled texts, beside its teacher and rivals.

    python -m benchmarks.language_understanding --clinc150 PATH/data_full.json
    python -m benchmarks.language_understanding --clinc150 PATH --split test

Every set is learnt by the fine-tuned teacher, by EI-BERT (in each format), by a student of
BERT-Tiny's type, by a static one, and by TF-IDF with logistic regression: one file per training in
benchmarks/results/language. What is there already is not made again, so a run that was killed goes
on, and several of these commands may run side by side. `--split validation` (the default) is for
choices; `--split test` looks at the test texts once, with the settings that were chosen. The table
has only what today's settings, texts, teacher and starts would give again, and says what it lacks.
"""

import argparse
from pathlib import Path

from benchmarks.machine import describe_machine
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.experiments.language.cells import RESULTS, cells_of
from simulation.experiments.language.filling import current_results, fill_cells
from simulation.experiments.language.settings import load_language_settings
from simulation.experiments.language.tables import left_out_note, quality_table
from simulation.experiments.language.workbench import Workbench


def options() -> argparse.ArgumentParser:
    """What this and the ablations can be told."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--clinc150", type=Path, help="data_full.json; without it the set is left out"
    )
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--sets", nargs="+", help="all of the settings' when left out")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--settings", type=Path, help="a TOML file in place of the product's")
    parser.add_argument("--bundle", nargs="+", default=[], metavar="START=FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print what is there, make nothing")
    return parser


def prepare(given: argparse.Namespace, sets: list[str]) -> tuple[Workbench, list[str]]:
    """Return the workbench, and the sets that can be had."""
    bundles = {name: Path(folder) for name, _, folder in (b.partition("=") for b in given.bundle)}
    settings = load_language_settings(given.settings, bundles)
    wanted = given.sets or sets or list(settings.sets)
    if given.clinc150 is None and not given.table:
        wanted = [name for name in wanted if name != "clinc150"]
    return Workbench(settings, cache_folder(), given.clinc150), wanted


def main() -> None:
    parser = options()
    parser.add_argument("--arms", nargs="+", help="those of the table's columns when left out")
    given = parser.parse_args()
    bench, sets = prepare(given, [])
    columns = bench.settings.columns.values()
    arms = given.arms or list(dict.fromkeys(text.partition(":")[0] for text in columns))
    if not given.table:
        cells = cells_of(sets, arms, given.seeds or [0], given.split)
        with Voice(machine=False).progress() as progress:
            bench.progress = progress
            fill_cells(bench, cells, given.results)
    print(describe_machine())
    print(f"{given.split} split, scores in %\n")
    shown, left_out = current_results(bench, given.results, given.split, sets)
    print(quality_table(shown, bench.settings, sets))
    print(left_out_note(left_out))


if __name__ == "__main__":
    main()
