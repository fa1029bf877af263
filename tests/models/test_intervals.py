import numpy as np
import pytest
from scipy import stats

from models.intervals import PairedBootstrap

RNG = np.random.default_rng(0)


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = RNG.exponential(size=400)
    ours = PairedBootstrap.draw(400, 1, replicates=4000).mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)


def test_pairing_cancels_what_users_have_in_common():
    common = RNG.normal(size=500) * 10
    a, b = common + 0.1 + 0.01 * RNG.normal(size=500), common
    bootstrap = PairedBootstrap.draw(500, 1)
    assert bootstrap.difference(a, b).excludes_zero()
    assert not bootstrap.mean(a).excludes_zero()


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).normal(1.0, 1.0, 60)
        interval = PairedBootstrap.draw(60, trial, replicates=400).mean(values)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_ratio_to_itself_is_one_and_to_nothing_is_undefined():
    values = RNG.random(50)
    bootstrap = PairedBootstrap.draw(50, 1)
    ratio = bootstrap.ratio(values, values)
    assert ratio is not None
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((1.0, 1.0, 1.0))
    assert bootstrap.ratio(values, np.zeros(50)) is None


def test_a_ratio_to_almost_nothing_is_undefined_and_never_huge():
    values, one_user = RNG.random(50), np.zeros(50)
    one_user[3] = 1.0
    bootstrap = PairedBootstrap.draw(50, 1)
    assert bootstrap.ratio(values, one_user) is None  # a third of the replicates miss that user
    few = np.zeros(50)
    few[:8] = 1.0
    ratio = bootstrap.ratio(values, few)
    assert ratio is not None and ratio.high < 50


def test_one_user_cannot_be_resampled():
    with pytest.raises(ValueError, match="at least 2 users, got 1"):
        PairedBootstrap.draw(1, 0)
