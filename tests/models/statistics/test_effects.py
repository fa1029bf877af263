"""Effects from sums, beside least squares on all rows and beside repeated draws."""

import numpy as np
import pytest
import statsmodels.api as sm

from models.seeds import generator
from models.statistics.effects import Ratio, compare
from models.statistics.moments import Moments
from models.statistics.slow_requests import SlowRequests, compare_quantiles

NAMES = ("clicks", "requests", "clicks before", "requests before")


def drawn(seed: int, num: int, rate: float, spread: float = 0.7) -> np.ndarray:
    """Devices with a habit each: requests and clicks before and after are alike."""
    rng = generator(seed, "habits")
    habit = rng.gamma(2.0, 4.0, num)
    taste = np.clip(rate * np.exp(spread * rng.normal(size=num) - spread**2 / 2), 0, 0.9)
    columns = []
    for _ in range(2):
        requests = 1 + rng.poisson(habit)
        columns += [rng.binomial(requests, taste), requests]
    return np.stack(columns, axis=1).astype(float)


def sums(rows: np.ndarray) -> Moments:
    return Moments.by_cell(NAMES, rows, np.zeros(len(rows), int), (1,))[0]


@pytest.fixture(scope="module")
def arms():
    return drawn(1, 900, 0.10), drawn(2, 700, 0.11)


@pytest.mark.parametrize("with_covariate", [False, True])
def test_the_mean_is_that_of_least_squares_with_robust_errors(arms, with_covariate: bool):
    control, treated = arms
    rows = np.vstack(arms)
    arm = np.r_[np.zeros(len(control)), np.ones(len(treated))]
    columns = [arm, rows[:, 2]] if with_covariate else [arm]
    fit = sm.OLS(rows[:, 0], sm.add_constant(np.stack(columns, 1))).fit(cov_type="HC2")
    before = Ratio("clicks before") if with_covariate else None
    found = compare(sums(control), sums(treated), Ratio("clicks"), before=before)
    assert found is not None
    assert found.estimate == pytest.approx(fit.params[1], rel=1e-9)
    assert found.standard_error == pytest.approx(fit.bse[1], rel=3e-3 if with_covariate else 1e-9)


@pytest.mark.parametrize(
    ("ratio", "before", "factor"),
    [
        (Ratio("clicks", "requests"), None, 1.0),
        (Ratio("clicks", "requests"), Ratio("clicks before", "requests before"), 1.0),
        (Ratio("clicks", "requests"), Ratio("clicks before", "requests before"), 0.9),
        (Ratio("requests"), Ratio("requests before"), 1.2),
    ],
)
def test_the_standard_error_is_how_far_repeated_draws_lie_apart(ratio, before, factor):
    found = [
        compare(
            sums(drawn(2 * n, 400, 0.1)),
            sums(drawn(2 * n + 1, 300, 0.1)),
            ratio,
            before=before,
            factor=factor,
        )
        for n in range(600)
    ]
    estimates = np.array([each.estimate for each in found])
    errors = np.array([each.standard_error for each in found])
    truth = (1 - factor) * np.mean([each.control for each in found])
    assert abs(estimates.mean() - truth) < 4 * estimates.std() / np.sqrt(600)
    assert np.sqrt((errors**2).mean()) == pytest.approx(estimates.std(), rel=0.1)
    covered = np.abs(estimates - truth) < 1.96 * errors
    assert 0.92 < covered.mean() < 0.98


def test_the_past_of_the_same_devices_makes_it_sharper(arms):
    control, treated = map(sums, arms)
    ratio, before = Ratio("clicks", "requests"), Ratio("clicks before", "requests before")
    plain, sharper = (
        compare(control, treated, ratio),
        compare(control, treated, ratio, before=before),
    )
    assert sharper.standard_error < 0.9 * plain.standard_error


def test_what_cannot_be_told_is_none_and_no_number(arms):
    one = sums(arms[0][:1])
    assert compare(one, sums(arms[1]), Ratio("clicks")) is None
    silent = sums(np.zeros((5, 4)))
    assert compare(silent, sums(arms[1]), Ratio("clicks", "requests")) is None
    still = compare(sums(np.ones((5, 4))), sums(np.ones((5, 4))), Ratio("clicks"))
    assert (still.estimate, still.standard_error, still.z) == (0.0, 0.0, 0.0)


EDGES = tuple(float(edge) for edge in np.geomspace(1, 2000, 60))


def times(seed: int, num: int, slower: float = 1.0) -> np.ndarray:
    """Each phone is fast or slow by itself: (n, J + 1) requests by bin."""
    rng = generator(seed, "times")
    requests = 3 + rng.poisson(12, num)
    own = np.repeat(rng.normal(0, 0.5, num), requests)
    milliseconds = slower * 30 * np.exp(own + 0.3 * rng.normal(size=len(own)))
    bins = np.searchsorted(EDGES, milliseconds)
    counted = np.zeros((num, len(EDGES) + 1), dtype=int)
    np.add.at(counted, (np.repeat(np.arange(num), requests), bins), 1)
    return counted


def slow(bins: np.ndarray) -> SlowRequests:
    return SlowRequests.by_cell(EDGES, bins, np.zeros(len(bins), int), (1,))[0]


def test_the_percentile_and_its_error_hold_in_repeated_draws():
    found = [slow(times(n, 400)).log_quantile(0.95) for n in range(300)]
    places, errors = np.array(found).T
    # 30 ms times a log-normal of variance 0.5^2 + 0.3^2
    assert np.exp(places.mean()) == pytest.approx(30 * np.exp(1.6449 * np.sqrt(0.34)), rel=0.01)
    assert np.sqrt((errors**2).mean()) == pytest.approx(places.std(), rel=0.15)


def test_a_slower_arm_is_found_and_a_margin_is_taken_off():
    control, treated = slow(times(1, 3000)), slow(times(2, 3000, slower=1.3))
    plain, within = (compare_quantiles(control, treated, 0.95, factor) for factor in (1.0, 1.1))
    assert plain.z > 5
    assert plain.estimate == pytest.approx(np.log(1.3), abs=3 * plain.standard_error)
    assert within.estimate == pytest.approx(plain.estimate - np.log(1.1))


def test_a_percentile_outside_the_edges_is_not_told():
    bins = times(1, 50)
    bins[:, -1] += 100
    assert slow(bins).log_quantile(0.95) is None
    assert slow(bins[:1]).log_quantile(0.95) is None
