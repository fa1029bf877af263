"""Options that several verbs share, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from simulation.engines.names import EngineName

Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        "-p",
        help="A preset's name, the path of a .toml file, or a run's settings.json to repeat it.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override one setting, e.g. federation.rounds=20. May be given many times.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The run folder; a run there is repeated.")]
Run = Annotated[Path, typer.Argument(help="A run folder.")]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        "-e",
        help="inline: this process. flower: the same apps under `flwr run` on local Ray, or on "
        "the cluster that RAY_ADDRESS names. deployment: on a SuperLink and SuperNodes with TLS.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Make the encoder bundle anew even when nothing changed."),
]
Machine = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
PrivateText = Annotated[
    bool,
    typer.Option(
        "--private-text/--no-private-text",
        help="Whether the devices look at what their users wrote.",
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write TensorBoard's event files beside the history.")
]
TargetEpsilon = Annotated[
    float | None,
    typer.Option(
        "--target-epsilon",
        metavar="EPSILON",
        help="User-level differential privacy with this epsilon for the whole run: noise that the "
        "cloud adds, as much as it takes, and Poisson sampling, unless --set says otherwise.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run in the folder, after its last round, with its own settings.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="tensorboard|mlflow",
        help="Log settings, hashes, commit and results there too; may be given twice.",
    ),
]
