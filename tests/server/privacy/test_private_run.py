"""The guarantees of a private run, asked of whole runs on the tiny world."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import clients.app
import clients.local_evaluation
import clients.recommender_training
import server.privacy.mechanism
from clients.protocol.messages import TrainReply
from clients.protocol.partitions import partition_bounds
from clients.recommender_training import train_cohort
from server.checkpoints import Checkpoint
from server.cohorts import CohortPlan, Outcome
from server.history import LEDGER_FILE, History
from server.privacy.statement import PrivacyStatement
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from simulation.engines.pool import run_in_pool
from simulation.experiments.federation import run_arm
from tests.server.privacy.private_runs import CLIP_NORM, COHORT, FULL, played, with_outcome
from tests.server.test_faults import BAD, NODES, ROUNDS, USELESS, play
from tests.simulation.experiments.test_resume import KilledError, end_of, nth_call
from tests.tiny_world import (
    NUM_DEVICES,
    RECOMMENDER,
    SEED,
    TinyWorld,
    build_tiny_world,
    private,
)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """A world that no test changes."""
    return build_tiny_world(tmp_path_factory.mktemp("still"))


@settings(max_examples=25)
@given(
    device=st.integers(0, NUM_DEVICES - 1),
    rate=st.floats(1e-3, 100.0),
    clip_norm=st.floats(1e-3, 50.0),
    wildness=st.sampled_from([0.0, 1.0, 1e3, 1e30, np.nan]),
)
def test_sensitivity_is_at_most_the_clip_norm(
    still: TinyWorld, device: int, rate: float, clip_norm: float, wildness: float
):
    """However wild a device is, the sum without it differs by no more than C, in float32."""

    def summed(devices: list[int]) -> np.ndarray:
        shard = still.shard()
        shard.personal.settled[device] = wildness
        task = still.task(devices, rate=rate, clip_norm=clip_norm)
        return train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED).update_sum

    everybody = list(range(NUM_DEVICES))
    others = [each for each in everybody if each != device]
    moved = np.linalg.norm(summed(everybody) - summed(others))
    assert moved <= clip_norm * (1 + 1e-5 * NUM_DEVICES)


@pytest.mark.parametrize("wildness", [1e3, np.nan], ids=["wild", "no number"])
def test_sensitivity_of_a_whole_round_is_at_most_the_clip_norm(tiny: TinyWorld, wildness: float):
    """Two runs that differ in one device's data: same noise, so the parameters tell the sums."""
    folders = [tiny.prepare_run(name, private(3, rounds=1)) for name in ("first", "second")]
    device = CohortPlan.read(folders[0] / "cohorts.npz").cohort(1).reported[4]
    taste = np.load(folders[1] / "taste.npy")
    taste[device] = wildness
    np.save(folders[1] / "taste.npy", taste)
    held_out = np.load(tiny.world / "held_out.npy")
    held_out[device] = -1  # a device whose vector is no number cannot be evaluated either
    np.save(tiny.world / "held_out.npy", held_out)
    for folder in folders:
        run_inline(folder, 3)
    first, second = (History(folder).read_final().astype(np.float64) for folder in folders)
    moved = COHORT * np.linalg.norm(first - second)
    assert 0 < moved <= 2 * CLIP_NORM * (1 + 1e-4)  # its data replaced; removed: at most C, below
    without = tiny.prepare_run("without", private(3, rounds=1))
    plan = CohortPlan.read(without / "cohorts.npz")
    plan.outcome[plan.invited == device] = Outcome.ABSENT
    plan.write(without / "cohorts.npz")
    run_inline(without, 3)
    for folder in folders:
        moved = History(folder).read_final().astype(np.float64) - History(without).read_final()
        assert COHORT * np.linalg.norm(moved) <= CLIP_NORM * (1 + 1e-4)


def test_history_of_a_private_run_depends_on_no_data(tiny: TinyWorld):
    """But for metrics, which say whether epsilon covers them: lines equal, whatever phones hold."""
    folders = [tiny.prepare_run(name, private(2)) for name in ("first", "second")]
    taste = np.load(folders[1] / "taste.npy")
    np.save(folders[1] / "taste.npy", 100 * taste)
    rows = []
    for folder in folders:
        run_inline(folder, 2)
        rows.append(History(folder).rows())
        for row in rows[-1]:
            for name in ("seconds", "metrics", "tiers"):
                del row[name]
    assert rows[0] == rows[1]
    hidden = ("loss", "update_norm", "num_clipped", "num_refused")
    assert all(row[name] is None for row in rows[0][1:] for name in hidden)
    finals = [History(folder).read_final() for folder in folders]
    assert np.abs(finals[0] - finals[1]).max() > 0


def test_denominator_is_fixed_when_devices_drop_out(tiny: TinyWorld):
    """A dropped device takes its own update out of the sum and changes nothing else."""
    whole = played(tiny, "whole", private(2, rounds=1), 2)
    dropped = tiny.prepare_run("dropped", private(2, rounds=1))
    gone = with_outcome(dropped, 1, slice(0, 3), Outcome.DROPPED)
    run_inline(dropped, 2)
    task = tiny.task(gone.tolist())
    theirs = (
        train_cohort(tiny.shard(), task, RECOMMENDER, SEED, noise_seed=SEED).update_sum / COHORT
    )
    apart = History(whole).read_final().astype(np.float64) - History(dropped).read_final()
    np.testing.assert_allclose(apart, theirs, atol=2e-6)


@pytest.mark.parametrize("fault", ["never", "nan"])
def test_denominator_is_fixed_when_a_node_fails(tiny: TinyWorld, fault: str):
    """A lost node is as if all its devices had been absent: same noise, same denominator."""
    bad = tiny.prepare_run("bad", private(NODES, rounds=ROUNDS))
    play(bad, USELESS[fault][0])
    without = tiny.prepare_run("without", private(NODES, rounds=ROUNDS))
    plan = CohortPlan.read(without / "cohorts.npz")
    first, end = partition_bounds(NUM_DEVICES, BAD, NODES)
    last = np.arange(plan.offsets[ROUNDS - 1], plan.offsets[ROUNDS])
    mine = last[(plan.invited[last] >= first) & (plan.invited[last] < end)]
    plan.outcome[mine] = Outcome.ABSENT
    plan.write(without / "cohorts.npz")
    run_inline(without, NODES)
    np.testing.assert_array_equal(History(bad).read_final(), History(without).read_final())
    assert History(bad).rows()[-1]["epsilon"] == History(without).rows()[-1]["epsilon"]


def test_a_round_in_which_nobody_reports_has_noise_and_counts(tiny: TinyWorld):
    folder = tiny.prepare_run("run", private(rounds=2).model_copy(update={"patience": 9}))
    plan = CohortPlan.read(folder / "cohorts.npz")
    plan.outcome[:] = Outcome.ABSENT
    plan.write(folder / "cohorts.npz")
    run_inline(folder, 1)
    rows = History(folder).rows()
    assert [row["num_reported"] for row in rows] == [0, 0, 0]
    assert rows[0]["epsilon"] == 0 < rows[1]["epsilon"] < rows[2]["epsilon"]
    noise = History(folder).read_final().astype(np.float64) - np.load(folder / "initial.npy")
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], noise.size)
    std = CLIP_NORM / COHORT  # z is 1, and two rounds add up
    assert low < (noise**2).sum() / (2 * std**2) < high


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Where noise of the cloud is drawn, in order."""
    drawn: list[tuple[str, int]] = []
    real = server.privacy.mechanism.generator

    def generator(seed: int, purpose: str, *address: int) -> np.random.Generator:
        drawn.append((purpose, *address))
        return real(seed, purpose, *address)

    monkeypatch.setattr(server.privacy.mechanism, "generator", generator)
    yield drawn


@pytest.mark.parametrize("nodes", [1, 4])
def test_one_noise_per_round(tiny: TinyWorld, addresses: list[tuple[str, int]], nodes: int):
    """However many nodes reply; each purpose has its own, and each evaluation."""
    played(tiny, "run", private(nodes, rounds=3, **FULL), nodes)
    for purpose in ("privacy noise", "clip norm noise"):
        assert [number for name, number in addresses if name == purpose] == [1, 2, 3]
    assert [number for name, number in addresses if name == "evaluation noise"] == [0, 2, 3]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that draws noise, which nobody disturbed."""
    tiny = build_tiny_world(tmp_path_factory.mktemp("unbroken"))
    return played(tiny, "run", private(2, rounds=4, name="fedadam", **FULL), 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (clients.recommender_training, "train_cohort"),
        (Checkpoint, "write"),
        (clients.local_evaluation, "evaluate_devices"),
        (History, "append"),
        (PrivacyStatement, "write"),
    ],
)
def test_resume_does_not_reuse_noise(
    tiny: TinyWorld,
    unbroken: Path,
    addresses: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    number: int,
    after: bool,
):
    """Killed anywhere it ends to the bit, ledger included; no two rounds ever share noise."""
    killed = tiny.prepare_run("killed", private(2, rounds=4, name="fedadam", **FULL))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, nth_call(number, getattr(owner, name), after=after))
        with suppress(KilledError):
            run_arm(killed, "inline")
    addresses.clear()
    run_arm(killed, "inline")
    for ours, theirs in zip(end_of(killed)[:2], end_of(unbroken)[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert end_of(killed)[2] == end_of(unbroken)[2]
    assert (killed / LEDGER_FILE).read_text() == (unbroken / LEDGER_FILE).read_text()
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("mechanism", ["central", "local"])
def test_a_private_run_is_the_same_on_any_number_of_nodes(tiny: TinyWorld, mechanism: str):
    finals = [
        History(played(tiny, f"{nodes}", private(nodes, mechanism=mechanism), nodes)).read_final()
        for nodes in (1, 2, 5)
    ]
    for other in finals[1:]:
        np.testing.assert_allclose(other, finals[0], atol=1e-5)


def test_a_private_run_is_the_same_in_worker_processes(tiny: TinyWorld):
    here = played(tiny, "here", private(2, mechanism="local"), 2)
    there = tiny.prepare_run("there", private(2, mechanism="local"))
    run_in_pool(there, 2, 2)
    np.testing.assert_array_equal(History(there).read_final(), History(here).read_final())


def test_zero_updates_pass(tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch):
    """Nothing is divided by the norm of an update or by how many came."""
    real = clients.recommender_training.train_cohort

    def nothing_learned(*arguments: object, **named: object) -> TrainReply:
        reply = real(*arguments, **named)
        return replace(reply, update_sum=np.zeros_like(reply.update_sum))

    monkeypatch.setattr(clients.recommender_training, "train_cohort", nothing_learned)
    folder = played(tiny, "run", private(2, rounds=2, **FULL), 2)
    assert all(row["num_reported"] > 0 for row in History(folder).rows()[1:])
    assert np.isfinite(History(folder).read_final()).all()


@pytest.mark.slow
def test_a_private_run_under_flower_is_that_of_the_inline_engine(tiny: TinyWorld):
    """Local noise in the nodes, a count of short updates: all of it crosses the wire."""
    for name, asked in (("local", private(2, mechanism="local")), ("adaptive", private(2, **FULL))):
        inline = played(tiny, f"{name}-inline", asked, 2)
        under_flower = tiny.prepare_run(f"{name}-flower", asked)
        run_flower(under_flower, 2)
        ours, theirs = History(inline), History(under_flower)
        np.testing.assert_allclose(theirs.read_final(), ours.read_final(), atol=1e-5)
        assert [row["epsilon"] for row in theirs.rows()] == [row["epsilon"] for row in ours.rows()]
