"""What a deployment's machines are given, and what is typed on them."""

import shlex
import tomllib

import pytest

from clients.job import DeviceJob
from clients.shard import WorldManifest
from models.errors import DataError, SettingsError
from server.history import History
from simulation.engines.certificates import Certificates
from simulation.experiments.deployment import lay_out
from simulation.experiments.federation import run_arm
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation

NODES = 2


def test_each_machine_gets_its_own_and_the_commands_fit(tiny: TinyWorld):
    run_folder = tiny.prepare_run("run", federation(NODES))
    layout = lay_out(tiny.folder / "deployment", run_folder, NODES, "192.0.2.7:9092")
    held = []
    for node in range(NODES):
        job = DeviceJob.read(layout.node(node))
        assert job.world == layout.node(node) / "world"
        held.append(WorldManifest.read(job.world).first_device)
        assert (layout.node(node) / "authority.pem").read_bytes() == Certificates(
            layout.folder / "tls"
        ).authority.read_bytes()
        assert not list(layout.node(node).rglob("*.key"))
    assert held == [0, NUM_DEVICES // NODES]
    config = tomllib.loads((layout.folder / "config.toml").read_text())
    assert config["superlink"]["pocketfleet"]["address"] == "127.0.0.1:9092"
    text = layout.commands_file.read_text()
    for line in (line for lines in layout.commands().values() for line in lines):
        assert line in text and shlex.split(line)
    assert "--superlink 192.0.2.7:9092" in text and "num-partitions=2" in text
    for path in Certificates(layout.folder / "tls").arguments()[1::2]:
        assert path in text


def test_what_machines_may_hold_is_not_laid_out_again(tiny: TinyWorld):
    run_folder = tiny.prepare_run("run", federation(NODES))
    lay_out(tiny.folder / "deployment", run_folder, NODES, "cloud.example:9092")
    with pytest.raises(DataError, match="exists, and machines may hold"):
        lay_out(tiny.folder / "deployment", run_folder, NODES, "cloud.example:9092")


@pytest.mark.parametrize("address", ["cloud.example", ":9092", "cloud.example:https", ""])
def test_an_address_without_host_and_port_is_refused(tiny: TinyWorld, address: str):
    with pytest.raises(SettingsError, match="wanted HOST:PORT"):
        lay_out(tiny.folder / "deployment", tiny.folder, NODES, address)
    assert not (tiny.folder / "deployment").exists()


def test_a_deployed_run_that_has_not_ended_does_not_go_on_here(tiny: TinyWorld):
    run_folder = tiny.prepare_run("run", federation(NODES))
    layout = lay_out(tiny.folder / "deployment", run_folder, NODES, "cloud.example:9092")
    with pytest.raises(DataError, match=f"last command of {layout.commands_file}"):
        run_arm(run_folder, "inline")
    assert not History(run_folder).is_whole()
    final = tiny.layout.flatten(tiny.parameters()).numpy()
    History(run_folder).write_final(final)  # as the SuperLink's process does at the end
    assert (run_arm(run_folder, "inline").parameters == final).all()
