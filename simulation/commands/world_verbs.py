"""world build | describe."""

from pathlib import Path
from typing import Annotated, Any

import typer

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


Page = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The page; RUN/report/world.html when not given."),
]
Fidelity = Annotated[
    bool,
    typer.Option(
        "--fidelity/--no-fidelity",
        help="Whether synthetic devices are compared with the users they were fitted on, for which "
        "the run's data is loaded again.",
    ),
]


@app.command()
def describe(
    run: options.Run = Path("runs/world"),
    page: Page = None,
    fidelity: Fidelity = True,
    machine: options.Machine = False,
) -> None:
    """Say what a run's world is like: phones, availability, network, time, energy, activity.

    Draws all of it on one page, with the same numbers as JSON beside it. Where the devices are
    synthetic it says how like the real users they are.

    Examples:

      pocketfleet world describe runs/world

      pocketfleet world describe runs/fleet --out fleet.html
    """
    from simulation.experiments.world_description import describe_world
    from simulation.reporting.world_html import write_world_page
    from simulation.reporting.world_terminal import render_terminal
    from simulation.run_folder import RunFolder

    voice, folder = Voice(machine), RunFolder(run.resolve())
    with voice.progress() as progress:
        report = describe_world(folder, cache_folder(), progress, fidelity=fidelity)
    path = page or run / "report" / "world.html"
    twin = write_world_page(report, path)
    voice.show(render_terminal(report))
    voice.show(f"Page: {path}\nThe same as JSON: {twin}")
    voice.result({"page": path, "data": twin, **report.model_dump(mode="json")})
