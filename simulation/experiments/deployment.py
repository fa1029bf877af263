"""A deployment laid out in files: what each machine is given, and the commands that start it.

    deployment/
      commands.txt     what to type where
      config.toml      where the SuperLink is; FLWR_HOME of the cloud's machine is this folder
      tls/             the SuperLink's certificate (`simulation.engines.certificates`)
      node-0/          for the machine of node 0 and nobody else: its devices, authority.pem
      node-1/          ...

The commands are Flower's own. A node makes its private key itself; only the public half leaves it.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError, SettingsError
from models.files import write_text
from simulation.engines.certificates import LOOPBACK, Certificates
from simulation.engines.deployment import CONNECTION, node_config, write_connection
from simulation.engines.node_folder import cut_node_folder
from simulation.engines.processes import find_app_folder
from simulation.experiments.federation import DEPLOYED_FILE

NODE_FOLDER = Path("FOLDER")  # where a node's folder lies on its own machine: its owner knows
ABOUT = """# A federated training on machines of its own: what to type where.
# FOLDER is the absolute path at which a node's folder lies on the node's own machine; all
# machines have the same version of pocketfleet installed."""
ENVIRONMENT = "FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 OMP_NUM_THREADS=1"


@dataclass(frozen=True, slots=True)
class Layout:
    """A deployment that is ready to be carried to its machines.

    Attributes:
        folder: where it was laid out, absolute.
        run_folder: the federated arm, absolute; it stays with the SuperLink.
        num_nodes: how many nodes there are.
        superlink: host and port at which the nodes reach the SuperLink.
    """

    folder: Path
    run_folder: Path
    num_nodes: int
    superlink: str

    @property
    def commands_file(self) -> Path:
        """The commands, as they were when it was laid out."""
        return self.folder / "commands.txt"

    def node(self, partition_id: int) -> Path:
        """What the machine of a node is given."""
        return self.folder / f"node-{partition_id}"

    def commands(self) -> dict[str, list[str]]:
        """Where -> what to type there, in this order."""
        cloud, port = "the SuperLink's machine", self.superlink.rpartition(":")[2]
        here = f"export FLWR_HOME={self.folder} {ENVIRONMENT}"
        tls = " ".join(Certificates(self.folder / "tls").arguments())
        run = f"run-folder={json.dumps(str(self.run_folder))}"
        found = {
            f"1. {cloud}": [
                here,
                f"flower-superlink --host 0.0.0.0 --port {port} --enable-supernode-auth "
                f"--disable-runtime-dependency-installation {tls}",
            ]
        }
        for node in range(self.num_nodes):
            found[f"2. node {node}'s machine, to which {self.node(node)} was carried"] = [
                f'ssh-keygen -q -t ecdsa -b 384 -N "" -f {NODE_FOLDER}/node.key'
            ]
        found[f"3. {cloud}, once for each node, with its node.key.pub"] = [
            here,
            f"flwr supernode register node.key.pub {CONNECTION}",
        ]
        for node in range(self.num_nodes):
            found[f"4. node {node}'s machine"] = [
                f"export FLWR_HOME={NODE_FOLDER}/flower {ENVIRONMENT}",
                f"flower-supernode --superlink {self.superlink} "
                f"--root-certificates {NODE_FOLDER}/authority.pem "
                f"--auth-supernode-private-key {NODE_FOLDER}/node.key "
                f"--node-config '{node_config(node, self.num_nodes, NODE_FOLDER)}'",
            ]
        command = f"flwr run {find_app_folder()} {CONNECTION} --stream --run-config '{run}'"
        return found | {f"5. {cloud}": [command]}


def lay_out(folder: Path, run_folder: Path, num_nodes: int, superlink: str) -> Layout:
    """Write what every machine of a deployment needs.

    Args:
        folder: where; nothing may lie there.
        run_folder: a federated arm that was prepared and not begun, absolute.
        num_nodes: how many nodes there will be.
        superlink: host and port at which the nodes will reach the SuperLink.

    Raises:
        DataError: if the folder exists.
        SettingsError: if the address is none.
    """
    check_layout(folder, superlink)
    host, _, port = superlink.rpartition(":")
    folder.mkdir(parents=True)
    certificates = Certificates.make(folder / "tls", (host.strip("[]"), *LOOPBACK))
    write_connection(folder, f"{LOOPBACK[0]}:{port}", certificates.authority)
    layout = Layout(folder, run_folder, num_nodes, superlink)
    for partition in range(num_nodes):
        cut_node_folder(run_folder, partition, num_nodes, layout.node(partition))
        shutil.copyfile(certificates.authority, layout.node(partition) / "authority.pem")
    steps = ["\n".join((f"# {where}", *lines)) for where, lines in layout.commands().items()]
    write_text(layout.commands_file, "\n\n".join((ABOUT, *steps)) + "\n")
    write_text(run_folder / DEPLOYED_FILE, f"{layout.commands_file}\n")
    return layout


def check_layout(folder: Path, superlink: str) -> None:
    """Refuse what cannot be laid out, before anything is prepared.

    Raises:
        DataError: if the folder exists.
        SettingsError: if the address is none.
    """
    host, _, port = superlink.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--superlink is '{superlink}', wanted HOST:PORT, e.g. 192.0.2.7:9092")
    if folder.exists():
        raise DataError(
            f"{folder} exists, and machines may hold what was laid out there: remove it, or name "
            "another run folder with --out"
        )
