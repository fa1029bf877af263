"""data list | fetch | describe."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.data.sources import DATA_SOURCES, fetch_source

app = typer.Typer(no_args_is_help=True, help="Data sets and weights: list, fetch, describe.")


@app.command("list")
def list_sources(machine: options.Machine = False) -> None:
    """Show what can be fetched, under which terms, and whether it is in the cache.

    Examples:

      pocketfleet data list
    """
    voice, cache = Voice(machine), cache_folder()
    table = Table(title=f"Cache: {cache}")
    for name in ("name", "what", "wheel", "terms", "cached"):
        table.add_column(name, overflow="fold")
    found = []
    for source in DATA_SOURCES:
        cached = source.is_cached(cache)
        for wheel in source.wheels:
            mark = "yes" if cached else "no"
            table.add_row(source.name, wheel.what, wheel.requirement, wheel.licence, mark)
            found.append(
                {
                    "name": source.name,
                    "wheel": wheel.requirement,
                    "sha256": wheel.sha256,
                    "licence": wheel.licence,
                    "citation": wheel.citation,
                    "cached": cached,
                }
            )
    voice.show(table)
    voice.show(
        "What you downloaded, a folder or a zip (MovieLens, MIND, Book-Crossing, goodbooks-10k): "
        "--set data.source=auto --set data.path=...\n"
        "Your own tables: --set data.source=table --set data.path=... --set data.items_path=..."
    )
    voice.result({"cache": cache, "sources": found})


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all when none.")] = None,
    machine: options.Machine = False,
) -> None:
    """Fetch sources into the cache and check their hashes; all of them when none is named.

    Examples:

      pocketfleet data fetch

      pocketfleet data fetch ml-100k
    """
    voice, cache = Voice(machine), cache_folder()
    wanted = names or [source.name for source in DATA_SOURCES]
    paths = {}
    with voice.progress() as progress:
        for name in wanted:
            paths[name] = [str(path) for path in fetch_source(name, cache, progress)]
    for name, files in paths.items():
        voice.show(f"{name}: {', '.join(files)}")
    voice.result(paths)


@app.command()
def describe(
    preset: options.Preset = "quickstart",
    overrides: options.Overrides = None,
    machine: options.Machine = False,
) -> None:
    """Load interactions and say what is in them, what was mended, and how they are split.

    Examples:

      pocketfleet data describe

      pocketfleet data describe -s data.source=auto -s data.path=ml-25m.zip
    """
    from models.errors import SettingsError
    from simulation.data import statistics
    from simulation.data.fingerprint import data_sha256
    from simulation.data.loading import load_interactions
    from simulation.data.splits import split
    from simulation.settings import load_settings

    voice = Voice(machine)
    settings = load_settings(preset, overrides or ())
    with voice.progress() as progress:
        interactions = load_interactions(settings.data, cache_folder(), progress)
    numbers, shown = statistics.describe(interactions), interactions.impressions
    try:
        parts = split(interactions, settings.split, settings.seed)
        split_lines = {
            "split": parts.rule,
            "tied_users": parts.tied_users,
            "evaluated_users": int((parts.held_out >= 0).sum()),
            "cold_items": int(parts.cold_item.sum()),
            "cold_users": int(parts.cold_user.sum()),
            "asked_for_a_cold_item": int((parts.cold_held_out >= 0).sum()),
        }
    except SettingsError as error:  # what the data is like can be told all the same
        split_lines = {"split": f"no split: {error}"}
    for line in (*numbers.lines(), *interactions.intake.lines(), str(split_lines["split"])):
        voice.show(line)
    if shown is not None:
        judged = int(shown.judged.sum())
        voice.show(
            f"{len(shown):,} impressions of {len(shown.item) / len(shown):.1f} candidates, "
            f"{judged:,} of them to be judged by"
        )
    digest = data_sha256(interactions)
    voice.show(f"SHA-256 of the checked data: {digest}")
    voice.show(f"Terms: {interactions.licence}\nCite: {interactions.citation}")
    voice.result(
        {
            "name": interactions.name,
            "statistics": dataclasses.asdict(numbers),
            "intake": interactions.intake.as_dict(),
            "impressions": 0 if shown is None else len(shown),
            "data_sha256": digest,
        }
        | split_lines
    )
