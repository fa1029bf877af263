"""The Flower engine: the same two apps under `flwr run`, every node a Ray actor.

`flwr run` leaves traps for a program that calls it, each handled here:

    it starts a detached SuperLink that outlives it   -> ours is a child, stopped at the end
    SuperExec, the apps and Ray leave its session     -> found by descent and by our scratch folder
    default ports may be another project's SuperLink  -> free ports, and a home of our own
    each run installs the app's dependencies          -> turned off
    2 supernodes and 2 CPUs each by default           -> both are set
    it exits with 0 when the run failed               -> the status is asked, final.npy is wanted

Artefacts travel by absolute path: the app bundle that Flower builds holds only code.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from models.errors import EngineError

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 15
INSTALL = "pip install 'flwr[simulation]>=1.41,<1.43'"
TOOLS = ("flwr", "flower-superlink")


def run_flower(run_folder: Path, num_nodes: int) -> None:
    """Run a prepared run folder to its end under `flwr run` with the local Ray backend.

    Args:
        run_folder: device job, server job and plan; absolute.
        num_nodes: supernodes, one CPU each.

    Raises:
        EngineError: if Flower is not installed, or the run did not finish; the message names the
            log and shows its last lines.
    """
    app_folder = find_app_folder()
    log = run_folder / "flower.log"
    scratch_folder = tempfile.TemporaryDirectory(prefix="pf-", ignore_cleanup_errors=True)
    with scratch_folder as scratch, log.open("wb") as output:
        environment = _environment(Path(scratch))
        with _superlink(environment, log, Path(scratch)):
            command = [
                find_tool("flwr"),
                "run",
                str(app_folder),
                "--stream",
                "--run-config",
                f'run-folder="{run_folder}"',
                "--federation-config",
                f"num-supernodes={num_nodes} client-resources-num-cpus=1",
            ]
            subprocess.run(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
            status = _status(environment)
    if status != "finished:completed" or not (run_folder / "final.npy").is_file():
        raise EngineError(
            f"the Flower run ended as '{status}', see {log}; last lines:\n{_tail(log)}"
        )


def find_app_folder() -> Path:
    """The folder with the pyproject.toml that `flwr run` reads.

    Raises:
        EngineError: if the product was installed without its source tree.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / "pyproject.toml").is_file():
        raise EngineError(
            f"--engine flower needs the source tree, but {folder} has no pyproject.toml: "
            "clone the repository and `pip install -e .`, or use --engine inline"
        )
    return folder


def _environment(scratch: Path) -> dict[str, str]:
    """A private home, private ports, no installs, no telemetry; few threads per process."""
    http_port, control_port = _free_ports(2)
    # Ray puts sockets below its folder, and a socket's path has at most 107 bytes: keep it short.
    return os.environ | {
        "FLWR_HOME": str(scratch / "home"),
        "RAY_TMPDIR": str(scratch),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(http_port),
        "FLWR_LOCAL_CONTROL_API_PORT": str(control_port),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


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


@contextmanager
def _superlink(environment: dict[str, str], log: Path, scratch: Path) -> Iterator[None]:
    """A SuperLink in simulation mode that lives as long as the block, with all it started."""
    port = environment["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"]
    home = Path(environment["FLWR_HOME"])
    home.mkdir(parents=True)
    command = [
        find_tool("flower-superlink"),
        "--insecure",
        "--simulation",
        "--isolation",
        "subprocess",
        "--control-api-address",
        f"127.0.0.1:{environment['FLWR_LOCAL_CONTROL_API_PORT']}",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--database",
        str(home / "state.db"),
    ]
    with log.with_suffix(".superlink.log").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_until_healthy(process, port, log)
            yield
        finally:
            _stop(process, scratch)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineError(
                f"the SuperLink ended at once with code {process.returncode}, "
                f"see {log.with_suffix('.superlink.log')}"
            )
        if _answers(port):
            return
        time.sleep(0.3)
    raise EngineError(f"the SuperLink did not answer within {START_TIMEOUT_S:.0f} s")


def _answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(superlink: subprocess.Popen[bytes], scratch: Path) -> None:
    """Stop the SuperLink and all that it started: SuperExec, the apps, Ray's raylet and actors.

    They are asked to end (TERM), waited for, and whatever is still there is killed. What starts
    while the others end is found by a later look.
    """
    left: set[psutil.Process] = set()
    for stop in (psutil.Process.terminate, psutil.Process.kill, psutil.Process.kill):
        left |= _started(superlink.pid, scratch)
        for each in left:
            with contextlib.suppress(psutil.Error):
                stop(each)
        left = _still_there(left, STOP_TIMEOUT_S)
    superlink.wait()


def _started(superlink: int, scratch: Path) -> set[psutil.Process]:
    """The SuperLink, all that carry our scratch folder, and the descendants of all of these.

    Both signs are needed: a process whose parent has ended descends from nobody, and Ray's actors
    write their title over their command line and environment.
    """
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == superlink or _carries(process, str(scratch)):
                found |= {process, *process.children(recursive=True)}
    return found


def _carries(process: psutil.Process, folder: str) -> bool:
    """Whether a process names a folder in its command line or environment."""
    return any(folder in word for word in (*process.cmdline(), *process.environ().values()))


def _still_there(processes: set[psutil.Process], timeout_s: float) -> set[psutil.Process]:
    """Wait until these processes have ended; return those that have not."""
    deadline = time.monotonic() + timeout_s
    while (left := {each for each in processes if _runs(each)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not, it only waits for its parent to look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _status(environment: dict[str, str]) -> str:
    """The true status of the one run of this SuperLink, e.g. "finished:completed"."""
    done = subprocess.run(
        [find_tool("flwr"), "list", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        runs = json.loads(done.stdout)["runs"]
        return str(runs[0]["status"])
    except (ValueError, KeyError, IndexError):
        return f"unknown ({(done.stdout + done.stderr).strip()[-200:]})"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
