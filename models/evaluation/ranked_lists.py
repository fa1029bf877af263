"""What a model ranked for each user, judged: the one input of every metric of a list.

    scores      0.9  0.7  0.7  0.1  |  0.8  0.2        two users, ragged: columns plus offsets
    relevance   0    1    0    2    |  0    0          grades, 0 = not relevant
    ties        -    ~~~~~~~~  -    |  -    -          the order of the two is chance

Relevance may be graded and several items may be relevant. Relevant items that were not ranked at
all count as missed: every denominator is over *all* relevant items of the user.

Equal scores. A rule is chosen when the lists are made:

- "expected": each metric is its expected value over all orders of the tied items, in closed form
  [1]. For AUC this is "ties half". The default.
- "against": tied items that are relevant come last: the lowest value that the scores allow.
- "trec": as trec_eval does it: scores are rounded to float32, and among equals the item with the
  larger column comes first (trec_eval: the name that sorts last; give columns in order of names).

The ranks of `models.evaluation.held_out` count ties half *before* the metric is taken, which is a
fourth rule: one held-out item tied with one rival stands at 0.5, between first and second.

[1] F. McSherry, M. Najork, "Computing Information Retrieval Performance Measures Efficiently in
    the Presence of Tied Scores", ECIR 2008.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.checks import NO_ITEM, FloatArray, IntArray, check_items, checked_offsets

TieRule = Literal["expected", "against", "trec"]
TIE_RULES: tuple[TieRule, ...] = ("expected", "against", "trec")


@dataclass(frozen=True, slots=True)
class RankedLists:
    """Judged lists of U users, best first within each user.

    Attributes:
        offsets: (U + 1,) user u owns entries offsets[u] .. offsets[u + 1].
        relevance: (E,) grade of each ranked item, >= 0; 0 is not relevant.
        group_starts: (G,) the entries at which a group of tied items begins, ascending.
        ideal_offsets: (U + 1,) user u owns ideal[ideal_offsets[u] : ideal_offsets[u + 1]].
        ideal: (I,) grades of all relevant items of each user, ranked or missed, largest first.

    >>> lists = rank_scores(np.array([[0.1, 0.9, 0.5]]), np.array([[2, 0, 1]]))
    >>> lists.relevance.tolist(), lists.ideal.tolist(), lists.num_relevant().tolist()
    ([0.0, 1.0, 2.0], [2.0, 1.0], [2])
    """

    offsets: IntArray
    relevance: FloatArray
    group_starts: IntArray
    ideal_offsets: IntArray
    ideal: FloatArray

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.offsets) - 1

    def lengths(self) -> IntArray:
        """How many items were ranked for each user, (U,)."""
        return np.diff(self.offsets)

    def num_relevant(self) -> IntArray:
        """How many relevant items each user has, ranked or missed, (U,)."""
        return np.diff(self.ideal_offsets)

    def users(self) -> IntArray:
        """Whose each entry is, (E,)."""
        return np.repeat(np.arange(self.num_users), self.lengths())

    def places(self) -> IntArray:
        """The place of each entry in its list, from 0, (E,)."""
        return places_within(self.offsets)

    def group_sizes(self) -> IntArray:
        """How many items are tied in each group, (G,)."""
        return np.diff(np.append(self.group_starts, len(self.relevance)))

    def group_sums(self, values: FloatArray) -> FloatArray:
        """Sum over each group of a value per entry (E,), (G,)."""
        if not len(self.group_starts):
            return np.zeros(0)
        return np.asarray(np.add.reduceat(values, self.group_starts))

    def expected(self, values: FloatArray) -> FloatArray:
        """What stands at each place on average over the orders of tied items, (E,)."""
        sizes = self.group_sizes()
        return np.repeat(self.group_sums(values) / sizes, sizes)

    def sum_by_user(self, values: FloatArray) -> FloatArray:
        """Sum over each list of a value per entry (E,), (U,)."""
        return np.asarray(
            np.bincount(self.users(), weights=values, minlength=self.num_users), float
        )


def rank_scores(
    scores: NDArray[np.floating | np.integer],
    relevance: NDArray[np.floating | np.integer | np.bool_],
    candidates: NDArray[np.bool_] | None = None,
    *,
    ties: TieRule = "expected",
) -> RankedLists:
    """Rank the candidates of each user by score: the full ranking.

    Args:
        scores: (U, N), higher is better.
        relevance: (U, N) grades >= 0, or True and False.
        candidates: (U, N) which items compete, e.g. those unseen in training; None for all. A
            relevant item that is no candidate counts as missed.
        ties: the rule for equal scores, see the module.

    Raises:
        ValueError: if shapes differ, a candidate's score is NaN, or a grade is negative or NaN.

    >>> lists = rank_scores(np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 1]]))
    >>> lists.relevance.tolist()
    [0.0, 1.0, 1.0]
    """
    if scores.ndim != 2 or scores.shape != relevance.shape:
        raise ValueError(
            f"scores and relevance must be of one shape (users, items), got {scores.shape} and "
            f"{relevance.shape}"
        )
    compete = np.ones(scores.shape, dtype=np.bool_) if candidates is None else candidates
    if compete.shape != scores.shape:
        raise ValueError(f"candidates have the shape {compete.shape}, scores {scores.shape}")
    kept, grades = _checked(scores, ties), _grades(relevance)
    _refuse_nan(kept[compete])
    order = _order_of_rows(kept, grades, ties)
    inside = np.take_along_axis(compete, order, axis=1)
    ranked = np.take_along_axis(kept, order, axis=1)[inside]
    judged = np.take_along_axis(grades, order, axis=1)[inside]
    rows, columns = np.nonzero(grades)
    return _lists(
        _offsets(inside.sum(axis=1)),
        ranked,
        judged,
        (rows, grades[rows, columns]),
        ties,
    )


def rank_ragged(
    offsets: NDArray[np.integer],
    scores: NDArray[np.floating | np.integer],
    relevance: NDArray[np.floating | np.integer | np.bool_],
    *,
    ties: TieRule = "expected",
) -> RankedLists:
    """Rank lists of unequal length, e.g. impressions, given as columns plus offsets.

    Args:
        offsets: (U + 1,) list u owns entries offsets[u] .. offsets[u + 1].
        scores: (E,) higher is better.
        relevance: (E,) grades >= 0; every relevant item is in the list.
        ties: the rule for equal scores, see the module.

    Raises:
        ValueError: if the offsets do not fit, a score is NaN, or a grade is negative or NaN.

    >>> lists = rank_ragged(np.array([0, 3, 4]), np.array([1, 9, 5, 7]), np.array([1, 0, 2, 1]))
    >>> lists.relevance.tolist(), lists.lengths().tolist()
    ([0.0, 2.0, 1.0, 1.0], [3, 1])
    """
    bounds = checked_offsets(offsets, len(scores))
    if scores.shape != relevance.shape:
        raise ValueError(f"scores {scores.shape} and relevance {relevance.shape} must be alike")
    kept, grades = _checked(scores, ties), _grades(relevance)
    _refuse_nan(kept)
    user = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    rows = np.arange(len(kept), dtype=np.float64)
    tie_key = {"expected": rows, "against": grades, "trec": -rows}[ties]
    order = np.lexsort((tie_key, -kept, user))
    relevant = np.flatnonzero(grades)
    return _lists(bounds, kept[order], grades[order], (user[relevant], grades[relevant]), ties)


def judge_items(
    items: NDArray[np.integer], relevance: NDArray[np.floating | np.integer | np.bool_]
) -> RankedLists:
    """Judge finished lists of recommended items, best first; there are no ties left in them.

    Args:
        items: (U, K) item indices, `NO_ITEM` (-1) where a list is shorter.
        relevance: (U, N) grades >= 0.

    Raises:
        ValueError: if an item is out of range or stands twice in a list.

    >>> lists = judge_items(np.array([[4, 2, -1]]), np.array([[0, 1, 1, 0, 0]]))
    >>> lists.relevance.tolist(), lists.num_relevant().tolist()
    ([0.0, 1.0], [2])
    """
    grades = _grades(relevance)
    check_items(items, grades.shape[1])
    inside = items != NO_ITEM
    judged = np.take_along_axis(grades, np.where(inside, items, 0), axis=1)[inside]
    bounds = _offsets(inside.sum(axis=1))
    rows, columns = np.nonzero(grades)
    places = -np.arange(len(judged), dtype=np.float64)  # any scores that fall
    return _lists(bounds, places, judged, (rows, grades[rows, columns]), "trec")


def places_within(offsets: IntArray) -> IntArray:
    """Count 0, 1, 2 .. anew in each list, (E,).

    >>> places_within(np.array([0, 2, 5])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def _checked(scores: NDArray[np.floating | np.integer], ties: TieRule) -> FloatArray:
    if ties not in TIE_RULES:
        raise ValueError(f"ties={ties!r} is no rule: use one of {', '.join(TIE_RULES)}")
    seen = scores.astype(np.float32) if ties == "trec" else scores
    return seen.astype(np.float64)


def _refuse_nan(scores: FloatArray) -> None:
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN")


def _grades(relevance: NDArray[np.floating | np.integer | np.bool_]) -> FloatArray:
    grades = relevance.astype(np.float64)
    if np.isnan(grades).any() or (grades < 0).any():
        raise ValueError("relevance must be >= 0 everywhere: 0 is not relevant, NaN is no grade")
    return grades


def _order_of_rows(scores: FloatArray, grades: FloatArray, ties: TieRule) -> IntArray:
    """Columns of each row, best score first, ties by the rule, (U, N)."""
    if ties == "expected":
        return np.argsort(-scores, axis=1, kind="stable")
    if ties == "against":
        return np.asarray(np.lexsort((grades, -scores), axis=1))
    backwards = np.argsort(-scores[:, ::-1], axis=1, kind="stable")
    return np.asarray(scores.shape[1] - 1 - backwards)


def _offsets(lengths: NDArray[np.integer]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _lists(
    offsets: IntArray,
    scores: FloatArray,
    relevance: FloatArray,
    relevant: tuple[IntArray, FloatArray],
    ties: TieRule,
) -> RankedLists:
    """Put sorted entries together; `relevant` is whose each relevant item is, and its grade."""
    begins = np.ones(len(scores), dtype=np.bool_)
    if ties == "expected":
        begins[1:] = scores[1:] != scores[:-1]
        begins[offsets[:-1][np.diff(offsets) > 0]] = True
    owner, grade = relevant
    order = np.lexsort((-grade, owner))
    counts = np.bincount(owner, minlength=len(offsets) - 1)
    return RankedLists(offsets, relevance, np.flatnonzero(begins), _offsets(counts), grade[order])
