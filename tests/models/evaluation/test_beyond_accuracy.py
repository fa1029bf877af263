import math
from collections import Counter
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import (
    NO_ITEM,
    WeightedSum,
    calibration_kl,
    catalogue_coverage,
    category_shares,
    exposure_counts,
    gini,
    history_categories,
    history_popularity,
    intra_list_diversity,
    novelty,
    popularity_lift,
    recommendation_popularity,
    serendipity,
    top_items,
)

NUM_ITEMS = 8
few = settings(max_examples=50)


@st.composite
def shown(draw, num_lists=None):
    """Lists of different items, of up to 5, filled up with NO_ITEM."""
    item = st.integers(0, NUM_ITEMS - 1)
    size = {"min_size": num_lists, "max_size": num_lists} if num_lists else {"max_size": 6}
    lists = draw(st.lists(st.lists(item, max_size=5, unique=True), **size))
    return np.array([each + [NO_ITEM] * (5 - len(each)) for each in lists], int).reshape(-1, 5)


def plain(items):
    return [[int(item) for item in each if item != NO_ITEM] for each in items]


@few
@given(items=shown(), cut=st.integers(0, 6))
def test_exposure_adds_up_however_users_are_divided(items, cut):
    whole = exposure_counts(items, NUM_ITEMS)
    parts = exposure_counts(items[:cut], NUM_ITEMS) + exposure_counts(items[cut:], NUM_ITEMS)
    np.testing.assert_array_equal(whole, parts)
    assert dict(Counter(chain(*plain(items)))) == {i: c for i, c in enumerate(whole) if c}
    assert catalogue_coverage(whole) == len(set(chain(*plain(items)))) / NUM_ITEMS


@few
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    """The other definition: mean |c_i - c_j| over all ordered pairs, / (2 mean)."""
    if not sum(counts):
        assert math.isnan(gini(np.array(counts)))
        return
    differences = [abs(a - b) for a in counts for b in counts]
    truth = np.mean(differences) / (2 * np.mean(counts))
    assert gini(np.array(counts)) == pytest.approx(truth, abs=1e-12)


@few
@given(items=shown(), seed=st.integers(0, 99))
def test_popularity_measures_are_plain_means_over_each_list(items, seed):
    popularity = np.random.default_rng(seed).integers(0, 6, NUM_ITEMS)
    arp, bits = recommendation_popularity(items, popularity), novelty(items, popularity, 5)
    for user, mine in enumerate(plain(items)):
        if not mine:
            assert np.isnan(arp[user]) and np.isnan(bits[user])
            continue
        assert arp[user] == pytest.approx(np.mean([popularity[item] for item in mine]))
        truth = np.mean([-math.log2(max(popularity[item], 1) / 5) for item in mine])
        assert bits[user] == pytest.approx(truth)


def test_popularity_counted_per_event_is_noticed():
    with pytest.raises(ValueError, match="chosen by 7 users of 5: count each user once"):
        novelty(np.array([[0]]), np.array([7]), 5)


@few
@given(cut=st.integers(0, 5), seed=st.integers(0, 99))
def test_popularity_lift_adds_up_and_is_the_lift_of_the_means(cut, seed):
    rng = np.random.default_rng(seed)
    lists, histories = rng.uniform(0, 9, 5), rng.uniform(1, 9, 5)
    parts = [popularity_lift(lists[part], histories[part]) for part in (slice(cut), slice(cut, 5))]
    truth = lists.mean() / histories.mean() - 1
    assert sum(parts, WeightedSum(0.0, 0.0)).mean() == pytest.approx(truth)


def test_a_user_without_a_history_has_no_lift():
    histories = history_popularity(np.array([0, 0, 1]), np.array([1]), np.array([0, 4]))
    assert np.isnan(histories[0]) and histories[1] == 4
    assert popularity_lift(np.array([9.0, 8.0]), histories).mean() == 1.0


@few
@given(items=shown(), seed=st.integers(0, 99))
def test_diversity_is_the_mean_over_written_out_pairs(items, seed):
    vectors = np.random.default_rng(seed).normal(size=(NUM_ITEMS, 3)).astype(np.float32)
    vectors[0] = 0.0  # an empty text
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    found = intra_list_diversity(items, vectors)
    for user, mine in enumerate(plain(items)):
        distances = [1 - float(unit[a] @ unit[b]) for a, b in combinations(mine, 2)]
        assert found[user] == pytest.approx(
            np.mean(distances) if distances else np.nan, abs=1e-6, nan_ok=True
        )


@few
@given(items=shown(4), seed=st.integers(0, 99), alpha=st.sampled_from([0.001, 0.01, 0.3]))
def test_calibration_is_zero_at_equality_and_bounded(items, seed, alpha):
    categories = np.random.default_rng(seed).integers(0, 2, (NUM_ITEMS, 3))
    q = category_shares(items, categories)
    known = q.sum(axis=1) > 0
    np.testing.assert_allclose(calibration_kl(q, q, alpha=alpha)[known], 0.0, atol=1e-12)
    p = np.roll(q, 1, axis=0)
    found = calibration_kl(p, q, alpha=alpha)
    both = known & np.roll(known, 1)
    assert np.isnan(found[~both]).all()
    assert (found[both] >= -1e-12).all()
    assert (found[both] <= math.log(1 / alpha) + 1e-12).all()


def test_calibration_of_the_papers_example():
    """70 % romance and 30 % action; a list of romance alone is further off than one of 6 to 4."""
    wanted = history_categories(np.array([0, 10]), np.array([0] * 7 + [1] * 3), np.eye(2))
    np.testing.assert_allclose(wanted, [[0.7, 0.3]])
    romance = calibration_kl(wanted, np.array([[1.0, 0.0]]))
    mixed = calibration_kl(wanted, np.array([[0.6, 0.4]]))
    truth = 0.7 * math.log(0.7 / 0.997) + 0.3 * math.log(0.3 / 0.003)
    assert romance[0] == pytest.approx(truth)
    assert mixed[0] < 0.03 < romance[0]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_alpha_has_bounds(alpha):
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        calibration_kl(np.ones((1, 1)), np.ones((1, 1)), alpha=alpha)


@few
@given(items=shown(4), expected=shown(4), seed=st.integers(0, 99))
def test_serendipity_counts_what_is_useful_and_was_not_to_be_expected(items, expected, seed):
    relevance = np.random.default_rng(seed).integers(0, 2, (4, NUM_ITEMS))
    per_list = serendipity(items, expected, relevance)
    per_unexpected = serendipity(items, expected, relevance, per="unexpected")
    for user, (mine, theirs) in enumerate(zip(plain(items), plain(expected), strict=True)):
        surprises = [item for item in mine if item not in theirs]
        useful = sum(relevance[user, item] for item in surprises)
        assert per_list[user] == pytest.approx(useful / len(mine) if mine else 0)
        assert per_unexpected[user] == pytest.approx(useful / len(surprises) if surprises else 0)


@few
@given(seed=st.integers(0, 99), k=st.integers(1, 10))
def test_top_items_are_the_best_candidates_ties_by_index(seed, k):
    rng = np.random.default_rng(seed)
    scores, candidates = rng.integers(0, 4, (3, NUM_ITEMS)), rng.random((3, NUM_ITEMS)) < 0.7
    found = top_items(scores, candidates, k)
    for user in range(3):
        order = sorted(np.flatnonzero(candidates[user]), key=lambda i: (-scores[user, i], i))
        assert plain(found)[user] == [int(item) for item in order[:k]]


def test_top_items_may_score_minus_infinity_but_not_nan():
    scores = np.array([[-np.inf, 1.0, np.nan]])
    allowed = np.array([[True, True, False]])
    assert top_items(scores, allowed, 3).tolist() == [[1, 0, NO_ITEM]]
    with pytest.raises(ValueError, match="1 scores of candidates are NaN"):
        top_items(scores, None, 3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        top_items(scores, allowed, 0)
