"""A tiny task that word order decides in part, a tiny student, and its tokenizer."""

import numpy as np
from tokenizers import Tokenizer

from models.compression.student import Student, StudentSettings, build_student
from models.compression.tasks.interplay import CrossDistillationSettings
from models.compression.tasks.task import Examples, Score, Task
from models.compression.tasks.task_teacher import TaskTeacherSettings
from models.wordpiece import SPECIAL_TOKENS, TokenizerSettings, build_tokenizer
from tests.models.conftest import TEACHER_PIECES, TINY, WORDS

PIECES = [*SPECIAL_TOKENS, *(piece for piece in TEACHER_PIECES if not piece.startswith("["))]

FINE_TUNING = TaskTeacherSettings(
    max_tokens=16,
    epochs=3,
    batch_size=8,
    learning_rate=1e-2,
    head_learning_rate=1e-2,
    warmup_share=0.1,
    weight_decay=0.01,
    dropout=0.1,
    frozen_layers=0,
)


CROSS = CrossDistillationSettings(
    integration=True,
    head="frozen",
    mutual=True,
    feature_weight=1.0,
    logit_weight=1.0,
    label_weight=0.5,
    feedback_weight=0.1,
    temperature=2.0,
    learning_rate=5e-3,
    word_rate_share=0.5,
    teacher_learning_rate=1e-4,
    warmup_share=0.1,
    weight_decay=0.01,
    batch_size=8,
    labelled_share=0.5,
    align_steps=4,
    joint_steps=8,
    polish_steps=4,
    evaluate_every=4,
    mutual_every=1,
    frozen_layers=0,
    guard_drop=0.005,
)


def examples(count: int, first: int = 0) -> Examples:
    """Texts whose class is which of three words they hold."""
    texts, labels = [], []
    for number in range(first, first + count):
        label = number % 3
        words = [
            WORDS[10 + (7 * number + k * (number // 3 + 1)) % 20] for k in range(3 + number % 4)
        ]
        words.insert(number % len(words), ("love", "crime", "ship")[label])
        texts.append(" ".join(words))
        labels.append(label)
    return Examples(tuple(texts), np.asarray(labels, np.int64))


def tiny_task(score: Score = "accuracy") -> Task:
    return Task("tiny", examples(60), examples(30, first=60), 3, score)


def tiny_tokenizer() -> Tokenizer:
    return build_tokenizer(PIECES, TokenizerSettings(True, True, TINY["student"]["max_tokens"]))


def tiny_student(**changes: int) -> Student:
    shape = StudentSettings.model_validate({**TINY["student"], **changes})
    return build_student(shape, len(PIECES), seed=1).eval()
