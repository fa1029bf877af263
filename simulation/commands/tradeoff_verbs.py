"""The verb of what privacy costs: tradeoff."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice, command_line
from simulation.data.cache import cache_folder
from simulation.run_folder import running

if TYPE_CHECKING:
    from simulation.experiments.tradeoff.tradeoff_arm import Estimate, TradeoffRow

PlanName = Annotated[
    str,
    typer.Argument(metavar="PLAN", help="ml-100k, or fleet, or a .toml file of your own."),
]


def tradeoff(
    plan: PlanName = "ml-100k",
    out: options.Out = Path("runs/tradeoff"),
    overrides: options.Overrides = None,
    machine: options.Machine = False,
) -> None:
    """What privacy costs: the same training under one promise after another, in one table.

    Each arm is trained, judged on every device, and attacked: by a cloud that reads histories off
    what it sees, and by canaries that bound epsilon from below. Stopped or killed, the same
    command goes on with the arms that have no row yet.

    Examples:

      pocketfleet tradeoff ml-100k --out runs/tradeoff

      pocketfleet tradeoff mine.toml --set federation.rounds=20 --json
    """
    from simulation.experiments.tradeoff.tradeoff_plan import load_tradeoff
    from simulation.experiments.tradeoff.tradeoff_study import base_settings, run_tradeoff

    voice = Voice(machine)
    chosen = load_tradeoff(plan, overrides or ())
    settings = base_settings(chosen)
    with running(out, "tradeoff", settings, command_line()) as run, voice.progress() as progress:
        rows = list(run_tradeoff(run, chosen, cache_folder(), progress))
    voice.show(_table(rows))
    voice.show(f"Rows: {out / 'tradeoff'}")
    voice.result({"rows": [row.model_dump(mode="json") for row in rows]})


def _table(rows: list["TradeoffRow"]) -> Table:
    start = rows[0].start["ndcg@10"]
    table = Table(title=f"Before any round: nDCG@10 {_percent(start)} %")
    for name in ("", "epsilon", "at least", "noise", "nDCG@10, %", "gained", "history read, %"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_column("kB up", justify="right")
    table.add_column("s a round", justify="right")
    for row in rows:
        table.add_row(
            row.title,
            _number(row.epsilon),
            _number(row.epsilon_at_least),
            _number(row.noise_multiplier or None),
            _percent(row.quality["ndcg@10"]),
            _percent(row.gain["ndcg@10"], sign="+"),
            _percent(row.history),
            f"{row.bytes_up / 1e3:,.0f}",
            f"{row.seconds_per_round:.2f}",
        )
    return table


def _percent(estimate: "Estimate | None", sign: str = "") -> str:
    if estimate is None:
        return "–"
    mean, *ends = (
        f"{100 * each:{sign}.1f}" for each in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean} [{', '.join(ends)}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
