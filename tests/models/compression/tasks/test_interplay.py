import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.compression.tasks.interplay import (
    NO_LABEL,
    CrossDistillationSettings,
    cross_entropy,
    divergence,
    squared_error,
    student_loss,
    teacher_loss,
)
from tests.models.compression.tiny_task import CROSS

MEASURES = {"unit": 2.0, "expected_labels": 1.0}
Y = torch.tensor([1, NO_LABEL])
SETTINGS = CROSS.model_copy(
    update={
        "feature_weight": 3.0,
        "logit_weight": 5.0,
        "label_weight": 7.0,
        "feedback_weight": 11.0,
        "temperature": 2.0,
    }
)


@pytest.fixture
def batch():
    """f_S, z_S, f_T, z_T of two texts; the first has label 1, the second none."""
    log3 = float(np.log(3))
    return {
        "f_S": torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True),
        "z_S": torch.tensor([[0.0, 0.0], [0.0, 2 * log3]], requires_grad=True),
        "f_T": torch.tensor([[1.0, 2.0], [0.0, 2.0]], requires_grad=True),
        "z_T": torch.tensor([[0.0, 2 * log3], [0.0, 2 * log3]], requires_grad=True),
    }


def test_losses_by_hand(batch):
    mse = (0 + 4 + 0 + 4) / 4 / 2  # in units of the teacher's variance, 2
    # At t = 2 the first text's odds are 1:3 for the teacher and 1:1 for the student.
    towards_teacher = 4 * (1 / 4 * np.log(1 / 2) + 3 / 4 * np.log(3 / 2)) / 2
    towards_student = 4 * (1 / 2 * np.log(2) + 1 / 2 * np.log(2 / 3)) / 2
    student_ce, teacher_ce = np.log(2), np.log(10 / 9)  # at t = 1 the odds are 1:9
    assert student_loss(**batch, y=Y, settings=SETTINGS, **MEASURES).item() == pytest.approx(
        3 * mse + 5 * towards_teacher + 7 * student_ce, rel=1e-5
    )
    assert teacher_loss(**batch, y=Y, settings=SETTINGS, **MEASURES).item() == pytest.approx(
        teacher_ce + 11 * (mse + towards_student), rel=1e-5
    )


@pytest.mark.parametrize(
    ("loss", "learns", "stops"),
    [
        (student_loss, ("f_S", "z_S"), ("f_T", "z_T")),
        (teacher_loss, ("f_T", "z_T"), ("f_S", "z_S")),
    ],
)
def test_gradients_stop_at_the_other(batch, loss, learns, stops):
    loss(**batch, y=Y, settings=SETTINGS, **MEASURES).backward()
    assert all(batch[name].grad.abs().sum() > 0 for name in learns)
    assert all(batch[name].grad is None for name in stops)


def test_nothing_to_learn_is_no_loss():
    x, z = torch.randn(4, 3), torch.randn(4, 5)
    assert squared_error(x, x, 0.3).item() == 0
    assert divergence(z, z, 4.0).item() == pytest.approx(0, abs=1e-6)
    assert cross_entropy(z, torch.full((4,), NO_LABEL), 2.0).item() == 0


def test_high_temperature_is_half_the_squared_distance_of_centred_logits():
    # G. Hinton et al., arXiv 1503.02531, section 2.1: t^2 KL goes to |v - z|^2 / (2 C).
    v, z = torch.randn(1, 4, generator=torch.manual_seed(0)), torch.zeros(1, 4)
    v = v - v.mean()
    assert divergence(v, z, 90.0).item() == pytest.approx((v**2).sum().item() / 8, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_steps": 0, "polish_steps": 0}, "never learnt"),
        ({"feature_weight": 0, "logit_weight": 0, "label_weight": 0}, "nothing to learn"),
        ({"mutual": True, "teacher_learning_rate": 0.5}, "is not below the student's"),
        ({"head": "glued"}, "frozen"),
    ],
)
def test_settings_that_contradict_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        CrossDistillationSettings.model_validate({**CROSS.model_dump(), **changes})
