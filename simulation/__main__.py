"""The `pocketfleet` command.

Every mistake a user can mend ends in one line on stderr and an exit code that is not 0: 2 for a
wrong setting, option or file, and for what the operating system refuses; 130 for Ctrl-C, 143 for
SIGTERM; 1 when the reader of our output has left. Anything else is a bug and shows its stack trace.

Nothing heavy is imported here or at the top of a verb's module: `--help` answers at once, and
`doctor` can say what is wrong with a torch that does not load.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
import typer
from rich.console import Console

from models.errors import PocketfleetError
from simulation.commands import (
    audit_verbs,
    data_verbs,
    deployment_verbs,
    doctor,
    encoder_verbs,
    privacy_verbs,
    release_verbs,
    rollout_verbs,
    run_verbs,
    runs_verbs,
    sharing_verbs,
    studio_verbs,
    study_verbs,
    tradeoff_verbs,
    world_verbs,
)

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
app.command()(encoder_verbs.distill)
app.command()(sharing_verbs.elastic)
app.command()(sharing_verbs.scenarios)
app.command()(encoder_verbs.encode)
app.command()(encoder_verbs.inspect)
app.add_typer(world_verbs.app, name="world")
app.command()(run_verbs.simulate)
app.command()(privacy_verbs.epsilon)
app.command()(deployment_verbs.deploy)
app.command("compare")(run_verbs.compare_arms)
app.command()(run_verbs.report)
app.command()(audit_verbs.audit)
app.command()(tradeoff_verbs.tradeoff)
app.add_typer(release_verbs.app, name="release")
app.command()(study_verbs.study)
app.add_typer(runs_verbs.app, name="runs")
app.command()(rollout_verbs.rollout)
app.command()(studio_verbs.studio)
app.command()(doctor.doctor)

READER_LEFT, USER_MISTAKE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments; return its exit code."""
    with _sigterm_as_ctrl_c() as terminated:
        code = _run(arguments)
    if code == INTERRUPTED:
        by, code = ("SIGTERM", TERMINATED) if terminated.is_set() else ("Ctrl-C", INTERRUPTED)
        _complain(
            f"stopped by {by}; the run folder is marked as interrupted, run it again to repeat"
        )
    return code


def _run(arguments: list[str]) -> int:
    try:
        # `obj` is what `command_line` reads: the arguments as they were given.
        outcome = app(arguments, prog_name="pocketfleet", standalone_mode=False, obj=arguments)
        sys.stdout.flush()  # here, not at Python's exit, where nobody could catch its error
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PocketfleetError as error:
        return _complain(str(error))
    except BrokenPipeError:
        return _leave_the_pipe()
    except OSError as error:
        return _complain(_explain(error))
    return outcome if isinstance(outcome, int) else 0  # typer makes 130 of Ctrl-C


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[threading.Event]:
    """Let SIGTERM (`timeout`, schedulers) unwind the program as Ctrl-C does.

    Python's own way is to end at once, without a `finally`: the run folder would say "running" for
    ever and the engines would live on. A second SIGTERM does not disturb the clearing up. A handler
    that somebody else has set is left alone, and only the main thread may set one.

    Yields:
        an event that tells whether SIGTERM came.
    """
    came = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if not came.is_set():
            came.set()
            raise KeyboardInterrupt("SIGTERM")

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield came
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _explain(error: OSError) -> str:
    """One line: what the operating system refused, for which file, and what helps."""
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    where = f": {error.filename}" if error.filename is not None else ""
    if error.errno in _FULL_DISK:
        cure = "free some space and run again"
    elif error.errno in _NOT_ALLOWED:
        cure = "check its permissions, or choose another place"
    else:
        cure = "check the path, the disk and the network, then run again"
    return f"{what}{where}; {cure}"


def _leave_the_pipe() -> int:
    """The reader of our stdout is gone (`| head`): say nothing, also not while Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_LEFT


def _complain(message: str) -> int:
    console = Console(stderr=True, soft_wrap=True)
    console.print("pocketfleet: ", end="", style="bold red")
    console.print(message, highlight=False, markup=False)
    return USER_MISTAKE


if __name__ == "__main__":
    main()
