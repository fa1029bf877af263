import numpy as np
import pytest
import torch

from models.compression.tasks.live_teacher import LiveTeacher, TeacherTexts
from models.compression.tasks.task_teacher import fine_tune
from tests.models.compression.tiny_task import FINE_TUNING, tiny_task

TASK = tiny_task()
ROWS = np.arange(6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("live-teacher")


@pytest.fixture(scope="module")
def task_teacher(teacher_folder, cache):
    return fine_tune(teacher_folder, TASK, FINE_TUNING, cache, seed=1, threads=1)


@pytest.fixture
def teacher(task_teacher, cache):
    texts = TeacherTexts(
        ids=task_teacher.split(TASK.train.texts),
        features=np.array(task_teacher.features(TASK.train.texts, cache)),
        validation_ids=task_teacher.split(TASK.validation.texts),
        validation_features=np.array(task_teacher.features(TASK.validation.texts, cache)),
    )
    return LiveTeacher(task_teacher, texts, guard_drop=0.005)


def move(teacher, rate=1.0):
    """One large step away from the task."""
    loss = teacher.features(ROWS, learn=True).sum() + teacher.head.weight.sum()
    teacher.descend(teacher.gradients(loss), rate)


def test_frozen_live_and_frozen_again_say_the_same(teacher):
    before = teacher.features(ROWS, learn=False)
    teacher.wake(0.01, 0.0, 0)
    live = teacher.features(ROWS, learn=True)
    assert live.requires_grad
    teacher.sleep()
    after = teacher.features(ROWS, learn=False)
    torch.testing.assert_close(before, live.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


def test_the_one_given_stays_as_it_is(teacher, task_teacher):
    before = [value.clone() for value in task_teacher.model.state_dict().values()]
    teacher.head.requires_grad_(True)
    teacher.wake(0.1, 0.0, 0)
    move(teacher)
    after = task_teacher.model.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(teacher.head.weight, task_teacher.head.weight)


def test_guard_puts_it_back_to_its_best(teacher, task_teacher):
    assert not teacher.judge(TASK.grade)
    assert teacher.score == task_teacher.validation_score
    teacher.head.requires_grad_(True)
    teacher.wake(1.0, 0.0, 0)
    move(teacher)
    move(teacher)
    assert teacher.judge(TASK.grade)
    assert not teacher.is_live
    assert teacher.score == task_teacher.validation_score
    expected = torch.from_numpy(teacher._texts.features[ROWS])
    torch.testing.assert_close(teacher.features(ROWS, learn=False), expected, atol=1e-5, rtol=0)
    assert torch.equal(teacher.head.weight, task_teacher.head.weight)
    assert not teacher.judge(TASK.grade)  # settled: nothing is measured any more


def test_a_small_fall_does_not_stop_it(teacher):
    scores = iter([0.900, 0.897, 0.8951, 0.896])
    for _ in range(4):
        assert not teacher.judge(lambda logits: next(scores))
    fallen = iter([0.8949])
    assert teacher.judge(lambda logits: next(fallen))  # more than 0.5 points below 0.9


def test_a_tied_head_is_left_to_the_student(teacher):
    tied = teacher.head.requires_grad_(True)
    teacher.wake(0.1, 0.0, 0)
    move(teacher)
    teacher.sleep()
    assert teacher.head is not tied
    assert torch.equal(teacher.head.weight, tied.weight)
    assert tied.weight.requires_grad
    assert not teacher.head.weight.requires_grad


def test_lowest_layers_stay(teacher, task_teacher):
    teacher.wake(0.1, 0.0, 1)
    move_only_encoder = teacher.features(ROWS, learn=True).sum()
    teacher.descend(teacher.gradients(move_only_encoder), 1.0)
    before, after = task_teacher.model.state_dict(), teacher._encoder.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)
