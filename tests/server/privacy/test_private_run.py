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
import server.privacy.mechanism
from clients.protocol.messages import TrainReply
from clients.protocol.partitions import partition_bounds
from clients.recommender_training import train_cohort
from models.errors import DataError, SettingsError
from server.checkpoints import Checkpoint
from server.cohorts import CohortPlan, Outcome
from server.history import LEDGER_FILE, History
from server.privacy.accounting import Spending, default_delta
from server.privacy.statement import EVALUATION_NOT_COVERED, PrivacyStatement
from server.settings import Federation, ServerJob
from simulation.engines.flower import run_flower
from simulation.engines.inline import run_inline
from simulation.engines.pool import run_in_pool
from simulation.experiments.federation import run_arm
from tests.server.test_faults import BAD, NODES, ROUNDS, USELESS, play
from tests.simulation.experiments.test_resume import KilledError, end_of, nth_call
from tests.tiny_world import (
    NUM_DEVICES,
    RECOMMENDER,
    SEED,
    TinyWorld,
    build_tiny_world,
    federation,
    private,
)

CLIP_NORM, COHORT = 0.5, 15
FULL = {
    "target_quantile": 0.5,
    "clip_noise_multiplier": 2.0,
    "evaluation_noise_multiplier": 1.0,
}


def with_outcome(folder: Path, round_number: int, rows: slice, outcome: Outcome) -> np.ndarray:
    """Change what becomes of some drawn devices of a round; return who they are."""
    plan = CohortPlan.read(folder / "cohorts.npz")
    inside = np.arange(plan.offsets[round_number - 1], plan.offsets[round_number])
    chosen = inside[plan.outcome[inside] == Outcome.REPORTED][rows]
    plan.outcome[chosen] = outcome
    plan.write(folder / "cohorts.npz")
    return plan.invited[chosen]


def played(tiny: TinyWorld, name: str, settings: Federation, nodes: int = 1) -> Path:
    folder = tiny.prepare_run(name, settings)
    run_inline(folder, nodes)
    return folder


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
        return train_cohort(shard, task, RECOMMENDER, SEED).update_sum

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
    theirs = train_cohort(tiny.shard(), task, RECOMMENDER, SEED).update_sum / COHORT
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
        (clients.app, "train_cohort"),
        (Checkpoint, "write"),
        (clients.app, "evaluate_devices"),
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


def test_the_ledger_is_what_dp_accounting_says(tiny: TinyWorld):
    folder = played(tiny, "run", private(rounds=3, evaluation_noise_multiplier=20.0))
    delta = default_delta(NUM_DEVICES)
    for row, evaluations in zip(History(folder).rows(), (1, 1, 2, 3), strict=True):
        spent = Spending(1.0, COHORT / NUM_DEVICES, row["round_number"], 20.0, evaluations)
        assert row["epsilon"] == spent.epsilon(delta)
        assert (row["delta"], row["note"]) == (delta, "")
    statement = PrivacyStatement.read(folder)
    assert statement is not None
    assert statement.epsilon == History(folder).rows()[-1]["epsilon"]
    assert (statement.most_rounds, statement.evaluations) == (3, 3)
    assert statement.clip_norms == (CLIP_NORM,) * 3
    assert EVALUATION_NOT_COVERED not in statement.not_covered
    assert "drawn by itself" in statement.claim


def test_a_ledger_that_was_changed_is_not_believed(tiny: TinyWorld):
    path = played(tiny, "run", private(rounds=1)) / LEDGER_FILE
    text = path.read_text()
    path.write_text(text.replace('"epsilon": ', '"epsilon": 1'))
    with pytest.raises(DataError, match="its own SHA-256"):
        PrivacyStatement.read(path.parent)


def test_exact_metrics_are_said_to_be_outside_epsilon(tiny: TinyWorld):
    folder = played(tiny, "run", private(rounds=1))
    assert History(folder).rows()[0]["note"] == EVALUATION_NOT_COVERED
    statement = PrivacyStatement.read(folder)
    assert statement is not None
    assert any(EVALUATION_NOT_COVERED in sentence for sentence in statement.sentences())


def test_a_run_without_privacy_promises_nothing(tiny: TinyWorld):
    folder = played(tiny, "run", federation(rounds=1))
    assert PrivacyStatement.read(folder) is None
    row = History(folder).rows()[1]
    assert (row["epsilon"], row["delta"], row["note"]) == (None, None, "")
    assert row["num_clipped"] is not None and row["loss"] > 0


def test_the_budget_stops_the_run_before_it_is_passed(tiny: TinyWorld):
    three = played(tiny, "three", private(rounds=3))
    budget = History(three).rows()[2]["epsilon"] * 1.0001
    stopped = tiny.prepare_run("stopped", private(rounds=3, budget_epsilon=budget))
    run_arm(stopped, "inline")
    rows = History(stopped).rows()
    assert [row["round_number"] for row in rows] == [0, 1, 2]
    assert rows[-1]["epsilon"] <= budget < History(three).rows()[3]["epsilon"]
    assert "ends the run here: round 3 would make it" in rows[-1]["note"]
    assert rows[-1]["metrics"] is not None
    statement = PrivacyStatement.read(stopped)
    assert statement is not None and (statement.rounds, statement.planned_rounds) == (2, 3)
    run_arm(stopped, "inline")  # it has ended: nothing is added
    assert History(stopped).rows() == rows


def test_a_budget_that_pays_for_no_round_is_refused_before_training(tiny: TinyWorld):
    with pytest.raises(SettingsError, match=r"budget_epsilon is 0\.01, one round costs"):
        tiny.prepare_run("run", private(budget_epsilon=0.01))


@pytest.mark.parametrize("mechanism", ["central", "local"])
def test_the_target_is_what_a_run_ends_at(tiny: TinyWorld, mechanism: str):
    settings = private(noise_multiplier=0, target_epsilon=3.0, mechanism=mechanism)
    statement = PrivacyStatement.read(played(tiny, "run", settings))
    assert statement is not None
    assert 2.9 < statement.epsilon <= 3.0 * (1 + 1e-6)
    job = ServerJob.read(tiny.folder / "run")
    assert (job.federation.privacy.target_epsilon, job.federation.privacy.noise_multiplier) == (
        0.0,
        statement.noise_multiplier,
    )


def test_a_picked_cohort_is_accounted_for_the_device_that_takes_part_most(tiny: TinyWorld):
    whole = private(rounds=6).model_dump()
    whole["schedule"] |= {"sampling": "available"}
    folder = played(tiny, "run", Federation.model_validate(whole))
    plan = CohortPlan.read(folder / "cohorts.npz")
    reported = [plan.cohort(number).reported for number in range(1, 7)]
    statement = PrivacyStatement.read(folder)
    assert statement is not None
    assert statement.most_rounds == np.bincount(np.concatenate(reported)).max() > 1
    assert (statement.probability, "no amplification" in statement.claim) == (1.0, True)
    for number in range(1, 7):
        most = int(np.bincount(np.concatenate(reported[:number])).max())
        spent = Spending(1.0, 1.0, most, 0.0, 0).epsilon(statement.delta)
        assert History(folder).rows()[number]["epsilon"] == pytest.approx(spent)


def test_local_noise_counts_every_message_and_twice_the_clip_norm(tiny: TinyWorld):
    """A late report was sent too, and seen; it pays although it is not used."""
    folder = tiny.prepare_run("run", private(rounds=2, mechanism="local"))
    for number in (1, 2):
        with_outcome(folder, number, slice(0, 5), Outcome.LATE)
    run_inline(folder, 1)
    plan = CohortPlan.read(folder / "cohorts.npz")
    asked = np.concatenate([plan.cohort(number).invited for number in (1, 2)])
    most = int(np.bincount(asked).max())
    statement = PrivacyStatement.read(folder)
    assert statement is not None
    assert statement.epsilon == Spending(0.5, 1.0, most, 0.0, 0).epsilon(statement.delta)
    assert "against the cloud" in statement.trust


def test_a_scaled_run_says_so_and_what_it_is_worth_here(tiny: TinyWorld):
    scaled = played(tiny, "scaled", private(scaled_population=1000 * NUM_DEVICES))
    plain = played(tiny, "plain", private(delta=default_delta(1000 * NUM_DEVICES)))
    statement, alone = (PrivacyStatement.read(folder) for folder in (scaled, plain))
    assert statement is not None and alone is not None
    assert statement.epsilon == alone.epsilon
    assert statement.epsilon_at_hand is not None
    assert statement.epsilon_at_hand > 100 * statement.epsilon
    assert f"scaled to {1000 * NUM_DEVICES:,} phones" in statement.headline


def test_a_stale_report_moves_a_buffered_sum_by_no_more_than_the_clip_norm(tiny: TinyWorld):
    """FedBuff's weights are at most 1; who is in a step is in it once."""
    whole = private(rounds=4).model_dump()
    whole["schedule"] |= {"sampling": "available", "mode": "buffered", "concurrency": 12}
    whole["cohort_size"] = 5
    folder = played(tiny, "run", Federation.model_validate(whole))
    plan = CohortPlan.read(folder / "cohorts.npz")
    for number in range(1, 5):
        reported = plan.cohort(number).reported
        assert len(np.unique(reported)) == len(reported)
    statement = PrivacyStatement.read(folder)
    assert statement is not None and "no amplification" in statement.claim


def test_zero_updates_pass(tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch):
    """Nothing is divided by the norm of an update or by how many came."""
    real = clients.app.train_cohort

    def nothing_learned(*arguments: object) -> TrainReply:
        reply = real(*arguments)
        return replace(reply, update_sum=np.zeros_like(reply.update_sum))

    monkeypatch.setattr(clients.app, "train_cohort", nothing_learned)
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
