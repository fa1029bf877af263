"""world build | describe."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.run_folder import running

app = typer.Typer(no_args_is_help=True, help="The virtual world: build it, describe it.")


Devices = Annotated[
    int | None,
    typer.Option(
        "--devices",
        "-n",
        min=0,
        metavar="N",
        help="Synthetic devices, fitted on the real users; 0 is one device for each real user. "
        "Short for --set population.devices=N.",
    ),
]


@app.command()
def build(
    preset: options.Preset = "quickstart",
    devices: Devices = None,
    out: options.Out = Path("runs/world"),
    overrides: options.Overrides = None,
    machine: options.Machine = False,
) -> None:
    """Turn users into devices: columns on disk that phones map into memory.

    Without --devices every real user is one device. With it a population of any size is fitted on
    the real users: a tier and a number of events per device are written, what the events are is
    drawn when a phone is asked.

    Examples:

      pocketfleet world build --out runs/world

      pocketfleet world build --devices 100000 --out runs/world

      pocketfleet world build --preset fleet --out runs/fleet
    """
    import time

    from clients.peak_memory import peak_bytes
    from simulation.experiments.materials import make_world, prepare_data
    from simulation.settings import load_settings

    voice, began_s = Voice(machine), time.perf_counter()
    short = () if devices is None else (f"population.devices={devices}",)
    settings = load_settings(preset, (*(overrides or ()), *short))
    with (
        running(out, "world build", settings, command_line()) as run,
        voice.progress() as progress,
    ):
        parts = prepare_data(settings, cache_folder(), progress)
        world = make_world(run, parts, settings, progress)
    built = {
        "world": world.folder,
        "num_devices": world.manifest.num_devices,
        "num_bytes": sum(path.stat().st_size for path in world.folder.iterdir()),
        "seconds": time.perf_counter() - began_s,
        "peak_bytes": peak_bytes(),
    }
    voice.show(_built(built, world.manifest.events))
    voice.result(built)


def _built(built: dict[str, Any], events: str) -> str:
    """What was built, in two lines."""
    from simulation.reporting.formats import size

    count, num_bytes = built["num_devices"], built["num_bytes"]
    kind = "synthetic devices" if events == "synthetic" else "devices, one for each real user,"
    return (
        f"{count:,} {kind} in {built['world']}\n"
        f"{size(num_bytes)} on disk, {num_bytes / count:,.1f} bytes a device; "
        f"{built['seconds']:,.1f} s, {size(built['peak_bytes'])} of memory at the peak"
    )


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
