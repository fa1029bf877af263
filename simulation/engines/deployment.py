"""The deployment engine: the same two apps on Flower's deployment runtime, here on loopback.

    SuperLink ── TLS, node authentication ──┬── SuperNode 0 ── ClientApp, a process per message
        └── ServerApp                       └── SuperNode 1 ── ClientApp, a process per message

Everything is as it would be on real machines, but for the one host: a certificate, a key for each
node, which the SuperLink must know before it lets the node in, and a node config that says which
devices the node holds and in which folder they lie. Nothing of a device's data is in a message.

A SuperNode polls every 3 seconds and starts a Python process for each message: right for a few
real nodes, wrong for simulating many. A node that dies is known to be gone after a minute (Flower
waits for two heartbeats); the round that waited goes on without it, and later ones do not wait.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import EngineError
from simulation.engines.certificates import LOOPBACK, Certificates, make_node_key
from simulation.engines.processes import find_tool, flower_environment, free_ports, started
from simulation.engines.superlink import SuperLink

MAX_NODES = 16  # each holds a Python, and one with torch while it works: 0.5 GB
CONNECTION = "pocketfleet"


@dataclass(frozen=True, slots=True)
class Node:
    """A SuperNode on this machine.

    Attributes:
        partition_id: which devices it holds.
        folder: where they lie, absolute.
    """

    partition_id: int
    folder: Path


def run_deployment(run_folder: Path, num_nodes: int) -> None:
    """Run a prepared run folder to its end on a SuperLink and SuperNodes of its own, on loopback.

    All nodes read the run folder; a node on another machine has a folder cut for it
    (`simulation.engines.node_folder`).

    Args:
        run_folder: device job, server job and plan; absolute.
        num_nodes: SuperNodes.

    Raises:
        EngineError: if there are too many nodes for one machine, a tool is missing, a node was not
            let in, or the run did not finish.
    """
    if num_nodes > MAX_NODES:
        raise EngineError(
            f"--engine deployment on one machine starts {MAX_NODES} nodes at most, "
            f"federation.num_nodes is {num_nodes}: ask for fewer, or use --engine flower"
        )
    play_on_nodes(run_folder, [Node(partition, run_folder) for partition in range(num_nodes)])


def play_on_nodes(run_folder: Path, nodes: Sequence[Node]) -> None:
    """Run a prepared run folder to its end with these SuperNodes.

    Raises:
        EngineError: as `run_deployment` does.
    """
    with tempfile.TemporaryDirectory(prefix="pf-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        certificates = Certificates.make(scratch / "tls", LOOPBACK)
        port, *node_ports = free_ports(1 + len(nodes))
        link = SuperLink(
            flower_environment(scratch),
            port,
            run_folder / "flower.log",
            scratch,
            certificates.authority,
        )
        with contextlib.ExitStack() as alive:
            alive.enter_context(link.running("--enable-supernode-auth", *certificates.arguments()))
            home = Path(link.environment["FLWR_HOME"])
            write_connection(home, link.address, certificates.authority)
            for node, node_port in zip(nodes, node_ports, strict=True):
                alive.enter_context(_supernode(link, node, len(nodes), node_port))
            link.play(run_folder)


def write_connection(home: Path, address: str, authority: Path) -> None:
    """Tell the `flwr` command where the SuperLink is and how to know it.

    Args:
        home: what FLWR_HOME will be.
        address: of the SuperLink.
        authority: certificate by which it is known.
    """
    lines = [
        "[superlink]",
        f'default = "{CONNECTION}"',
        "",
        f"[superlink.{CONNECTION}]",
        f'address = "{address}"',
        f"root-certificates = {json.dumps(str(authority))}",
    ]
    (home / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def _supernode(link: SuperLink, node: Node, num_nodes: int, port: int) -> Iterator[None]:
    """A SuperNode that lives as long as the block: known to the SuperLink first, then started.

    Raises:
        EngineError: if the SuperLink does not want to know it.
    """
    home = link.scratch / f"node-{node.partition_id}"
    home.mkdir()
    public_key = make_node_key(home / "node.key")
    registered = link.flwr("supernode", "register", str(public_key), CONNECTION)
    if registered.returncode != 0:
        said = (registered.stdout + registered.stderr).strip()[-300:]
        raise EngineError(f"the SuperLink did not register node {node.partition_id}: {said}")
    command = [
        find_tool("flower-supernode"),
        "--superlink",
        link.address,
        "--root-certificates",
        str(link.authority),
        "--auth-supernode-private-key",
        str(home / "node.key"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--node-config",
        node_config(node.partition_id, num_nodes, node.folder),
    ]
    # Nodes unpack the app into their home: they must not do it in the same place at once.
    environment = link.environment | {"FLWR_HOME": str(home / "home")}
    log = link.log.with_suffix(f".node-{node.partition_id}.log")
    with started(command, environment, log, home):
        yield


def node_config(partition_id: int, num_partitions: int, folder: Path) -> str:
    """What a SuperNode is told about its devices."""
    path = json.dumps(str(folder))  # quoted as TOML wants it
    return f"partition-id={partition_id} num-partitions={num_partitions} run-folder={path}"
