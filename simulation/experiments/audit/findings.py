"""What an attack found, as a table of plain values, and how its figures are made.

    AUC            chance that a member scores above a stranger, ties half
    TPR at FPR     share of members found where so many strangers are falsely accused      [1]
    recall at k    share of the true ones among k guesses

Intervals are percentile bootstrap over devices or texts, not over guesses of one device.

[1] N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.intervals import PairedBootstrap
from models.seeds import generator

Row = Mapping[str, str | float | int | None]
"""Column -> value; a figure of a share is a fraction, not percent."""

REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """The outcome of one attack.

    Attributes:
        attack: its name.
        question: what was tried, in a sentence.
        rows: the table, all with the same columns.
        notes: what a reader must know beside it.
    """

    attack: str
    question: str
    rows: Sequence[Row]
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "attack": self.attack,
            "question": self.question,
            "rows": [dict(row) for row in self.rows],
            "notes": list(self.notes),
        }


def with_interval(name: str, values: NDArray[np.float64], seed: int) -> dict[str, float]:
    """A mean over devices and the ends of its 95 % interval, as three columns.

    Args:
        name: of the column.
        values: (U,), U >= 2.
        seed: of the resampling.
    """
    found = PairedBootstrap.draw(len(values), seed, replicates=REPLICATES).mean(values)
    return {name: found.mean, f"{name} low": found.low, f"{name} high": found.high}


def recall_at(scores: NDArray[np.floating], truth: NDArray[np.integer], k: int) -> float:
    """Share of the true ones among the k highest scores.

    Args:
        scores: (N,); ties go to the lower index, which an attacker has no reason to like.
        truth: different indices, at least one.
        k: how many guesses.

    >>> recall_at(np.array([0.1, 0.9, 0.5, 0.4]), np.array([1, 3]), 2)
    0.5
    """
    guessed = np.argsort(-scores, kind="stable")[:k]
    return float(np.isin(truth, guessed).mean())


def area_under_curve(members: NDArray[np.floating], strangers: NDArray[np.floating]) -> float:
    """AUC of scores by which members should stand above strangers.

    >>> area_under_curve(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
    0.875
    """
    ranks = rankdata(np.concatenate([members, strangers]))
    n, m = len(members), len(strangers)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def true_positive_rate(
    members: NDArray[np.floating], strangers: NDArray[np.floating], false_positive_rate: float
) -> float:
    """Share of members above a threshold that at most this share of strangers passes.

    >>> true_positive_rate(np.array([3.0, 1.0]), np.array([2.0, 0.0]), 0.0)
    0.5
    """
    allowed = int(false_positive_rate * len(strangers))
    threshold = np.sort(strangers)[::-1][allowed] if allowed < len(strangers) else -np.inf
    return float((members > threshold).mean())


def membership_figures(
    scores: NDArray[np.floating], member: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """AUC and TPR at 1 % and 5 % FPR, each with a 95 % interval, of scores over trials.

    Args:
        scores: (T, U) of T trials over U devices.
        member: (T, U) who was in.
        seed: of the resampling, over devices with all their trials.
    """
    draws = generator(seed, "bootstrap of an attack").integers(
        scores.shape[1], size=(REPLICATES // 5, scores.shape[1])
    )

    def figures(devices: NDArray[np.integer]) -> list[float]:
        s, inside = scores[:, devices], member[:, devices]
        yes, no = s[inside], s[~inside]
        return [
            area_under_curve(yes, no),
            true_positive_rate(yes, no, 0.01),
            true_positive_rate(yes, no, 0.05),
        ]

    whole = figures(np.arange(scores.shape[1]))
    low, high = np.quantile([figures(draw) for draw in draws], [0.025, 0.975], axis=0)
    named: dict[str, float] = {}
    for place, name in enumerate(("AUC", "TPR at 1 % FPR", "TPR at 5 % FPR")):
        named |= {
            name: whole[place],
            f"{name} low": float(low[place]),
            f"{name} high": float(high[place]),
        }
    return named
