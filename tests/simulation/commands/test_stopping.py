"""How the command ends when it is not its own mistake: signals, the disk, a reader that leaves."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation import __main__ as command
from simulation.__main__ import run
from simulation.commands import world_verbs
from simulation.experiments import materials

SLOW_RUN = """
import pathlib, sys, time
import simulation.__main__
from simulation.experiments import materials

def slow(*arguments):
    pathlib.Path("started").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(0.5)  # long enough for a second signal to come while this one clears up
        pathlib.Path("cleared-up").touch()

materials.prepare_data = slow
sys.exit(simulation.__main__.run(["world", "build", "--out", "w"]))
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(command.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)


def raising(error: BaseException):
    def broken(*arguments: object) -> None:
        raise error

    return broken


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys):
    monkeypatch.setattr(materials, "prepare_data", raising(KeyboardInterrupt()))
    assert run(["world", "build", "--out", "w"]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    record = json.loads(Path("w/run.json").read_text())
    assert (record["status"], record["reason"]) == ("interrupted", "Ctrl-C")


def test_sigterm_unwinds_the_run_and_is_143():
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for("started")
        for _ in range(2):  # `timeout` sends it to the process and then to its group
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said.startswith("pocketfleet: stopped by SIGTERM") and len(said.splitlines()) == 1
    record = json.loads(Path("w/run.json").read_text())
    assert (record["status"], record["reason"]) == ("interrupted", "SIGTERM")
    assert Path("cleared-up").exists()


def wait_for(name: str) -> None:
    deadline = time.monotonic() + 120
    while not Path(name).exists():
        assert time.monotonic() < deadline, f"{name} never came"
        time.sleep(0.1)


def test_sigterm_is_handled_during_a_run_only(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    during: list[object] = []

    def look() -> str:
        during.append(signal.getsignal(signal.SIGTERM))
        raise KeyboardInterrupt

    monkeypatch.setattr(world_verbs, "command_line", look)
    assert run(["world", "build", "--out", "w"]) == 130
    assert during != [before]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_caller_is_left_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with command._sigterm_as_ctrl_c() as came:
            os.kill(os.getpid(), signal.SIGTERM)
        assert not came.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left", "big.npy"), "No space left: big.npy; free some"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "Quota exceeded; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "denied: x; check its permiss"),
        (OSError("no\nnetwork"), "no network; check the path, the disk and the network"),
    ],
    ids=["full disk", "quota", "permission", "without a number"],
)
def test_what_the_system_refuses_is_one_line_and_2(error, line, monkeypatch, capsys):
    monkeypatch.setattr(materials, "prepare_data", raising(error))
    assert run(["world", "build", "--out", "w"]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.splitlines()) == 1
    assert json.loads(Path("w/run.json").read_text())["status"] == "failed"


def test_a_bug_keeps_its_stack_trace(monkeypatch):
    monkeypatch.setattr(materials, "prepare_data", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run(["world", "build", "--out", "w"])


@pytest.mark.parametrize("words", [["--json"], []], ids=["machine", "people"])
def test_a_reader_that_leaves_is_no_stack_trace(words, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it, Python's exit writes nothing
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "data", "list", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
