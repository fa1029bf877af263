"""Noise on a sum, on a count and on metrics: as much as is said, once, and never shared."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clients.local_evaluation import evaluate_devices
from clients.protocol.messages import EvalReply, EvalTask, TrainReply
from models.metrics import METRICS, PROTOCOLS, MetricSums
from models.seeds import generator
from server.privacy.mechanism import EVALUATION_SENSITIVITY, Mechanism
from tests.tiny_world import NUM_DEVICES, PRIVACY, RECOMMENDER, SEED, TinyWorld, private

SIZE, COHORT = 20_000, 15


def mechanism(**changes: object) -> Mechanism:
    return Mechanism(private(**changes).privacy, COHORT, NUM_DEVICES, SEED)


def reply(update_sum: np.ndarray, num_devices: int = 7, unclipped: int | None = None) -> TrainReply:
    return TrainReply(update_sum, num_devices, None, None, None, None, unclipped)


def is_gaussian_with(std: float, drawn: np.ndarray) -> bool:
    """Mean 0 and this standard deviation, as far as a chi-square interval can tell."""
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], drawn.size)
    in_all = float(((drawn / std) ** 2).sum())
    return bool(low < in_all < high and abs(drawn.mean()) < 5 * std / np.sqrt(drawn.size))


@pytest.mark.parametrize(("multiplier", "clip_norm"), [(1.0, 0.5), (0.7, 3.0)])
def test_noise_of_a_zero_sum_is_the_noise_that_is_said(multiplier: float, clip_norm: float):
    update = mechanism(noise_multiplier=multiplier).mean_update(
        reply(np.zeros(SIZE)), clip_norm, round_number=1
    )
    assert update is not None
    assert is_gaussian_with(multiplier * clip_norm, update * COHORT)


@given(st.integers(0, 100))
def test_denominator_is_fixed(num_devices: int):
    """Whatever came back, the sum is divided by what the round wanted."""
    sent = np.arange(5.0)
    one = mechanism().mean_update(reply(np.zeros(5), 0), 1.0, 3)
    other = mechanism().mean_update(reply(sent, num_devices), 1.0, 3)
    np.testing.assert_allclose(other - one, sent / COHORT, atol=1e-12)


def test_no_two_rounds_share_noise():
    updates = [mechanism().mean_update(reply(np.zeros(SIZE)), 1.0, n) for n in (1, 2, 3)]
    apart = np.corrcoef(updates)[np.triu_indices(3, 1)]
    assert np.abs(apart).max() < 5 / np.sqrt(SIZE)


def test_a_run_without_privacy_divides_by_what_came_back():
    open_run = Mechanism(PRIVACY, COHORT, NUM_DEVICES, SEED)
    update = open_run.mean_update(reply(np.full(3, 14.0)), 1.0, 1)
    np.testing.assert_array_equal(update, [2.0, 2.0, 2.0])
    assert open_run.mean_update(reply(np.zeros(3), 0), 1.0, 1) is None


def test_local_noise_is_not_added_again():
    local = mechanism(mechanism="local", noise_multiplier=4.0)
    update = local.mean_update(reply(np.full(3, 30.0)), 1.0, 1)
    np.testing.assert_array_equal(update, [2.0, 2.0, 2.0])
    assert local.asked_of_nodes.local_noise_multiplier == 4.0
    assert mechanism().asked_of_nodes.local_noise_multiplier == 0.0


def test_scaled_noise_is_that_of_the_larger_population():
    """On the mean: z C / (q N'), where this population alone would have z C / (q N)."""
    scaled = mechanism(scaled_population=100 * NUM_DEVICES)
    update = scaled.mean_update(reply(np.zeros(SIZE)), 0.5, 1)
    assert is_gaussian_with(0.5 / (100 * COHORT), update)


def test_sum_and_count_share_the_noise_multiplier():
    """Their precisions add up to that of z; at the median this is the paper's formula."""
    adaptive = mechanism(noise_multiplier=1.0, target_quantile=0.5, clip_noise_multiplier=0.75)
    assert adaptive.noise_std(2.0) / 2.0 == pytest.approx((1 - (2 * 0.75) ** -2) ** -0.5)
    skewed = mechanism(noise_multiplier=1.0, target_quantile=0.9, clip_noise_multiplier=3.0)
    precision = (skewed.noise_std(1.0)) ** -2 + (0.9 / 3.0) ** 2
    assert precision == pytest.approx(1.0)


@pytest.mark.parametrize("start", [1e-3, 1e3])
@pytest.mark.parametrize("quantile", [0.5, 0.8])
@pytest.mark.parametrize("there", [1.0, 0.3], ids=["all there", "few there"])
def test_adaptive_clipping_converges_to_the_quantile(start: float, quantile: float, there: float):
    """From far below and far above, also when most phones that are drawn are absent."""
    adaptive = Mechanism(
        private(target_quantile=quantile, clip_noise_multiplier=5.0, clip_rate=0.5).privacy,
        expected=1000,
        num_devices=100_000,
        noise_seed=SEED,
    )
    norms_of: Callable[[int], np.ndarray] = lambda n: generator(n, "norms").lognormal(0, 1, 1000)  # noqa: E731
    clip_norm, path = start, []
    for number in range(1, 601):
        norms = norms_of(number)[: int(1000 * there)]
        short = int((norms <= clip_norm).sum())
        clip_norm = adaptive.next_clip_norm(
            reply(np.zeros(1), len(norms), short), clip_norm, number
        )
        path.append(clip_norm)
    wanted = float(np.exp(stats.norm.ppf(quantile)))  # of a lognormal
    assert np.exp(np.mean(np.log(path[400:]))) == pytest.approx(wanted, rel=0.1)


def test_a_fixed_clip_norm_stays():
    assert mechanism().next_clip_norm(reply(np.zeros(1)), 0.5, 1) == 0.5


def test_a_device_adds_no_more_to_an_evaluation_than_its_sensitivity(tiny: TinyWorld):
    shard, flat = tiny.shard(), tiny.layout.flatten(tiny.parameters()).numpy()
    for device in range(NUM_DEVICES):
        task = EvalTask(flat, np.array([device]), 0, 1 << 20)
        sums = evaluate_devices(shard, task, RECOMMENDER, SEED).sums
        assert len({tier for tier, _ in sums}) <= 1
        added = [value for each in sums.values() for value in each.sums.values()]
        counted = max((each.num_users for each in sums.values()), default=0)
        assert np.linalg.norm([*added, counted]) <= EVALUATION_SENSITIVITY


def test_noise_of_an_evaluation_is_the_noise_that_is_said():
    noisy = mechanism(evaluation_noise_multiplier=2.0)
    exact = EvalReply(
        {("low", name): MetricSums(dict.fromkeys(METRICS, 300.0), 1000) for name in PROTOCOLS}
    )
    drawn, counts = [], []
    for number in range(400):
        found = noisy.evaluated(exact, ("low", "high"), number).sums
        drawn += [found["low", name].sums[metric] - 300 for name in PROTOCOLS for metric in METRICS]
        counts.append(found["low", "full"].num_users - 1000)
    std = 2.0 * EVALUATION_SENSITIVITY
    assert is_gaussian_with(std, np.array(drawn))
    assert np.std(counts) == pytest.approx(std, rel=0.15)


def test_a_tier_without_devices_has_noise_too():
    """Else a first device in it would be seen."""
    noisy = mechanism(evaluation_noise_multiplier=2.0)
    exact = EvalReply({("low", name): MetricSums({"auc": 1.0}, 2) for name in PROTOCOLS})
    found = noisy.evaluated(exact, ("low", "high"), 1)
    assert set(found.sums) == {(tier, name) for tier in ("low", "high") for name in PROTOCOLS}
    assert found.sums["high", "full"].sums["auc"] != 0


def test_exact_metrics_stay_exact_where_nothing_is_promised_of_them():
    exact = EvalReply({("low", "full"): MetricSums({"auc": 1.0}, 2)})
    assert mechanism().evaluated(exact, ("low", "high"), 1) == exact
