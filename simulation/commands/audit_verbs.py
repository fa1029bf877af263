"""The verb of the attacks: audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from simulation.commands import options
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder

if TYPE_CHECKING:
    from simulation.experiments.audit.findings import Findings, Row

Attack = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        "-a",
        help="history, words, vectors, membership, canaries, poison or serving; may be given many "
        "times. All of them when left out.",
    ),
]
Arm = Annotated[str, typer.Option("--arm", help="The federated arm of the run.")]
AuditOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Gets a JSON file for each attack; audit/ in the run if not."),
]
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes: minutes, rough figures.")]
AuditFile = Annotated[
    Path | None,
    typer.Option("--settings", help="A TOML file in place of presets/audit/english.toml."),
]
AuditOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override one size (membership.shadows=32). May be given many times.",
    ),
]


def audit(
    run: options.Run,
    attack: Attack = None,
    arm: Arm = "federated",
    out: AuditOut = None,
    quick: Quick = False,
    settings_file: AuditFile = None,
    overrides: AuditOverrides = None,
    machine: options.Machine = False,
) -> None:
    """Attack a finished run: what does an attacker learn, with and without protection?

    Histories and words are read off single updates, texts off vectors, members off the final model
    and off rounds; canaries bound epsilon from below; lying devices push an item; ways of serving
    are compared. Each attack stands beside guessing. Nothing of a single user is written.

    Examples:

      pocketfleet audit runs/quickstart --quick

      pocketfleet audit runs/quickstart --attack history --attack words

      pocketfleet audit runs/quickstart -a membership --set membership.shadows=32 --json
    """
    from simulation.experiments.audit.suite import ATTACKS, audit_run, load_audit

    voice = Voice(machine)
    plan = load_audit(settings_file, overrides or (), quick=quick)
    folder, found = out or run / "audit", []
    with voice.progress() as progress:
        names = attack or list(ATTACKS)
        for one in audit_run(run, arm, plan, names, folder, cache_folder(), progress):
            found.append(one.as_dict())
            voice.show(_table(one))
    voice.show(f"Findings: {folder}")
    voice.result({"folder": folder, "findings": found})


def _table(found: "Findings") -> Table:
    """A table of what an attack found; the ends of an interval stand behind their mean."""
    names = [
        name
        for name in (found.rows[0] if found.rows else {})
        if not name.endswith((" low", " high"))
    ]
    table = Table(title=found.question, caption=" ".join(found.notes), caption_justify="left")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left")
    for row in found.rows:
        table.add_row(*(_cell(row, name) for name in names))
    return table


def _cell(row: "Row", name: str) -> str:
    shown = _number(row[name])
    if f"{name} low" not in row:
        return shown
    return f"{shown} [{_number(row[f'{name} low'])}, {_number(row[f'{name} high'])}]"


def _number(value: str | float | int | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
