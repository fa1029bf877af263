"""The verb that lays out a deployment on machines of their own: deploy."""

from pathlib import Path
from typing import Annotated

import typer

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.run_folder import running

SuperLinkAddress = Annotated[
    str,
    typer.Option(
        "--superlink",
        metavar="HOST:PORT",
        help="Where the nodes will reach the SuperLink; its certificate names this host.",
    ),
]


def deploy(
    preset: options.Preset = "quickstart",
    out: options.Out = Path("runs/deploy"),
    superlink: SuperLinkAddress = "127.0.0.1:9092",
    overrides: options.Overrides = None,
    private_text: options.PrivateText = True,
    fresh: options.Fresh = False,
    machine: options.Machine = False,
) -> None:
    """Lay out a federated training on real machines: a folder for each node, and the commands.

    Makes all that `simulate` makes before round 1, and for each of federation.num_nodes a folder
    with its own devices only, to be carried to its machine. TLS, node authentication and the run
    itself are Flower's commands, printed at the end. Nothing is started here.

    Examples:

      pocketfleet deploy --superlink 192.0.2.7:9092 --set federation.num_nodes=2

      pocketfleet simulate --out runs/deploy --resume

    The second one shows the learning curve of a deployed run that has ended.
    """
    from simulation.experiments.arms import FEDERATED, FEDERATED_BLIND
    from simulation.experiments.deployment import check_layout, lay_out
    from simulation.experiments.training import prepare_alone
    from simulation.settings import load_settings

    voice = Voice(machine)
    settings = load_settings(preset, overrides or ())
    arm, num_nodes = FEDERATED if private_text else FEDERATED_BLIND, settings.federation.num_nodes
    with running(out, "deploy", settings, command_line()) as run, voice.progress() as progress:
        check_layout(run.deployment, superlink)
        folder = prepare_alone(run, settings, arm, cache_folder(), progress, fresh=fresh)
        layout = lay_out(run.deployment, folder, num_nodes, superlink)
    voice.show_lines(layout.commands_file.read_text(encoding="utf-8"))
    voice.result({"folder": layout.folder, "run_folder": folder, "commands": layout.commands()})
