"""world build | describe."""

from pathlib import Path

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.run_folder import running

app = typer.Typer(no_args_is_help=True, help="The virtual world: build it, describe it.")


@app.command()
def build(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/world"),
    overrides: options.Overrides = None,
    machine: options.Machine = False,
) -> None:
    """Turn users into devices: columns on disk that phones map into memory.

    Examples:

      pocketfleet world build --out runs/world
    """
    from simulation.experiments.materials import prepare_data
    from simulation.settings import load_settings
    from simulation.world.build import build_world

    voice = Voice(machine)
    settings = load_settings(preset, overrides or ())
    with (
        running(out, "world build", settings, command_line()) as run,
        voice.progress() as progress,
    ):
        parts = prepare_data(settings, cache_folder(), progress)
        world = build_world(parts, settings.world, settings.seed, run.world)
    voice.show(f"{world.manifest.num_devices:,} devices in {world.folder}")
    voice.result({"world": world.folder, "num_devices": world.manifest.num_devices})


@app.command()
def describe(run: options.Run = Path("runs/world"), machine: options.Machine = False) -> None:
    """Say which devices a run's world has, and how much is on them.

    Examples:

      pocketfleet world describe runs/quickstart
    """
    import numpy as np

    from clients.shard import WorldManifest, column

    voice = Voice(machine)
    folder = run / "world"
    manifest = WorldManifest.read(folder)
    tier = np.asarray(column(folder, "tier"))
    events = np.diff(column(folder, "offsets"))
    table = Table(title=f"{manifest.num_devices:,} devices, {manifest.num_items:,} items")
    for name in ("tier", "devices", "share", "events, median", "events, most"):
        table.add_column(name, justify="left" if name == "tier" else "right")
    rows = []
    for index, name in enumerate(manifest.tiers):
        mine = events[tier == index]
        row = {
            "tier": name,
            "num_devices": len(mine),
            "events_median": float(np.median(mine)) if len(mine) else 0.0,
            "events_most": int(mine.max(initial=0)),
        }
        share = f"{len(mine) / manifest.num_devices:.1%}"
        median, most = f"{row['events_median']:.0f}", str(row["events_most"])
        table.add_row(name, f"{len(mine):,}", share, median, most)
        rows.append(row)
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    voice.show(table)
    voice.show(f"{num_bytes:,} bytes on disk, {num_bytes / manifest.num_devices:,.0f} a device")
    voice.result({"num_devices": manifest.num_devices, "num_bytes": num_bytes, "tiers": rows})
