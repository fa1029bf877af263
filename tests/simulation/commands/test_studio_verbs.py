"""`pocketfleet studio`: mistakes are one line, before anything is opened or written."""

import socket

from simulation.__main__ import run
from simulation.studio.store import FILE, Store
from tests.simulation.studio.small_studio import setup


def test_a_port_that_is_taken_is_named(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert run(["studio", "--no-open", "--port", port, "--out", str(tmp_path / "x")]) == 2
    assert f"port {port} cannot be served" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_there_is_no_other_host(capsys):
    assert run(["studio", "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "No such option" in said and "--host" in said


def test_mistakes_are_one_line_and_leave_the_folder_alone(tmp_path, capsys):
    store = Store.open(tmp_path)
    store.begin(setup())
    store.close()
    before = (tmp_path / FILE).read_bytes()
    verb = ["studio", "--no-open", "--port", "0", "--out", str(tmp_path)]
    for options, message in (
        (["--scenario", "fire"], "no scenario 'fire'"),
        (["--devices", "5"], "the studio takes 1,000 to 10,000,000"),
        (["--seed", "9", "--devices", "3000"], "holds a rollout with another"),
        (["--set", "operator.colour=1"], "colour"),
        (["--run", str(tmp_path / "nothing")], "nothing"),
    ):
        assert run([*verb, *options]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / FILE).read_bytes() == before
