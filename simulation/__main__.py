"""The `pocketfleet` command.

Every mistake a user can mend ends in one line on stderr and an exit code that is not 0: 2 for a
wrong setting, option or file, 130 for Ctrl-C. Anything else is a bug and shows its stack trace.
"""

import sys

import click
import typer
from rich.console import Console

from models.errors import PocketfleetError
from simulation.commands import data_verbs, doctor, run_verbs, world_verbs

app = typer.Typer(
    name="pocketfleet",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "A federated edge recommendation simulator: what happens when text understanding and "
        "ranking move from your server onto the phones.\n\n"
        "Start with [bold]pocketfleet quickstart[/]."
    ),
)
app.command()(run_verbs.quickstart)
app.add_typer(data_verbs.app, name="data")
app.command()(run_verbs.compress)
app.add_typer(world_verbs.app, name="world")
app.command()(run_verbs.simulate)
app.command("compare")(run_verbs.compare_arms)
app.command()(run_verbs.report)
app.command()(doctor.doctor)

USER_MISTAKE, INTERRUPTED = 2, 130


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments; return its exit code."""
    try:
        outcome = app(arguments, prog_name="pocketfleet", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PocketfleetError as error:
        return _complain(str(error), USER_MISTAKE)
    if outcome == INTERRUPTED:  # what typer makes of Ctrl-C
        return _interrupted()
    return outcome if isinstance(outcome, int) else 0


def _interrupted() -> int:
    message = "stopped by Ctrl-C; the run folder is marked as interrupted, run it again to repeat"
    return _complain(message, INTERRUPTED)


def _complain(message: str, code: int) -> int:
    console = Console(stderr=True, soft_wrap=True)
    console.print("pocketfleet: ", end="", style="bold red")
    console.print(message, highlight=False, markup=False)
    return code


if __name__ == "__main__":
    main()
