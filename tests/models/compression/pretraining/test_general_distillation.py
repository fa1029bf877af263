from dataclasses import replace

import numpy as np
import pytest
import torch

from models.compression.pretraining.batches import encode_ids, pad
from models.compression.pretraining.general_distillation import (
    Lessons,
    PretrainingSettings,
    pretrain,
    rate_factor,
    vector_loss,
)
from models.compression.student import StudentSettings, build_student
from models.errors import DataError
from tests.models.conftest import TINY

SETTINGS = PretrainingSettings.model_validate(TINY["pretraining"])
WORDS = 30


@pytest.fixture(scope="module")
def lessons():
    rng = np.random.default_rng(0)
    ids = [[2, *rng.integers(5, WORDS, size=rng.integers(1, 9)).tolist(), 3] for _ in range(40)]
    size = TINY["student"]["vector_size"]
    words = rng.normal(size=(WORDS, size))
    targets = np.stack([words[text].mean(axis=0) for text in ids])
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    return Lessons(ids, targets.astype(np.float32), np.full(40, 1 / 40))


def fresh_student():
    return build_student(StudentSettings.model_validate(TINY["student"]), WORDS, seed=1)


def test_loss_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Cosines 1, 0, 0. Similar to whom: x pairs 1 with 3, y pairs 1 with 2; softmax of (1, 0).
    p = float(np.e / (1 + np.e))
    q = 1 - p
    kl = p * np.log(p / q) + q * np.log(q / p)  # rows 1: crossed
    half_p, half_q = p * np.log(p / 0.5) + q * np.log(q / 0.5), 0.5 * np.log(0.25 / (p * q))
    expected = 2 / 3 + 0.5 * (kl + half_p + half_q) / 3
    assert vector_loss(x, y, 0.5, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_loss_of_the_teacher_itself_is_zero():
    y = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.manual_seed(0)), dim=1)
    assert vector_loss(y, y, 0.1, 0.05).item() == pytest.approx(0, abs=1e-6)


def test_training_comes_nearer_to_the_teacher(lessons):
    student = fresh_student()
    before = (encode_ids(student.eval(), lessons.ids, 16) * lessons.targets).sum(axis=1).mean()
    settings = SETTINGS.model_copy(update={"steps": 150, "learning_rate": 5e-3})
    losses = pretrain(student, lessons, settings, seed=1)
    after = (encode_ids(student, lessons.ids, 16) * lessons.targets).sum(axis=1).mean()
    assert len(losses) == 150
    assert after > before + 0.3


def test_same_seed_same_student(lessons):
    students = [fresh_student() for _ in range(3)]
    for student, seed in zip(students, (1, 1, 2), strict=True):
        pretrain(student, lessons, SETTINGS, seed=seed)
    first, again, other = (
        torch.cat([p.detach().ravel() for p in student.parameters()]) for student in students
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_texts_of_weight_zero_are_never_learnt(lessons):
    weights = np.zeros(40)
    weights[:10] = 0.1
    spoilt = lessons.targets.copy()
    spoilt[10:] = np.nan  # one of them in a batch, and the loss is no number
    losses = pretrain(fresh_student(), Lessons(lessons.ids, spoilt, weights), SETTINGS, seed=1)
    assert np.isfinite(losses).all()


def test_going_astray_raises(lessons):
    spoilt = Lessons(lessons.ids, lessons.targets * np.float32(np.nan), lessons.weights)
    with pytest.raises(DataError, match=r"astray at step 1.*learning_rate"):
        pretrain(fresh_student(), spoilt, SETTINGS, seed=1)


def test_progress_counts_the_steps(lessons):
    calls = []
    pretrain(fresh_student(), lessons, SETTINGS, 1, lambda *call: calls.append(call))
    assert calls[-1] == ("pre-training", SETTINGS.steps, SETTINGS.steps)
    assert len(calls) == SETTINGS.steps


def test_rate_rises_then_falls():
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert max(factors) == 1
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert rate_factor(0, 10, 0.0) == 1


def test_pad_fills_with_zeros_and_masks_them():
    ids, mask = pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_shares_above_one_are_refused():
    with pytest.raises(ValueError, match="above 1 together"):
        PretrainingSettings.model_validate({**TINY["pretraining"], "query_share": 0.7})


class KilledError(Exception):
    """Stands for kill -9: nothing is tidied up after it."""


@pytest.mark.parametrize("stop_after", [1, 5, 7, 10, 12])
def test_resume_after_kill_gives_the_same_student(lessons, tmp_path, stop_after):
    whole = fresh_student()
    losses = pretrain(whole, lessons, SETTINGS, seed=1)

    def kill(what, done, total):
        if done == stop_after:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(fresh_student(), lessons, SETTINGS, 1, kill, tmp_path)
    again = fresh_student()
    assert pretrain(again, lessons, SETTINGS, 1, checkpoints=tmp_path) == losses
    for first, second in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_checkpoint_of_another_student_is_refused(lessons, tmp_path):
    pretrain(fresh_student(), lessons, SETTINGS, 1, checkpoints=tmp_path)
    shape = StudentSettings.model_validate({**TINY["student"], "intermediate_size": 64})
    with pytest.raises(DataError, match="another model"):
        pretrain(build_student(shape, WORDS, 1), lessons, SETTINGS, 1, checkpoints=tmp_path)


def test_hidden_states_and_hidden_words_are_learnt(lessons):
    """Every term has a gradient of its own: without the vectors' term the words still move."""
    wanted = torch.nn.Embedding(WORDS, 6)
    taught = replace(lessons, states=lambda ids, mask: wanted(ids), state_size=6)
    both = SETTINGS.model_copy(update={"state_weight": 1.0, "word_weight": 0.5, "steps": 60})
    losses = pretrain(fresh_student(), taught, both, seed=1)
    alone = pretrain(fresh_student(), lessons, SETTINGS.model_copy(update={"steps": 60}), seed=1)
    assert losses[0] > alone[0] + 1
    assert np.mean(losses[-5:]) < losses[0] - 0.5


def test_hidden_states_without_a_teacher_are_refused(lessons):
    with pytest.raises(DataError, match="no live teacher"):
        pretrain(fresh_student(), lessons, SETTINGS.model_copy(update={"state_weight": 1.0}), 1)
