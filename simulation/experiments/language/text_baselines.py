"""The rival that knows no language: TF-IDF with logistic regression.

    texts --1- and 2-grams, sublinear counts--> sparse rows --logistic regression--> classes

Logistic regression on any vectors is here too: as a *linear probe* it says what a frozen encoder's
vectors hold. Its one knob, C, is chosen on the validation texts; the test texts are seen once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from models.compression.tasks.task import Task
from simulation.experiments.language.settings import TfIdfSettings

_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """A logistic regression on some vectors of a task's texts.

    Attributes:
        model: fitted on the training texts.
        inverse_penalty: the C that was best on the validation texts, the smallest of equals.
        validation_score: with it, by the task's score.
    """

    model: Any
    inverse_penalty: float
    validation_score: float

    def logits(self, vectors: Any) -> np.ndarray:
        """Return (n, C) float64 of vectors (n, d); for two classes the other one has 0."""
        values = np.asarray(self.model.decision_function(vectors))
        return values if values.ndim == 2 else np.stack([np.zeros(len(values)), values], axis=1)


def fit_probe(
    task: Task, train: Any, validation: Any, inverse_penalties: Sequence[float], iterations: int
) -> Probe:
    """Fit logistic regressions and keep the best on the validation texts.

    Args:
        task: labels and score.
        train: (n, d) vectors of the training texts, dense or sparse.
        validation: (m, d) vectors of the validation texts.
        inverse_penalties: values of C to choose from.
        iterations: most rounds of the solver; it may stop before it has settled.
    """
    best: Probe | None = None
    for C in sorted(inverse_penalties):
        model = LogisticRegression(C=C, max_iter=iterations).fit(train, task.train.labels)
        probe = Probe(model, C, 0.0)
        score = task.grade(probe.logits(validation))
        if best is None or score > best.validation_score:
            best = Probe(model, C, score)
    assert best is not None, "settings give at least one C"
    return best


@dataclass(frozen=True, slots=True)
class TfIdfClassifier:
    """TF-IDF and logistic regression, fitted.

    Attributes:
        words: from texts to sparse rows.
        probe: from rows to classes.
    """

    words: TfidfVectorizer
    probe: Probe

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, C) float64."""
        return self.probe.logits(self.words.transform(texts))

    @property
    def num_bytes(self) -> int:
        """What it would ship: each n-gram and its weights in float32."""
        grams = sum(len(gram.encode()) + 1 for gram in self.words.vocabulary_)
        model = self.probe.model
        weights = model.coef_.size + model.intercept_.size + len(self.words.idf_)
        return int(grams + _FLOAT32_BYTES * weights)


def fit_tf_idf(task: Task, settings: TfIdfSettings) -> TfIdfClassifier:
    """Fit TF-IDF with logistic regression on a task."""
    words = _vectorizer(settings)
    train = words.fit_transform(task.train.texts)
    validation = words.transform(task.validation.texts)
    penalties, iterations = settings.inverse_penalties, settings.iterations
    return TfIdfClassifier(words, fit_probe(task, train, validation, penalties, iterations))


def _vectorizer(settings: TfIdfSettings) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, settings.longest_ngram), sublinear_tf=True, dtype=np.float32
    )
