"""A run that is killed anywhere ends with the parameters of an unbroken one, to the bit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clients.app
import clients.local_evaluation
import clients.recommender_training
from clients.personal import PersonalStore
from server.checkpoints import Checkpoint
from server.history import CHECKPOINT_FILE, History
from simulation.experiments.federation import run_arm
from tests.tiny_world import TinyWorld, buffered, build_tiny_world, federation

ROUNDS = 4


class KilledError(BaseException):
    """Not an Exception: nobody may catch it and go on."""


def end_of(folder: Path) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    rows = History(folder).rows()
    for row in rows:
        row.pop("seconds")
    return History(folder).read_final(), np.load(folder / "taste.npy"), rows


def nth_call(number: int, real: Callable, *, after: bool) -> Callable:
    """The function, that is killed in its n-th call: before it begins, or when it is done."""
    calls = 0

    def called(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number and not after:
            raise KilledError
        result = real(*args, **kwargs)
        if calls == number:
            raise KilledError
        return result

    return called


PLACES = {
    "training": (clients.recommender_training, "train_cohort"),
    "staging": (PersonalStore, "stage"),
    "checkpoint": (Checkpoint, "write"),
    "evaluation": (clients.local_evaluation, "evaluate_devices"),
    "history": (History, "append"),
    "end": (History, "write_final"),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two nodes that nobody disturbed."""
    folder = build_tiny_world(tmp_path_factory.mktemp("unbroken")).prepare_run(
        "run", federation(2, rounds=ROUNDS)
    )
    run_arm(folder, "inline")
    return folder


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("place", PLACES)
def test_resume_after_kill(
    tiny: TinyWorld, unbroken: Path, monkeypatch, place: str, number: int, after: bool
):
    killed = tiny.prepare_run("killed", federation(2, rounds=ROUNDS))
    owner, name = PLACES[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, nth_call(number, getattr(owner, name), after=after))
        try:
            run_arm(killed, "inline")
        except KilledError:
            assert place != "end" or number == 1
    run_arm(killed, "inline")
    for ours, theirs in zip(end_of(killed)[:2], end_of(unbroken)[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert end_of(killed)[2] == end_of(unbroken)[2]
    assert not (killed / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize("number", [2, 5])
def test_resume_after_kill_of_a_buffered_run(tiny: TinyWorld, monkeypatch, number: int):
    """Phones that were at work when it was killed go on from the parameters they had fetched."""
    settings = buffered(2, rounds=8)
    unbroken, killed = (tiny.prepare_run(name, settings) for name in ("unbroken", "killed"))
    run_arm(unbroken, "inline")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", nth_call(number, Checkpoint.write, after=True))
        with pytest.raises(KilledError):
            run_arm(killed, "inline")
    run_arm(killed, "inline")
    for ours, theirs in zip(end_of(killed)[:2], end_of(unbroken)[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resume_after_kill_with_another_number_of_nodes(tiny: TinyWorld, monkeypatch):
    unbroken = tiny.prepare_run("unbroken", federation(1, rounds=ROUNDS))
    run_arm(unbroken, "inline")
    killed = tiny.prepare_run("killed", federation(5, rounds=ROUNDS))
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", nth_call(3, Checkpoint.write, after=True))
        with pytest.raises(KilledError):
            run_arm(killed, "inline")
    job = json.loads((killed / "server-job.json").read_text())
    job["federation"]["num_nodes"] = 2
    (killed / "server-job.json").write_text(json.dumps(job))
    run_arm(killed, "inline")
    for ours, theirs in zip(end_of(killed)[:2], end_of(unbroken)[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


KILLED_SCRIPT = """
import sys, time
from pathlib import Path
import torch
import server.strategy
from simulation.experiments.federation import run_arm
torch.set_num_threads(1)
real = server.strategy.train_round

def train_round(nodes, job, sent, cohort, round_number, clip_norm):
    replies = real(nodes, job, sent, cohort, round_number, clip_norm)
    if round_number == 3:
        print("here", flush=True)
        time.sleep(600)
    return replies

server.strategy.train_round = train_round
run_arm(Path(sys.argv[1]), "inline")
"""


@pytest.mark.slow
def test_resume_after_kill_nine(tiny: TinyWorld, unbroken: Path):
    killed = tiny.prepare_run("killed", federation(2, rounds=ROUNDS))
    command = [sys.executable, "-c", KILLED_SCRIPT, str(killed)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert Checkpoint.read(killed).rounds_done == 2
    run_arm(killed, "inline")
    for ours, theirs in zip(end_of(killed)[:2], end_of(unbroken)[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
