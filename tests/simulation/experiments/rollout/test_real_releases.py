"""Ranks of real users under releases: those of the phones' own evaluation, arm by arm."""

import shutil

import numpy as np
import pytest
import torch

from clients.local_evaluation import evaluate_devices
from clients.protocol.messages import EvalTask
from models.errors import DataError, SettingsError
from models.metrics import metrics_of_ranks
from simulation.experiments.rollout.real_releases import real_users
from simulation.run_folder import RunFolder
from tests.tiny_world import RECOMMENDER, SEED, TinyWorld, build_tiny_synthetic_world, federation


@pytest.fixture
def run(tiny: TinyWorld) -> RunFolder:
    """A run folder as `simulate` leaves it; the arm ended where noise put it."""
    (tiny.folder / "arms").mkdir()
    folder = tiny.prepare_run("arms/federated", federation())
    rng = torch.Generator().manual_seed(5)
    start = np.load(folder / "initial.npy")
    noise = torch.randn(start.shape, generator=rng).numpy()
    np.save(folder / "final.npy", (start + 0.2 * noise).astype(np.float32))
    return RunFolder(tiny.folder)


def test_ranks_are_those_of_the_phones_evaluation(run, tiny):
    found = real_users(run, "static", "federated")
    assert found.names == ("static", "federated")
    assert found.num_users == 39  # user 0 has a single event
    shard = tiny.shard()
    np.save(shard.personal.path, np.load(run.arm("federated") / "taste.npy"))
    task = EvalTask(
        parameters=np.load(run.arm("federated") / "final.npy"),
        device_ids=np.zeros(0, np.int64),
        round_number=1,
        block_bytes=10**6,
    )
    reply = evaluate_devices(tiny.shard(), task, RECOMMENDER, SEED)
    wanted = sum(
        sums.sums["ndcg@10"] for (_, protocol), sums in reply.sums.items() if protocol == "full"
    )
    ndcg = metrics_of_ranks(found.ranks[1], found.candidates - 1)["ndcg@10"]
    assert ndcg.sum() == pytest.approx(wanted, rel=1e-6) and wanted > 0
    assert (found.ranks[0] != found.ranks[1]).any()
    assert (found.events == np.diff(np.load(run.world / "offsets.npy"))[1:]).all()


def test_random_text_is_another_release_and_the_same_one_twice(run):
    found = real_users(run, "federated", "random-text")
    assert (found.ranks[0] != found.ranks[1]).any()
    assert found.digest() == real_users(run, "federated", "random-text").digest()
    same = real_users(run, "federated", str(run.path))
    assert (same.ranks[0] == same.ranks[1]).all()


def test_a_run_that_was_moved_is_read_where_it_lies(run, tmp_path):
    before = real_users(run, "static", "federated").digest()
    moved = shutil.copytree(run.path, tmp_path / "moved" / "run")
    shutil.rmtree(run.world)
    assert real_users(RunFolder(moved), "static", "federated").digest() == before


def test_what_cannot_be_a_release_is_one_clear_line(run, tmp_path):
    with pytest.raises(SettingsError, match="there is no release 'teacher': name one of federated"):
        real_users(run, "static", "teacher")
    with pytest.raises(DataError, match="has no finished arm 'federated-no-private'"):
        real_users(run, "static", "federated-no-private")
    with pytest.raises(DataError, match="no device package"):
        real_users(run, "static", str(run.phones))
    other = shutil.copytree(run.path, tmp_path / "other" / "run")
    held_out = np.load(other / "world" / "held_out.npy")
    np.save(other / "world" / "held_out.npy", held_out[::-1])
    with pytest.raises(DataError, match=r"other users or items than .* \(held_out differs\)"):
        real_users(run, "static", str(other))
    synthetic = build_tiny_synthetic_world(_folder(tmp_path / "synthetic"))
    with pytest.raises(DataError, match="synthetic devices, which hold nothing"):
        real_users(RunFolder(synthetic.folder), "static", "federated")


def _folder(path):
    path.mkdir()
    return path
