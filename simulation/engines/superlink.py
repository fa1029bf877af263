"""A SuperLink of our own, and one run on it: what both of Flower's runtimes have in common.

`flwr run` leaves traps for a program that calls it, each handled here:

    it starts a detached SuperLink that outlives it   -> ours is a child, stopped at the end
    default ports may be another project's SuperLink  -> free ports, and a home of our own
    each run installs the app's dependencies          -> turned off
    it exits with 0 when the run failed               -> the status is asked, final.npy is wanted

Artefacts travel by absolute path: the app bundle that Flower builds holds only code.
"""

import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import EngineError
from simulation.engines.processes import find_app_folder, find_tool, started

START_TIMEOUT_S = 90.0
LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class SuperLink:
    """A SuperLink on this machine.

    Attributes:
        environment: of the SuperLink and of whoever talks to it.
        port: where it listens, on 127.0.0.1.
        log: file of the run's output; the SuperLink's own lies beside it.
        scratch: folder of all that is thrown away after the run.
        authority: certificate that it can be checked by, a file; None: it speaks plain HTTP.
    """

    environment: dict[str, str]
    port: int
    log: Path
    scratch: Path
    authority: Path | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """Run it as long as the block lasts, with these arguments of `flower-superlink`.

        Raises:
            EngineError: if it ends at once, or does not answer.
        """
        home = Path(self.environment["FLWR_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        command = [
            find_tool("flower-superlink"),
            *arguments,
            "--isolation",
            "subprocess",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--database",
            str(home / "state.db"),
        ]
        own_log = self.log.with_suffix(".superlink.log")
        with started(command, self.environment, own_log, self.scratch) as process:
            self._wait_until_healthy(process, own_log)
            yield

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], own_log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise EngineError(
                    f"the SuperLink ended at once with code {process.returncode}, see {own_log}"
                )
            if self._answers():
                return
            time.sleep(0.3)
        raise EngineError(f"the SuperLink did not answer within {START_TIMEOUT_S:.0f} s")

    def _answers(self) -> bool:
        plain = self.authority is None
        trusted = None if plain else ssl.create_default_context(cafile=str(self.authority))
        url = f"{'http' if plain else 'https'}://{self.address}/health"
        try:
            with urllib.request.urlopen(url, timeout=2, context=trusted) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def play(self, run_folder: Path, *arguments: str) -> None:
        """Play a prepared run folder to its end.

        Args:
            run_folder: device job, server job and plan; absolute.
            arguments: more ones of `flwr run`.

        Raises:
            EngineError: if the run did not finish; the message names the log and shows its last
                lines.
        """
        command = [find_tool("flwr"), "run", str(find_app_folder()), "--stream"]
        command += ["--run-config", f"run-folder={json.dumps(str(run_folder))}", *arguments]
        with self.log.open("wb") as output:
            subprocess.run(
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        status = self._status()
        if status != "finished:completed" or not (run_folder / "final.npy").is_file():
            raise EngineError(
                f"the Flower run ended as '{status}', see {self.log}; last lines:\n{self._tail()}"
            )

    def flwr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask it something with the `flwr` command."""
        command = [find_tool("flwr"), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )

    def _status(self) -> str:
        """The true status of the one run of this SuperLink, e.g. "finished:completed"."""
        done = self.flwr("list", "--format", "json")
        try:
            return str(json.loads(done.stdout)["runs"][0]["status"])
        except (ValueError, KeyError, IndexError):
            return f"unknown ({(done.stdout + done.stderr).strip()[-200:]})"

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])
