"""Claim: the scores of the model card: what the general vectors are worth without fine-tuning.

    python -m benchmarks.sentence_vectors models/pretrained/ei-bert-en
    python -m benchmarks.sentence_vectors BUNDLE --clinc150 data_full.json --split test
    python -m benchmarks.sentence_vectors BUNDLE BUNDLE --rivals --json

For each bundle: a linear probe on each labelled set (C by validation texts), retrieval (which
article has this short description; which intent does this request mean), and the share of the 10
nearest neighbours in common with the text teacher, on texts held back from pre-training and on
MovieLens-100K's titles. All but the titles are validation texts, for choosing between bundles, or
with `--split test` the test texts, once. Bundles answer one text a request, as on a phone.
`--rivals` adds the text teacher, the starts of BERT-Tiny's type and of static vectors (compressed
first if they are not in the cache), and TF-IDF with SVD. CLINC150 is left out without its path.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe_machine
from models.progress import Progress
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.data.labelled_texts import CLINC150, load_labelled
from simulation.data.pretraining_text import pretraining_texts
from simulation.experiments.encoders.general_students import find_start
from simulation.experiments.encoders.held_back_texts import (
    clinc_intents,
    film_texts,
    held_back_prose,
    wiki_descriptions,
)
from simulation.experiments.encoders.sentence_vectors import Examination, examine, text_teacher
from simulation.experiments.encoders.text_readers import TextReader, bundle_reader, tf_idf_reader
from simulation.experiments.language.cells import SplitName
from simulation.experiments.language.settings import LanguageSettings, load_language_settings
from simulation.experiments.language.tables import markdown

RIVAL_STARTS = ("bert-tiny", "static")


def main(words: Sequence[str] | None = None) -> None:
    given = parser().parse_args(words)
    settings, cache = load_language_settings(given.settings), cache_folder()
    voice = Voice(machine=given.json)
    with voice.progress() as progress:
        asked = examination(settings, cache, given.clinc150, given.split, progress)
        readers = [bundle_reader(name_of(folder), folder) for folder in given.bundles]
        if given.rivals:
            readers += rivals(settings, cache, asked.teacher, progress)
        found = {r.name: examine(r, asked, settings, progress, split=given.split) for r in readers}
    num_bytes = {reader.name: reader.num_bytes for reader in readers}
    voice.result(
        {"split": given.split, "machine": describe_machine(), "bytes": num_bytes, "figures": found}
    )
    if not given.json:
        print(describe_machine())
        print(f"on the {given.split} texts\n")
        print(table(found, num_bytes))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--clinc150", type=Path, help="data_full.json")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--settings", type=Path, help="a TOML file in place of the product's")
    parser.add_argument("--json", action="store_true")
    return parser


def examination(
    settings: LanguageSettings,
    cache: Path,
    clinc150: Path | None,
    split: SplitName,
    progress: Progress,
) -> Examination:
    """All that encoders are asked."""
    sets = [name for name in settings.sets if name != CLINC150 or clinc150]
    limit, seed = settings.probe.train_limit, settings.teacher_seed
    labelled = [
        load_labelled(name, cache, clinc150 if name == CLINC150 else None, limit, seed, progress)
        for name in sets
    ]
    retrievals = [wiki_descriptions(cache, split, progress)]
    if clinc150:
        retrievals.append(clinc_intents(clinc150, cache, split))
    prose = held_back_prose(cache, settings.probe.neighbour_texts, split, progress)
    neighbours = {"prose": prose, "film titles": film_texts(cache, progress)}
    return Examination(labelled, retrievals, neighbours, text_teacher(settings, cache, progress))


def rivals(
    settings: LanguageSettings, cache: Path, teacher: TextReader, progress: Progress
) -> list[TextReader]:
    """The text teacher, two students of equal bytes, and TF-IDF with SVD."""
    students = [
        bundle_reader(name, find_start(settings.of_start(name), cache, progress))
        for name in RIVAL_STARTS
    ]
    texts = pretraining_texts(cache, settings.probe.rival_texts, 0, progress)
    return [teacher, *students, tf_idf_reader(texts, settings.probe.rival_size, 0)]


def name_of(folder: Path) -> str:
    """A bundle's name in the table: its folder, or for runs/mine/bundle the run."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "bundle" else folder.name


def table(found: dict[str, dict[str, float]], num_bytes: dict[str, int | None]) -> str:
    """A row per figure, a column per encoder."""
    rows = [["", *found]]
    rows.append(["bytes", *(f"{size:,}" if size else "-" for size in num_bytes.values())])
    rows += [
        [figure, *(f"{100 * figures[figure]:.1f}" for figures in found.values())]
        for figure in next(iter(found.values()))
    ]
    return markdown(rows)


if __name__ == "__main__":
    main()
