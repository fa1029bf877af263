"""Every combination against its definition in a loop; liars do not decide where they must not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.errors import SettingsError
from server.robust_aggregation import (
    check_single_updates,
    coordinate_median,
    krum,
    mean,
    multi_krum,
    trimmed_mean,
)

ROWS = hnp.arrays(
    "float64",
    st.tuples(st.integers(5, 12), st.integers(1, 4)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


@given(rows=ROWS, share=st.floats(0, 0.49))
def test_the_trimmed_mean_leaves_out_both_ends_of_each_coordinate(rows, share):
    cut = int(share * len(rows))
    slow = [np.mean(sorted(column)[cut : len(rows) - cut]) for column in rows.T]
    np.testing.assert_allclose(trimmed_mean(rows, share), slow, atol=1e-9)


@given(rows=ROWS)
def test_the_median_has_as_many_above_as_below(rows):
    for value, column in zip(coordinate_median(rows), rows.T, strict=True):
        assert (column <= value).sum() >= len(column) / 2
        assert (column >= value).sum() >= len(column) / 2


def krum_scores(rows: np.ndarray, num_malicious: int) -> np.ndarray:
    """Blanchard et al.: squared distances to the n - f - 2 nearest others, added up."""
    scores = []
    for one in range(len(rows)):
        apart = sorted(
            float(((rows[one] - rows[other]) ** 2).sum())
            for other in range(len(rows))
            if other != one
        )
        scores.append(sum(apart[: len(rows) - num_malicious - 2]))
    return np.array(scores)


@pytest.mark.parametrize("seed", range(5))
def test_krum_takes_the_update_that_its_definition_names(seed: int):
    rows = np.random.default_rng(seed).normal(size=(11, 6))
    order = np.argsort(krum_scores(rows, 3))
    np.testing.assert_allclose(krum(rows, 3), rows[order[0]])
    np.testing.assert_allclose(multi_krum(rows, 3, 4), rows[order[:4]].mean(axis=0))
    np.testing.assert_allclose(multi_krum(rows, 3, 11), mean(rows))


@pytest.mark.parametrize(
    "combine",
    [
        lambda rows: trimmed_mean(rows, 0.3),
        coordinate_median,
        lambda rows: krum(rows, 3),
        lambda rows: multi_krum(rows, 3, 5),
    ],
)
@given(lie=st.floats(1e3, 1e6))
def test_three_liars_of_eleven_do_not_leave_the_honest_range(combine, lie):
    honest = np.random.default_rng(0).normal(size=(8, 5))
    rows = np.concatenate([honest, np.full((3, 5), lie)])
    found = combine(rows)
    assert (found <= honest.max(axis=0) + 1e-9).all()
    assert (found >= honest.min(axis=0) - 1e-9).all()
    assert mean(rows).min() > 100


def test_float32_updates_are_compared_in_float64():
    """A small difference between long updates: squares in float32 would round it away."""
    rows = np.full((7, 3), 1000.0, np.float32)
    rows[:, 0] += np.array([0.0, 0.01, 0.02, 0.03, 5.0, 6.0, 7.0], np.float32)
    assert krum(rows, 2)[0] < 1000.1


def test_too_few_devices_for_krum_and_sums_of_devices_are_refused():
    with pytest.raises(SettingsError, match="needs 9 updates or more, this round has 8"):
        krum(np.zeros((8, 2)), 3)
    with pytest.raises(SettingsError, match="median compares single updates"):
        check_single_updates("median", 12)
    check_single_updates("mean", 12)
    check_single_updates("median", 1)
