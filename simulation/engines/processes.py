"""Processes that an engine starts, and how every one of them is found and stopped again.

A SuperLink starts a SuperExec, that starts the apps, those start Ray. Some leave the session, some
lose their parent, some write over their command line. What they have in common is where they come
from, or the scratch folder of the run, which their command line or environment names.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from models.errors import EngineError

STOP_TIMEOUT_S = 20.0
INSTALL = "pip install 'flwr[simulation]>=1.41,<1.43'"
SIMULATION_TOOLS = ("flwr", "flower-superlink")
DEPLOYMENT_TOOLS = (*SIMULATION_TOOLS, "flower-supernode")


def flower_environment(scratch: Path) -> dict[str, str]:
    """A private home, no installs, no telemetry; few threads per process."""
    return os.environ | {
        "FLWR_HOME": str(scratch / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def find_app_folder() -> Path:
    """The folder with the pyproject.toml that `flwr run` reads.

    Raises:
        EngineError: if the product was installed without its source tree.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "pyproject.toml").is_file():
        raise EngineError(
            f"Flower's engines need the source tree, but {folder} has no pyproject.toml: "
            "clone the repository and `pip install -e .`, or use --engine inline"
        )
    return folder


def find_tool(name: str) -> str:
    """The path of a command of the environment that this Python runs in.

    Raises:
        EngineError: if it is not installed.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        raise EngineError(f"`{name}` is not installed: {INSTALL}")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def started(
    command: list[str], environment: dict[str, str], log: Path, scratch: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block; what it started is stopped with it.

    Args:
        command: and its arguments.
        environment: of the process.
        log: where its output goes.
        scratch: folder that all its descendants name, see `stop`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            stop(process, scratch)


def stop(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """Stop a process and all that it started, wherever it went.

    They are asked to end (TERM), waited for, and whatever is still there is killed. What starts
    while the others end is found by a later look.
    """
    left: set[psutil.Process] = set()
    for way in (psutil.Process.terminate, psutil.Process.kill, psutil.Process.kill):
        left |= _family(process.pid, scratch)
        for each in left:
            with contextlib.suppress(psutil.Error):
                way(each)
        left = _still_there(left, STOP_TIMEOUT_S)
    process.wait()


def _family(pid: int, scratch: Path) -> set[psutil.Process]:
    """The process, all that carry our scratch folder, and the descendants of all of these.

    Both signs are needed: a process whose parent has ended descends from nobody, and Ray's actors
    write their title over their command line and environment.
    """
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == pid or _carries(process, str(scratch)):
                found |= {process, *process.children(recursive=True)}
    return found


def _carries(process: psutil.Process, folder: str) -> bool:
    """Whether a process names a folder in its command line or environment."""
    return any(folder in word for word in (*process.cmdline(), *process.environ().values()))


def _still_there(processes: set[psutil.Process], timeout_s: float) -> set[psutil.Process]:
    """Wait until these processes have ended; return those that have not."""
    deadline = time.monotonic() + timeout_s
    while (left := {each for each in processes if runs(each)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def runs(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not, it only waits for its parent to look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
