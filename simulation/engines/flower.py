"""The Flower engine: the same two apps under `flwr run`, every node played by Ray's workers.

Without more words Ray is started on this machine and stopped at the end. With RAY_ADDRESS in the
environment the workers of that cluster play the nodes, and the cluster is left as it was found:

    RAY_ADDRESS unset    our SuperLink -> flwr-simulation -> Ray: raylet and workers, all ours
    RAY_ADDRESS=HOST:P   our SuperLink -> flwr-simulation -> workers of raylets that are not ours

Any worker may play any node, so each machine of a cluster must find the run folder at the same
path, and this version of the product installed.

2 supernodes and 2 CPUs each are Flower's defaults, so both are set. A worker that dies is replaced
(`simulation.engines.ray_workers`).
"""

import os
import sys
import tempfile
from pathlib import Path

from simulation.engines.processes import find_app_folder, flower_environment, free_ports
from simulation.engines.superlink import SuperLink

RAY_ADDRESS = "RAY_ADDRESS"
OWN_RAY = ("", "local")  # values of RAY_ADDRESS by which Ray starts a cluster of its own
SIMULATION_COMMAND = """#!{python}
import sys

sys.path.insert(0, {app_folder!r})

from simulation.engines.ray_workers import main

main()
"""


def run_flower(run_folder: Path, num_nodes: int, cpus_per_worker: int = 1) -> None:
    """Run a prepared run folder to its end under `flwr run`, on Ray.

    Args:
        run_folder: device job, server job and plan; absolute.
        num_nodes: supernodes.
        cpus_per_worker: of the CPUs that Ray has; as many workers play the nodes as fit. A worker
            has one thread whatever it is given.

    Raises:
        EngineError: if Flower is not installed, or the run did not finish; the message names the
            log and shows its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="pf-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        environment = _environment(scratch)
        port = int(environment["FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"])
        link = SuperLink(environment, port, run_folder / "flower.log", scratch)
        with link.running(
            "--insecure",
            "--simulation",
            "--control-api-address",
            f"127.0.0.1:{environment['FLWR_LOCAL_CONTROL_API_PORT']}",
        ):
            link.play(
                run_folder,
                "--federation-config",
                f"num-supernodes={num_nodes} client-resources-num-cpus={cpus_per_worker}",
            )


def cluster_address() -> str:
    """Address of the Ray cluster that the environment names; "": Ray is started for each run."""
    address = os.environ.get(RAY_ADDRESS, "")
    return "" if address in OWN_RAY else address


def _environment(scratch: Path) -> dict[str, str]:
    """Private ports, and our own command in place of `flwr-simulation`."""
    http_port, control_port = free_ports(2)
    base = flower_environment(scratch)
    ours = {
        "PATH": f"{_own_commands(scratch)}{os.pathsep}{base['PATH']}",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(http_port),
        "FLWR_LOCAL_CONTROL_API_PORT": str(control_port),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    if not cluster_address():
        # Ray puts sockets below its folder, and a socket's path has at most 107 bytes: keep it
        # short. A cluster has a folder of its own already.
        ours["RAY_TMPDIR"] = str(scratch)
    return base | ours


def _own_commands(scratch: Path) -> Path:
    """A folder to be looked into first: SuperExec finds the apps' commands by PATH."""
    folder = scratch / "bin"
    folder.mkdir()
    command = folder / "flwr-simulation"
    text = SIMULATION_COMMAND.format(python=sys.executable, app_folder=str(find_app_folder()))
    command.write_text(text, encoding="utf-8")
    command.chmod(0o755)
    return folder
