"""The Flower engine: the same two apps under `flwr run`, every node a Ray actor.

`flwr run` leaves traps for a program that calls it, each handled here:

    it starts a detached SuperLink that outlives it   -> ours is a child, stopped at the end
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
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import EngineError

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 15


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
    with tempfile.TemporaryDirectory(prefix="pf-") as scratch, log.open("wb") as output:
        environment = _environment(Path(scratch))
        with _superlink(environment, log):
            command = [
                *_tool("flwr"),
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


def _tool(name: str) -> list[str]:
    """A command of the environment that this Python runs in.

    Raises:
        EngineError: if it is not installed.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        raise EngineError(f"`{name}` is not installed: pip install 'flwr[simulation]>=1.41,<1.43'")
    return [found]


@contextmanager
def _superlink(environment: dict[str, str], log: Path) -> Iterator[None]:
    """A SuperLink in simulation mode that lives as long as the block, with all it started."""
    port = environment["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"]
    home = Path(environment["FLWR_HOME"])
    home.mkdir(parents=True)
    command = [
        *_tool("flower-superlink"),
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
            _stop(process)


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


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the SuperLink and its process group: apps, Ray's raylet and actors included."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            if sign == signal.SIGTERM:
                time.sleep(0.5)  # let the group follow before what is left of it is killed


def _status(environment: dict[str, str]) -> str:
    """The true status of the one run of this SuperLink, e.g. "finished:completed"."""
    done = subprocess.run(
        [*_tool("flwr"), "list", "--format", "json"],
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
