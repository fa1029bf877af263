"""What a private run says it has spent, asked of whole runs on the tiny world."""

import numpy as np
import pytest

from models.errors import DataError, SettingsError
from server.cohorts import CohortPlan, Outcome
from server.history import LEDGER_FILE, History
from server.privacy.accounting import Spending, default_delta
from server.privacy.statement import EVALUATION_NOT_COVERED, PrivacyStatement
from server.settings import Federation, ServerJob
from simulation.engines.inline import run_inline
from simulation.experiments.federation import run_arm
from tests.server.privacy.private_runs import CLIP_NORM, COHORT, played, with_outcome
from tests.tiny_world import (
    NUM_DEVICES,
    TinyWorld,
    federation,
    private,
)


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
