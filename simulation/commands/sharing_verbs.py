"""The verbs of what is shared: one training by several sizes, one encoder by several tasks."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.commands.encoder_verbs import GENERAL, Test
from simulation.data.cache import cache_folder
from simulation.run_folder import running

ElasticOut = Annotated[
    Path, typer.Option("--out", "-o", help="Gets sizes/NAME/, a bundle each, and report.json.")
]
ElasticFile = Annotated[
    Path | None,
    typer.Option("--settings", help="A TOML file in place of presets/elastic/english.toml."),
]
ElasticOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override one setting, of the file (training.steps=1000) or of the preset that it "
        "extends (text.threads=2). May be given many times.",
    ),
]


def elastic(
    out: ElasticOut = Path("runs/elastic"),
    settings_file: ElasticFile = None,
    overrides: ElasticOverrides = None,
    machine: options.Machine = False,
) -> None:
    """Train one encoder for all device tiers: a bundle of 0.5, 1.0, 1.91 and 4.0 MB from one run.

    A smaller size is a corner of the next larger one: its first words, numbers and heads. Texts,
    teacher and bits are those of the preset that the settings extend. For each size the table has
    its bytes, its words, and how far it agrees with the text teacher on texts that it has not
    learnt from.

    Examples:

      pocketfleet elastic --out runs/elastic

      pocketfleet elastic --set training.steps=2000 --set text.threads=2

      pocketfleet encode runs/elastic/sizes/0.5MB "heist film" "bank robbery" "wild flowers"

    Killed, the same command goes on where it was. A bundle above 1,910,000 bytes is loaded with
    Encoder.load(path, budget_bytes=4_000_000).
    """
    from simulation.experiments.encoders.elastic_sizes import load_elastic, make_sizes

    voice = Voice(machine)
    plan, settings = load_elastic(settings_file, overrides or ())
    with running(out, "elastic", settings, command_line()) as run, voice.progress() as progress:
        made = make_sizes(plan, settings, run.path, cache_folder(), progress)
    table = Table(title=f"{made['steps']:,} steps, judged on {made['judged_texts']:,} texts")
    for column in ("size", "bytes", "words", "neighbours in common, %", "cosine"):
        table.add_column(column, justify="right" if column != "size" else "left")
    for row in made["sizes"]:
        agreement = (f"{100 * row['neighbours']:.1f}", f"{row['cosine']:.3f}")
        table.add_row(row["name"], f"{row['num_bytes']:,}", f"{row['words']:,}", *agreement)
    voice.show(table)
    voice.show(f"Bundles: {run.path / 'sizes'}")
    voice.result({"folder": run.path, **made})


EncoderBundleFolder = Annotated[
    Path, typer.Option("--encoder", help="The general encoder's bundle; it stays as it is.")
]
CatalogueRun = Annotated[
    Path,
    typer.Option("--run", help="A run folder: its data is recommended from, its settings taken."),
]
ScenariosOut = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Gets bundle/, intent.npz, recommendation.npz and report.json."
    ),
]
Clinc = Annotated[
    Path | None, typer.Option("--clinc150", help="Intents: your copy of data_full.json.")
]
OwnTexts = Annotated[
    Path | None,
    typer.Option(
        "--path",
        help="Intents: a .csv, .tsv or .parquet with columns text, label and perhaps part (train, "
        "validation, test).",
    ),
]
ScenariosFile = Annotated[
    Path | None,
    typer.Option("--settings", help="A TOML file in place of presets/scenarios/english.toml."),
]
ScenariosOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override one setting, of the file (intent.adapter_size=8) or of the run "
        "(central.epochs=5). May be given many times.",
    ),
]


def scenarios(
    encoder: EncoderBundleFolder = GENERAL,
    run_folder: CatalogueRun = Path("runs/quickstart"),
    out: ScenariosOut = Path("runs/scenarios"),
    clinc150: Clinc = None,
    path: OwnTexts = None,
    test: Test = False,
    settings_file: ScenariosFile = None,
    overrides: ScenariosOverrides = None,
    machine: options.Machine = False,
) -> None:
    """Put two tasks on one frozen encoder: intent recognition and recommendation.

    Each is a file of some kilobytes, adapters and a head; the encoder is loaded once for both.
    Intents are scored on their validation texts, recommendations by the validation item of the run,
    warm items and cold ones, each with and without adapters.

    Examples:

      pocketfleet scenarios --run runs/quickstart --clinc150 data_full.json

      pocketfleet scenarios --run runs/ours --path my-intents.csv --set intent.place=pooled

    From Python: phone = ScenarioEncoder.load(Path("runs/scenarios/bundle")), then
    phone.add_scenario("intent", Path("runs/scenarios/intent.npz").read_bytes()) and
    phone.label("intent", ["wake me at seven"]).
    """
    from simulation.experiments.encoders.two_scenarios import Wish, load_scenarios, make_scenarios

    voice = Voice(machine)
    wish = Wish(encoder, run_folder, clinc150, path, settings_file, tuple(overrides or ()), test)
    plan, settings = load_scenarios(wish)
    with running(out, "scenarios", settings, command_line()) as run, voice.progress() as progress:
        made = make_scenarios(wish, plan, settings, run.path, cache_folder(), progress)
    voice.show(_intent_table(made["intent"]))
    for task in made["recommendation"]["tasks"]:
        voice.show(_items_table(task))
    sizes = f"{made['encoder_bytes']:,} bytes, with inputs for adapters {made['bundle_bytes']:,}"
    voice.show(f"Encoder: {sizes}")
    voice.show(f"For the phone: bundle/, intent.npz, recommendation.npz in {run.path}")
    voice.result({"folder": run.path, **made})


def _intent_table(intent: dict[str, Any]) -> Table:
    """Bytes and scores of intent recognition."""
    table = Table(title=f"Intents, {intent['set']}: {intent['score']}, %")
    parts = list(intent["arms"][0]["scores"])
    for column in ("", "bytes", *parts):
        table.add_column(column, justify="right" if column else "left")
    for row in intent["arms"]:
        scores = (f"{100 * row['scores'][part]:.1f}" for part in parts)
        table.add_row(row["arm"], f"{row['num_bytes']:,}", *scores)
    return table


def _items_table(task: dict[str, Any]) -> Table:
    """Bytes and metrics of recommendation, and the difference to the encoder's own vectors."""
    table = Table(
        title=f"{task['task'].capitalize()} items, {task['num_users']:,} users: % "
        "(difference to the encoder's own vectors [95 % interval])"
    )
    field = "all" if task["task"] == "warm" else "cold"
    names = [f"{field} {metric}" for metric in ("hr@10", "ndcg@10")]
    for column in ("", "bytes", "numbers per text", *names):
        table.add_column(column, justify="right" if column else "left")
    for row in task["arms"]:
        is_reference = [row["encoder"], row["arm"]] == task["reference"]
        cells = []
        for name in names:
            mean = f"{100 * row['means'][name]['mean']:.2f}"
            keys = ("mean", "low", "high")
            apart, low, high = (f"{100 * row['differences'][name][key]:+.2f}" for key in keys)
            cells.append(mean if is_reference else f"{mean} ({apart} [{low}, {high}])")
        table.add_row(row["encoder"], f"{row['num_bytes']:,}", str(row["vector_size"]), *cells)
    return table
