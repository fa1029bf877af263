"""The verb that opens the studio: a rollout under one's own hand, on a local page."""

from pathlib import Path
from typing import Annotated

import typer

from simulation.commands import options
from simulation.commands.console import Voice

ScenarioName = Annotated[
    str | None,
    typer.Option("--scenario", help="What is wrong with the release at first.  [default: healthy]"),
]
PlanName = Annotated[
    str | None,
    typer.Option(
        "--plan", help="The plan of the rollout: a name, or a .toml file.  [default: standard]"
    ),
]
Devices = Annotated[
    int | None, typer.Option("--devices", help="Phones of the virtual fleet.  [default: 100000]")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Of the fleet and of all draws.  [default: 0]")
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--run", help="A finished quickstart or compare, to look into its phones."),
]
Folder = Annotated[
    Path, typer.Option("--out", "-o", help="The studio's folder; what is in it goes on.")
]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Of this machine alone; 0: any free one.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Threads.")]
Opens = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")]


def studio(
    scenario: ScenarioName = None,
    devices: Devices = None,
    plan: PlanName = None,
    seed: Seed = None,
    run: RunFolder = None,
    out: Folder = Path("runs/studio"),
    port: Port = 8321,
    workers: Workers = 2,
    overrides: options.Overrides = None,
    opens: Opens = True,
) -> None:
    """Roll a release out by hand, on a page of this machine: play, break something, roll back.

    The fleet phone by phone, the ramp, the guardrails with their evidence, the log. Everything that
    is done lies in OUT/studio.sqlite3: Ctrl-C or worse, the same command goes on where it was. The
    page is served on the loopback address and nowhere else.

    Examples:

      pocketfleet studio

      pocketfleet studio --scenario poisoned-update --devices 1000000 --out runs/poisoned

      pocketfleet studio --run runs/quickstart

      pocketfleet studio --port 9000 --no-open
    """
    from simulation.studio.serving import Wanted, serve

    voice = Voice(machine=False)
    wanted = Wanted(scenario, plan, devices, seed, tuple(overrides or ()))
    serve(out, port, wanted, voice.note, workers=workers, opens=opens, run=run)
    voice.note(f"the studio is closed; the same command goes on where it was ({out})")
