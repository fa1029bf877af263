"""What privacy costs before anything is run: epsilon."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from models.errors import SettingsError
from simulation.commands import options
from simulation.commands.console import Voice

if TYPE_CHECKING:
    from server.privacy.accounting import Spending

Devices = Annotated[int, typer.Option("--devices", "-n", min=1, help="The population, N.")]
CohortSize = Annotated[
    int, typer.Option("--cohort", "-c", min=1, help="Devices a round draws on average, q N.")
]
Rounds = Annotated[int, typer.Option("--rounds", "-r", min=1, help="Federated rounds.")]
Noise = Annotated[
    float,
    typer.Option("--noise", "-z", min=0, help="Noise on the sum / clip norm; 0 to solve for it."),
]
Target = Annotated[
    float, typer.Option("--target-epsilon", "-e", min=0, help="Solve for the noise; 0 not to.")
]
Delta = Annotated[float, typer.Option("--delta", min=0, max=0.5, help="0 is min(1e-5, N^-1.1).")]
MostRounds = Annotated[
    int,
    typer.Option(
        "--most-rounds",
        min=0,
        help="Without amplification: rounds that one device is in at most; 0 is all of them.",
    ),
]


def epsilon(
    devices: Devices,
    cohort: CohortSize,
    rounds: Rounds,
    noise: Noise = 0.0,
    target: Target = 0.0,
    delta: Delta = 0.0,
    most_rounds: MostRounds = 0,
    machine: options.Machine = False,
) -> None:
    """What a private run would promise each user, or the noise that a promise takes.

    Three rows: Poisson sampling by the tight accountant (privacy loss distributions, PLD) and by a
    bound (Renyi, RDP), and the same without amplification, for cohorts that are picked by
    availability. --target-epsilon solves for the noise of each.

    Examples:

      pocketfleet epsilon --devices 8400000 --cohort 10000 --rounds 100 --noise 1.0

      pocketfleet epsilon --devices 943 --cohort 94 --rounds 80 --target-epsilon 4 --json
    """
    from server.privacy.accounting import Spending, default_delta

    if cohort > devices:
        raise SettingsError(
            f"--cohort is {cohort}, there are {devices} devices: ask for {devices} or fewer"
        )
    if (noise > 0) == (target > 0):
        raise SettingsError(
            f"--noise is {noise:g} and --target-epsilon is {target:g}: give one of the two"
        )
    delta = delta or default_delta(devices)
    drawn = Spending(noise or 1.0, cohort / devices, rounds, 0.0, 0)
    picked = Spending(noise or 1.0, 1.0, min(most_rounds or rounds, rounds), 0.0, 0)
    rows = _rows(drawn, picked, target, delta)
    table = Table(title=f"N = {devices:,}, q = {cohort / devices:.3g}, delta = {delta:.2g}")
    table.add_column("accounted as")
    table.add_column("noise multiplier", justify="right")
    table.add_column("epsilon", justify="right")
    for row in rows:
        table.add_row(
            row["accounted_as"], f"{row['noise_multiplier']:.4g}", f"{row['epsilon']:.4g}"
        )
    voice = Voice(machine)
    voice.show(table)
    voice.result(
        {"devices": devices, "cohort": cohort, "rounds": rounds, "delta": delta, "rows": rows}
    )


def _rows(
    drawn: "Spending", picked: "Spending", target: float, delta: float
) -> list[dict[str, Any]]:
    """The table, a row for each way to account."""
    from dataclasses import replace

    from server.privacy.calibration import noise_multiplier_for

    if target:
        drawn = replace(drawn, noise_multiplier=noise_multiplier_for(target, delta, drawn))
        picked = replace(picked, noise_multiplier=noise_multiplier_for(target, delta, picked))
    priced = (
        ("Poisson sampling, PLD", drawn, drawn.epsilon(delta)),
        ("Poisson sampling, RDP", drawn, drawn.epsilon_by_rdp(delta)),
        (f"no amplification, {picked.rounds} rounds", picked, picked.epsilon(delta)),
    )
    return [
        {"accounted_as": how, "noise_multiplier": spent.noise_multiplier, "epsilon": price}
        for how, spent, price in priced
    ]
