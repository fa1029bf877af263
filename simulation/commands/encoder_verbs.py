"""The verbs of the encoder itself: distill, encode, inspect."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from models.errors import DataError
from simulation.commands import options
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder

if TYPE_CHECKING:
    import numpy as np

GENERAL = Path("models/pretrained/ei-bert-en")

TaskName = Annotated[
    str,
    typer.Option(
        help="clinc150, rt-snippets, clothing-recommend, wiki-topic, 20news, zh-reviews, "
        "or own with --path."
    ),
]
DataPath = Annotated[
    Path | None,
    typer.Option(
        "--path",
        help="own: a .csv, .tsv or .parquet with columns text, label and perhaps part (train, "
        "validation, test). clinc150: your copy of data_full.json.",
    ),
]
Start = Annotated[Path, typer.Option(help="The general encoder's bundle to start from.")]
DistillOut = Annotated[Path, typer.Option("--out", "-o", help="Gets bundle/ and report.json.")]
Format = Annotated[
    str,
    typer.Option(
        "--format", help="Bits: mixed-polished, mixed, int8, ...; a format of the settings."
    ),
]
Variant = Annotated[
    str, typer.Option(help="Manner of cross-distillation: usual, plain, mutual, both, ...")
]
Seed = Annotated[int, typer.Option(min=0, help="Of the student's training.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="A TOML file in place of presets/language/english.toml."),
]
DistillOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one of these settings; may be repeated."
    ),
]
Test = Annotated[
    bool, typer.Option("--test", help="Score the test texts too: once, when all is chosen.")
]


def distill(
    task: TaskName,
    path: DataPath = None,
    start: Start = GENERAL,
    out: DistillOut = Path("runs/distill"),
    format_name: Format = "mixed-polished",
    variant: Variant = "usual",
    seed: Seed = 0,
    settings: SettingsFile = None,
    overrides: DistillOverrides = None,
    test: Test = False,
    machine: options.Machine = False,
) -> None:
    """Teach the general encoder a task: a classifier of at most 1,910,000 bytes, no torch to run.

    The text teacher is fine-tuned on the task (kept in the cache, goes on after a stop), then a
    copy of the general encoder learns from it by cross-distillation. The bundle's graph gives
    logits, its manifest names the classes; its score on the validation texts is printed.

    Examples:

      pocketfleet distill --task rt-snippets --out runs/rt

      pocketfleet distill --task own --path my-intents.csv --out runs/intents

      pocketfleet encode runs/intents/bundle "wake me at seven"

      pocketfleet distill --task zh-reviews --start runs/zh/bundle \
--set text_teacher=path/to/bert-base-chinese

    From Python: Classifier.load("runs/intents/bundle").classify(["wake me at seven"]).
    """
    from simulation.experiments.language.task_distillation import Wish, distil_task

    voice = Voice(machine)
    with voice.progress() as progress:
        told = tuple(overrides or ())
        wish = Wish(task, path, start, format_name, variant, seed, settings, test, told)
        made = distil_task(wish, out, cache_folder(), progress)
    table = Table(title=f"{task}: {made['score']}, %")
    parts = ("validation", "test") if test else ("validation",)
    for column in ("", *parts):
        table.add_column(column, justify="right" if column else "left")
    for name, scores in made["scores"].items():
        table.add_row(name, *(f"{100 * scores[part]:.1f}" for part in parts))
    voice.show(table)
    voice.show(f"Bundle: {made['bundle']}, {made['num_bytes']:,} bytes")
    voice.result(made)


BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.")]
Texts = Annotated[list[str], typer.Argument(metavar="TEXT...", help="Texts, each in quotes.")]
Among = Annotated[
    Path | None, typer.Option(help="A file of texts, one a line, to find the nearest ones in.")
]
Top = Annotated[int, typer.Option(min=1, help="How many of the nearest are shown.")]


def encode(
    bundle: BundleFolder,
    texts: Texts,
    among: Among = None,
    top: Top = 5,
    machine: options.Machine = False,
) -> None:
    """Encode texts with a bundle, as a phone does, and show which other texts are nearest.

    With the bundle of a task the likeliest class of each text is shown instead. --json has the
    vectors too.

    Examples:

      pocketfleet encode models/pretrained/ei-bert-en "heist film" "bank robbery" "wild flowers"

      pocketfleet encode models/pretrained/ei-bert-en "heist film" --among titles.txt --top 3

      pocketfleet encode runs/rt/bundle "a fine film with a weak end" --json
    """
    from models.bundle import LARGEST_BUNDLE_BYTES, EncoderBundle
    from models.classifier import labels_of

    voice = Voice(machine)
    # The largest size of an elastic family too: nothing is installed here, only looked at.
    if labels_of(EncoderBundle.open(bundle, LARGEST_BUNDLE_BYTES).manifest["origin"]):
        _classify(voice, bundle, texts)
    else:
        _nearest(voice, bundle, texts, among, top)


def _classify(voice: Voice, bundle: Path, texts: list[str]) -> None:
    from models.classifier import Classifier

    answers = Classifier.load(bundle).classify(texts)
    table = Table()
    for column in ("text", "class", "probability"):
        table.add_column(column)
    for text, answer in zip(texts, answers, strict=True):
        table.add_row(text, answer.label, f"{answer.probability:.2f}")
    voice.show(table)
    rows = [
        {"text": text, "label": answer.label, "probability": answer.probability}
        for text, answer in zip(texts, answers, strict=True)
    ]
    voice.result({"answers": rows})


def _nearest(voice: Voice, bundle: Path, texts: list[str], among: Path | None, top: int) -> None:
    from models.bundle import LARGEST_BUNDLE_BYTES
    from models.encoder import Encoder

    encoder = Encoder.load(bundle, budget_bytes=LARGEST_BUNDLE_BYTES)
    vectors = encoder.encode(texts)
    others = texts if among is None else _lines(among)
    scores = vectors @ (vectors if among is None else encoder.encode(others)).T
    if among is None:
        for row in range(len(texts)):
            scores[row, row] = float("-inf")  # a text is not its own neighbour
    found = [_best(scores[row], others, top) for row in range(len(texts))]
    table = Table()
    for column in ("text", "nearest", "cosine"):
        table.add_column(column)
    for text, near in zip(texts, found, strict=True):
        for place, (other, score) in enumerate(near):
            table.add_row("" if place else text, other, f"{score:.3f}")
    voice.show(table if len(others) > 1 or among else f"{vectors[0][:8]} ...")
    voice.result(
        {
            "texts": texts,
            "vectors": vectors.tolist(),
            "nearest": [[{"text": o, "cosine": s} for o, s in near] for near in found],
        }
    )


def _best(scores: "np.ndarray", others: list[str], top: int) -> list[tuple[str, float]]:
    order = sorted(range(len(others)), key=lambda place: -scores[place])
    known = [place for place in order if scores[place] > float("-inf")]
    return [(others[place], float(scores[place])) for place in known[:top]]


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as lines of text: give a UTF-8 file") from error
    found = [line for line in lines if line]
    if not found:
        raise DataError(f"{path} has no line of text: give at least one")
    return found


def inspect(bundle: BundleFolder, machine: options.Machine = False) -> None:
    """Show what a bundle is: the bytes of each part, its shape and bits, the operators it needs.

    Every size and hash is checked on the way. The operators are those that an onnxruntime must
    have that is built for this bundle alone (see docs/on-device.md).

    Examples:

      pocketfleet inspect models/pretrained/ei-bert-en

      pocketfleet inspect runs/quickstart/bundle --json
    """
    import onnx

    from models.bundle import GRAPH, LARGEST_BUNDLE_BYTES, EncoderBundle
    from models.compression.export.operators import required_operators

    voice = Voice(machine)
    opened = EncoderBundle.open(bundle, LARGEST_BUNDLE_BYTES)
    operators = required_operators(onnx.load_model_from_string(opened.read(GRAPH)))
    table = Table(title=str(bundle))
    table.add_column("part")
    table.add_column("bytes", justify="right")
    for row in opened.byte_table():
        table.add_row(row.part, f"{row.num_bytes:,}")
    table.add_section()
    table.add_row("in all", f"{opened.num_bytes:,}")
    voice.show(table)
    origin = dict(opened.manifest["origin"])
    for name, value in origin.items():
        voice.show(f"{name}: {value}")
    voice.show("operators:\n" + operators.rstrip())
    voice.result(
        {
            "bytes": {row.part: row.num_bytes for row in opened.byte_table()},
            "num_bytes": opened.num_bytes,
            "vector_size": opened.vector_size,
            "origin": origin,
            "operators": operators.splitlines(),
        }
    )
