import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.intervals import PairedBootstrap, holm

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


def test_bca_agrees_with_scipy_where_values_are_skewed():
    values = np.where(RNG.random(80) < 0.2, RNG.random(80), 0.0)
    ours = PairedBootstrap.draw(80, 1, replicates=4000, method="bca").mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    plain = PairedBootstrap.draw(80, 1, replicates=4000).mean(values)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)
    assert ours.high > plain.high + 0.02 * width  # the long tail is on the right


def test_bca_of_values_that_are_all_alike_is_a_point():
    found = PairedBootstrap.draw(30, 1, method="bca").mean(np.zeros(30))
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_p_value_and_the_interval_of_a_difference_say_the_same():
    for trial in range(15):
        rng = np.random.default_rng(trial)
        a, b = rng.normal(0.25, 1, 60), rng.normal(0.0, 1, 60)
        bootstrap = PairedBootstrap.draw(60, trial, replicates=1999)
        clear = bootstrap.difference(a, b).excludes_zero()
        p = bootstrap.p_value(a, b)
        if abs(p - 0.05) > 0.003:  # at the bound the quantile lies between two replicates
            assert clear == (p < 0.05)


def test_the_p_value_agrees_with_a_t_test():
    a, b = RNG.normal(0.12, 1, 500), RNG.normal(0.0, 1, 500)
    ours = PairedBootstrap.draw(500, 1, replicates=4000).p_value(a, b)
    assert ours == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_arms_that_are_the_same_differ_by_chance_alone():
    values = RNG.random(40)
    bootstrap = PairedBootstrap.draw(40, 1)
    assert bootstrap.p_value(values, values) == 1.0
    assert not bootstrap.difference(values, values).excludes_zero()


def test_one_group_of_everybody_has_the_interval_of_the_mean():
    values = RNG.random(100)
    bootstrap = PairedBootstrap.draw(100, 1, replicates=4000)
    (found,), _ = bootstrap.group_means(values, np.ones((100, 1), bool))
    plain = bootstrap.mean(values)
    width = plain.high - plain.low
    assert found.low == pytest.approx(plain.low, abs=0.02 * width)
    assert found.high == pytest.approx(plain.high, abs=0.02 * width)


def test_group_means_are_the_means_of_the_groups_and_stay_in_range():
    values = (RNG.random(200) < 0.1).astype(float)
    member = RNG.random((200, 5)) < 0.4
    found, _ = PairedBootstrap.draw(200, 1).group_means(values, member)
    for group, interval in enumerate(found):
        assert interval.mean == pytest.approx(values[member[:, group]].mean())
        assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0


def test_simultaneous_intervals_hold_all_together():
    """Six groups of 50 users: all six truths inside, in about 95 of 100 worlds; alone 0.95^6."""
    worlds, groups, of_each = 60, 6, 50
    member = np.kron(np.eye(groups), np.ones((of_each, 1))) > 0
    weights = PairedBootstrap.draw(groups * of_each, 0, replicates=400)
    together = 0
    for world in range(worlds):
        values = np.random.default_rng(world).normal(1.0, 1.0, groups * of_each)
        found, _ = weights.group_means(values, member)
        together += all(each.low <= 1.0 <= each.high for each in found)
    assert 0.83 <= together / worlds <= 1.0


def test_simultaneous_intervals_are_never_wider_than_bonferronis_by_much():
    values, member = RNG.normal(size=600), np.kron(np.eye(6), np.ones((100, 1))) > 0
    bootstrap = PairedBootstrap.draw(600, 1, replicates=3000)
    found, _ = bootstrap.group_means(values, member)
    strict = PairedBootstrap(bootstrap.weights, confidence=1 - 0.05 / 6)
    for group, interval in enumerate(found):
        (bonferroni,), _ = strict.group_means(values, member[:, [group]])
        assert interval.high - interval.low <= 1.05 * (bonferroni.high - bonferroni.low)


def test_a_group_of_nobody_is_refused():
    with pytest.raises(ValueError, match="1 of 2 groups have no users"):
        PairedBootstrap.draw(3, 0).group_means(np.ones(3), np.array([[1, 0]] * 3) > 0)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_the_order(p_values):
    found = holm(p_values)
    assert len(found) == len(p_values)
    assert (found >= np.asarray(p_values) - 1e-12).all() and (found <= 1.0).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(found[order]) >= -1e-12).all()
    if p_values:
        assert found.min() == pytest.approx(min(1.0, len(p_values) * min(p_values)))
