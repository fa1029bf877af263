import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from simulation.experiments.audit.findings import (
    area_under_curve,
    membership_figures,
    recall_at,
    true_positive_rate,
)
from tests.tiny_world import SEED

SCORES = hnp.arrays("float64", st.integers(1, 30), elements=st.integers(-3, 3).map(float))


@given(members=SCORES, strangers=SCORES)
def test_area_under_curve_is_that_of_scikit_learn_ties_included(members, strangers):
    truth = np.repeat([1, 0], [len(members), len(strangers)])
    theirs = roc_auc_score(truth, np.concatenate([members, strangers]))
    assert area_under_curve(members, strangers) == pytest.approx(theirs)


@given(members=SCORES, strangers=SCORES, rate=st.floats(0, 0.9))
def test_no_more_strangers_are_accused_than_allowed(members, strangers, rate):
    found = true_positive_rate(members, strangers, rate)
    thresholds = [t for t in [-np.inf, *strangers] if (strangers > t).mean() <= rate]
    assert found == max((members > t).mean() for t in thresholds)


def test_recall_counts_the_true_ones_among_the_guesses():
    scores = np.array([0.9, 0.1, 0.8, 0.7])
    assert recall_at(scores, np.array([0, 2]), 2) == 1.0
    assert recall_at(scores, np.array([1, 3]), 2) == 0.0


def test_intervals_of_a_guess_cover_one_half_and_those_of_a_perfect_attack_do_not():
    rng = np.random.default_rng(0)
    member = rng.random((4, 200)) < 0.5
    guess = membership_figures(rng.random((4, 200)), member, SEED)
    assert guess["AUC low"] < 0.5 < guess["AUC high"]
    assert guess["TPR at 5 % FPR"] < 0.15
    perfect = membership_figures(member.astype(float), member, SEED)
    assert perfect["AUC low"] == perfect["TPR at 1 % FPR"] == 1.0
