"""What follows from the settings: shares of the noise, bounds, what epsilon counts on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from clients.protocol.secure_sum.quantisation import Address
from models.errors import SettingsError
from server.cohorts import CohortPlan
from server.history import History
from server.privacy.accounting import Spending
from server.privacy.accounts import ledger_of, with_noise_solved
from server.privacy.statement import PrivacyStatement
from server.secure_sum.plan import CohortBounds, SecurePlan
from server.settings import Federation, ServerJob
from simulation.engines.inline import run_inline
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.timeline import RoundCost, Timeline
from tests.server.secure_sum.test_hidden_rounds import distributed, hidden
from tests.tiny_world import NUM_DEVICES, PRIVACY, SECURE_SUM, SEED, TIERS, TinyWorld

HIDDEN = SECURE_SUM.model_copy(update={"enabled": True, "threshold": 0.6, "bits": 24})
NOISY = PRIVACY.model_copy(update={"mechanism": "distributed", "noise_multiplier": 1.5})


def test_the_fewest_devices_bring_the_whole_noise():
    bounds = CohortBounds(expected=100, most=100, fewest=60)
    plan = SecurePlan.of(HIDDEN, NOISY, bounds, dim=1000, rounds=10)
    d2 = math.sqrt(plan.quantiser.norm_bound_squared)
    assert 60 * plan.noise_variance == pytest.approx((1.5 * d2) ** 2)
    assert plan.mechanism.variance == pytest.approx((1.5 * d2) ** 2)
    silent = SecurePlan.of(HIDDEN, PRIVACY, bounds, dim=1000, rounds=10)
    assert silent.noise_variance == 0 and silent.quantiser.levels > plan.quantiser.levels


def test_poisson_sampling_draws_more_than_expected_and_hardly_ever_more_than_that():
    bounds = CohortBounds.of(HIDDEN, 100, 10_000, 50, is_drawn=True)
    assert (bounds.expected, bounds.fewest) == (100, 60)
    assert 50 * stats.binom.sf(bounds.most, 10_000, 0.01) < 2**-40
    assert bounds.most < 200
    assert CohortBounds.of(HIDDEN, 100, 100, 50, is_drawn=True).most == 100
    fixed = CohortBounds.of(HIDDEN, 100, 10_000, 50, is_drawn=False)
    assert fixed.most == 100


def test_more_devices_than_a_round_wants_cannot_be_demanded():
    asked = HIDDEN.model_copy(update={"min_devices": 101})
    with pytest.raises(SettingsError, match="min_devices is 101, a round wants 100"):
        CohortBounds.of(asked, 100, 1000, 5, is_drawn=False)


def test_a_scaled_run_scales_the_shares_and_not_the_promise():
    bounds = CohortBounds(expected=100, most=100, fewest=60)
    plain = SecurePlan.of(HIDDEN, NOISY, bounds, dim=1000, rounds=10)
    asked = HIDDEN.model_copy(update={"levels": plain.quantiser.levels})
    scaled = SecurePlan.of(asked, NOISY, bounds, dim=1000, rounds=10, scale=0.1)
    assert scaled.noise_variance == pytest.approx(plain.noise_variance / 100)
    assert scaled.mechanism == plain.mechanism


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_fine_steps_cost_what_a_gaussian_costs(noise: float):
    """As the bound sees it; it has integer orders alone, which costs up to 5 % of epsilon."""
    bounds = CohortBounds(expected=100, most=100, fewest=60)
    privacy = NOISY.model_copy(update={"noise_multiplier": noise})
    plan = SecurePlan.of(HIDDEN, privacy, bounds, dim=1000, rounds=10)
    skellam = Spending(noise, 1.0, 10, 0.0, 0, plan.mechanism)
    gaussian = Spending(noise, 1.0, 10, 0.0, 0)
    assert skellam.epsilon(1e-5) == skellam.epsilon_by_rdp(1e-5)
    assert skellam.epsilon(1e-5) == pytest.approx(gaussian.epsilon_by_rdp(1e-5), rel=0.05)
    assert skellam.epsilon(1e-5) >= gaussian.epsilon(1e-5)


def cohorts_of(tiny: TinyWorld, settings: Federation) -> CohortPlan:
    cost = RoundCost(tiny.layout.size * 4, tiny.layout.size * 4, 0.01)
    return plan_cohorts(Timeline(TIERS, NUM_DEVICES, cost, SEED), settings)


@pytest.mark.parametrize("target", [2.0, 20.0])
def test_a_target_epsilon_is_met_and_nearly_used_up(tiny: TinyWorld, target: float):
    settings = distributed(hidden(), 0.0)
    privacy = settings.privacy.model_copy(update={"target_epsilon": target})
    settings = settings.model_copy(update={"privacy": privacy})
    cohorts, dim = cohorts_of(tiny, settings), tiny.layout.size
    solved = with_noise_solved(settings, NUM_DEVICES, cohorts, dim)
    ledger = ledger_of(solved, NUM_DEVICES, cohorts, dim)
    spent = ledger.spending(solved.rounds).epsilon(ledger.delta)
    assert 0.98 * target < spent <= target
    assert not ledger.is_amplified


def test_the_statement_of_a_distributed_run_trusts_no_cloud(tiny: TinyWorld):
    folder = tiny.prepare_run("run", distributed(hidden(), 1.0))
    run_inline(folder, 4)
    said = PrivacyStatement.read(folder)
    assert said.mechanism == "distributed"
    assert said.epsilon == said.epsilon_by_rdp > 0
    assert "epsilon holds against the cloud" in said.trust
    assert "share of the noise" in said.neighbours
    assert "no amplification" in said.claim
    job = ServerJob.read(folder)
    plan = job.secure_plan
    noise = Spending(1.0, 1.0, said.most_rounds, 0.0, 0, plan.mechanism)
    assert said.epsilon == noise.epsilon(said.delta)


def test_central_noise_on_a_hidden_sum_covers_what_rounding_adds(tiny: TinyWorld):
    """Few levels: a rounded update is longer than C, and the cloud's noise knows it."""
    central = {"mechanism": "central", "noise_multiplier": 2.0}
    settings = hidden(levels=10)
    settings = settings.model_copy(update={"privacy": PRIVACY.model_copy(update=central)})
    job = ServerJob.read(tiny.prepare_run("run", settings))
    quantiser = job.secure_plan.quantiser
    longest = 0.5 / 10 * math.sqrt(quantiser.norm_bound_squared)
    assert longest > 0.5
    assert job.mechanism.noise_std(0.5) == pytest.approx(2.0 * longest)


def test_a_killed_distributed_run_goes_on_to_the_same_bits(tiny: TinyWorld, monkeypatch):
    """New masks, the same noise: a round that is played again ends where it would have ended."""
    whole = tiny.prepare_run("whole", distributed(hidden(), 0.5))
    run_inline(whole, 4)
    broken = tiny.prepare_run("broken", distributed(hidden(), 0.5))

    with monkeypatch.context() as patch:

        def die(*arguments: object, **more: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("server.strategy.Checkpoint.write", die)
        with pytest.raises(KeyboardInterrupt):
            run_inline(broken, 4)
    run_inline(broken, 4)
    np.testing.assert_array_equal(np.load(broken / "final.npy"), np.load(whole / "final.npy"))


def drawn_by_themselves(settings: Federation) -> Federation:
    """The same with Poisson sampling."""
    schedule = settings.schedule.model_copy(update={"sampling": "poisson"})
    return settings.model_copy(update={"schedule": schedule})


def test_noise_is_filled_up_so_that_its_level_does_not_tell_how_many_are_in(tiny: TinyWorld):
    settings = drawn_by_themselves(distributed(hidden(min_devices=5), 1.0))
    plan = settings.secure_plan(20_000, NUM_DEVICES)
    assert plan.bounds.fewest < plan.bounds.expected < plan.bounds.filled <= plan.bounds.most
    at = Address(SEED, 1)
    for num_devices in (6, 15, plan.bounds.filled, plan.bounds.filled + 3):
        missing = max(0, plan.bounds.filled - num_devices) * plan.noise_variance
        fill = plan.fill(num_devices, at)
        assert abs(fill.var() - missing) <= 6 * missing * math.sqrt(2 / 20_000)
    unfilled = distributed(hidden(), 1.0).secure_plan(20_000, NUM_DEVICES)
    assert not unfilled.fill(1, at).any()


def test_outside_epsilon_is_amplified_except_where_one_device_decides(tiny: TinyWorld):
    settings = drawn_by_themselves(distributed(hidden(min_devices=5, rounds=6), 2.0))
    cohorts, dim = cohorts_of(tiny, settings), tiny.layout.size
    ledger = ledger_of(settings, NUM_DEVICES, cohorts, dim)
    outside, bounds = ledger.outside, settings.secure_plan(dim, NUM_DEVICES).bounds
    counts = [len(cohorts.cohort(number).reported) for number in range(1, 7)]
    edges = sum(not bounds.fewest < count < bounds.filled for count in counts)
    assert outside.edge_rounds[-1] == edges < 6
    assert outside.epsilon(6, 1e-5) < ledger.spending(6).epsilon(1e-5)
    worst = replace(outside, edge_rounds=np.arange(7))
    all_in = Spending(2.0, 1.0, 6, 0.0, 0, outside.mechanism)
    assert worst.epsilon(6, 1e-5) == pytest.approx(all_in.epsilon(1e-5), rel=1e-3)
    every = replace(outside, probability=1.0, bounds=replace(bounds, filled=bounds.fewest))
    assert every.epsilon(6, 1e-5) == pytest.approx(all_in.epsilon(1e-5), rel=1e-3)


def test_a_drawn_distributed_run_gives_both_epsilons(tiny: TinyWorld):
    settings = drawn_by_themselves(distributed(hidden(min_devices=2), 1.0))
    folder = tiny.prepare_run("run", settings)
    run_inline(folder, 4)
    said = PrivacyStatement.read(folder)
    assert 0 < said.epsilon_outside < said.epsilon
    assert any("see only the parameters" in sentence for sentence in said.sentences())
    alone = settings.model_copy(update={"num_nodes": 1})
    other = tiny.prepare_run("other", alone)
    run_inline(other, 1)
    finals = [np.load(each / "final.npy") for each in (folder, other)]
    np.testing.assert_allclose(finals[1], finals[0], atol=1e-5)


def test_central_noise_that_is_amplified_has_no_fewest_devices(tiny: TinyWorld):
    """One phone more or less must not decide whether there is a sum of all others."""
    central = {"mechanism": "central", "noise_multiplier": 2.0}
    settings = hidden().model_copy(update={"privacy": PRIVACY.model_copy(update=central)})
    assert settings.secure_plan(100, NUM_DEVICES).bounds.fewest == 8
    assert drawn_by_themselves(settings).secure_plan(100, NUM_DEVICES).bounds.fewest == 1


def test_adaptive_clipping_sees_its_count_through_the_masks(tiny: TinyWorld):
    """The bit of each device is behind the update in the masked vector: the same clip norms."""
    adaptive = {
        "mechanism": "central",
        "noise_multiplier": 2.0,
        "target_quantile": 0.5,
        "clip_noise_multiplier": 2.0,
    }
    privacy, norms = PRIVACY.model_copy(update=adaptive), {}
    for name, secure in (("open", SECURE_SUM), ("hidden", hidden().secure_sum)):
        changes = {"privacy": privacy, "secure_sum": secure}
        folder = tiny.prepare_run(name, hidden().model_copy(update=changes))
        run_inline(folder, 4)
        norms[name] = [row["clip_norm"] for row in History(folder).rows()[1:]]
    assert len(set(norms["open"])) == 3
    assert norms["hidden"] == pytest.approx(norms["open"])
