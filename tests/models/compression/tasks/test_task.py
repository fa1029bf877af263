import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from models.compression.tasks.task import Examples, Task, accuracy, macro_f1
from models.errors import DataError


def examples(labels, texts=None):
    texts = texts or tuple(f"text {row}" for row in range(len(labels)))
    return Examples(tuple(texts), np.asarray(labels, np.int64))


GOOD = examples([0, 1, 2, 0])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_scores_are_those_of_scikit_learn(pairs):
    labels, chosen = (np.asarray(column) for column in zip(*pairs, strict=True))
    assert accuracy(labels, chosen) == pytest.approx(accuracy_score(labels, chosen))
    expected = f1_score(labels, chosen, average="macro", labels=range(4), zero_division=0)
    assert macro_f1(labels, chosen, 4) == pytest.approx(expected)


def test_the_task_grades_by_its_own_score():
    logits = np.asarray([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    validation = examples([0, 0, 1, 1])
    by_accuracy = Task("t", examples([0, 1]), validation, 2, "accuracy")
    by_f1 = Task("t", examples([0, 1]), validation, 2, "macro-f1")
    assert by_accuracy.grade(logits) == 3 / 4
    assert by_f1.grade(logits) == pytest.approx((4 / 5 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("train", "validation", "num_labels", "message"),
    [
        (GOOD, GOOD, 1, "1 classes, allowed are 2 and more"),
        (examples([]), GOOD, 3, "train: there are no texts"),
        (GOOD, examples([]), 3, "validation: there are no texts"),
        (Examples(("a",), np.asarray([0, 1])), GOOD, 3, "1 texts but 2 labels"),
        (GOOD, examples([0, 1], ["fine", " \t"]), 3, "validation: text 1 of 2 is empty"),
        (examples([0, 1, 2, 3]), GOOD, 3, "text 3 has label 3, allowed 0 to 2"),
        (GOOD, examples([0, -1]), 3, "text 1 has label -1, allowed 0 to 2"),
        (examples([0, 2]), GOOD, 4, r"2 of 4 classes have no training text.*\[1, 3\]"),
    ],
)
def test_what_cannot_be_learnt_is_named(train, validation, num_labels, message):
    with pytest.raises(DataError, match=message):
        Task("reviews", train, validation, num_labels, "accuracy")
