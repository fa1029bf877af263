"""A task: texts with one label each, and how answers to it are scored.

    task = train (texts, labels) + validation (texts, labels) + classes 0..C-1 + score

What a model learns from is checked here, once, so that a wrong label is named by its row and not
by a stack trace three minutes later. The test part is no part of a task: whoever trains never
holds it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.errors import DataError

Score = Literal["accuracy", "macro-f1"]
"""Which figure chooses; macro-F1 where one class is rare."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts and their labels.

    Attributes:
        texts: n texts, none empty.
        labels: (n,) int64, 0 to C - 1.
    """

    texts: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learnt, and by which figure the best is chosen.

    Attributes:
        name: for messages.
        train: what a model learns from; every class is there.
        validation: what choices are made by.
        num_labels: C, at least 2.
        score: the figure that chooses.

    Raises:
        DataError: if a part is empty, its texts and labels differ in number, a text is empty, a
            label is out of range, or a class has no training text.
    """

    name: str
    train: Examples
    validation: Examples
    num_labels: int
    score: Score

    def __post_init__(self) -> None:
        if self.num_labels < 2:
            raise DataError(
                f"task {self.name!r} has {self.num_labels} classes, allowed are 2 and more: "
                "give texts of at least two kinds"
            )
        for part, examples in (("train", self.train), ("validation", self.validation)):
            _check_part(f"task {self.name!r}, {part}", examples, self.num_labels)
        counts = np.bincount(self.train.labels, minlength=self.num_labels)
        absent = np.flatnonzero(counts == 0)
        if len(absent):
            raise DataError(
                f"task {self.name!r}: {len(absent)} of {self.num_labels} classes have no training "
                f"text (up to 10 shown): {absent[:10].tolist()}: add texts or drop the classes"
            )

    def grade(self, logits: np.ndarray) -> float:
        """Return the task's score of some answers to the validation texts.

        Args:
            logits: (n, C) float, one row per validation text.
        """
        return score_of(self.score, self.validation.labels, logits.argmax(axis=1), self.num_labels)


def check_texts(what: str, texts: tuple[str, ...]) -> None:
    """Raise if one of the texts is empty.

    Raises:
        DataError: naming the first such text.
    """
    for row, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"{what}: text {row} of {len(texts)} is empty: drop it")


def score_of(score: Score, labels: np.ndarray, chosen: np.ndarray, num_labels: int) -> float:
    """Return the figure named `score`, 0 to 1; see `accuracy` and `macro_f1` for the arguments."""
    if score == "accuracy":
        return accuracy(labels, chosen)
    return macro_f1(labels, chosen, num_labels)


def accuracy(labels: np.ndarray, chosen: np.ndarray) -> float:
    """Return the share of right answers.

    Args:
        labels: (n,) int, the right classes.
        chosen: (n,) int, the model's.

    >>> accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    0.75
    """
    return float(np.mean(labels == chosen))


def macro_f1(labels: np.ndarray, chosen: np.ndarray, num_labels: int) -> float:
    """Return the mean over the classes of F1, the harmonic mean of precision and recall.

    A class that is neither there nor chosen counts 0, as in scikit-learn with `zero_division=0`.

    Args:
        labels: (n,) int, the right classes.
        chosen: (n,) int, the model's.
        num_labels: C.

    >>> macro_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)  # (4/5 + 2/3) / 2
    0.7333333333333334
    """
    there = np.bincount(labels, minlength=num_labels)
    named = np.bincount(chosen, minlength=num_labels)
    right = np.bincount(labels[labels == chosen], minlength=num_labels)
    return float(np.mean(2 * right / np.maximum(there + named, 1)))


def _check_part(what: str, examples: Examples, num_labels: int) -> None:
    texts, labels = examples.texts, examples.labels
    if not texts:
        raise DataError(f"{what}: there are no texts, at least 1 is needed: give some")
    if len(texts) != len(labels):
        raise DataError(f"{what}: {len(texts)} texts but {len(labels)} labels: give one per text")
    check_texts(what, texts)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_labels))
    if len(wrong):
        raise DataError(
            f"{what}: text {wrong[0]} has label {labels[wrong[0]]}, allowed 0 to "
            f"{num_labels - 1}: mend the label or raise num_labels"
        )
