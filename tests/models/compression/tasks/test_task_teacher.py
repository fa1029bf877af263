import os
import signal

import numpy as np
import pytest
import torch

from models.compression.tasks import task_teacher
from models.compression.tasks.task_teacher import fine_tune
from models.compression.tasks.teacher_encoder import freeze_lowest, pool_all, pool_batch
from models.errors import DataError, SettingsError
from tests.models.compression.tiny_task import FINE_TUNING, tiny_task
from tests.models.conftest import tiny_teacher_model

TASK = tiny_task()
STEPS_PER_EPOCH = 8  # 60 texts by 8


def weights_of(teacher):
    tensors = [*teacher.model.state_dict().values(), *teacher.head.state_dict().values()]
    return torch.cat([tensor.ravel() for tensor in tensors])


def killed_at(step, work):
    """Do the work in a child process that is killed at a step of its progress; wait for it."""

    def progress(what, done, total):
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        work(progress)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("task-cache")


@pytest.fixture(scope="module")
def teacher(teacher_folder, cache):
    return fine_tune(teacher_folder, TASK, FINE_TUNING, cache, seed=1, threads=1)


def test_it_learns_the_task_and_its_best_epoch_stays(teacher, cache):
    logits = teacher.logits(teacher.features(TASK.validation.texts, cache))
    assert TASK.grade(logits) == teacher.validation_score
    assert teacher.validation_score == max(epoch.score for epoch in teacher.epochs)
    assert teacher.validation_score > 0.7  # chance is a third
    assert teacher.epochs[-1].loss < teacher.epochs[0].loss


def test_it_is_made_once(teacher, teacher_folder, cache, monkeypatch):
    monkeypatch.setattr(task_teacher, "_train", None)  # training again would fail
    again = fine_tune(teacher_folder, TASK, FINE_TUNING, cache, seed=1, threads=1)
    assert torch.equal(weights_of(again), weights_of(teacher))
    assert (again.fingerprint, again.epochs) == (teacher.fingerprint, teacher.epochs)


def test_another_seed_is_another_teacher(teacher, teacher_folder, cache):
    other = fine_tune(teacher_folder, TASK, FINE_TUNING, cache, seed=2, threads=1)
    assert other.fingerprint != teacher.fingerprint


@pytest.mark.parametrize("step", [3, STEPS_PER_EPOCH + 1, 3 * STEPS_PER_EPOCH])
def test_killed_it_goes_on_to_the_same_weights(teacher, teacher_folder, tmp_path, step):
    def work(progress):
        fine_tune(teacher_folder, TASK, FINE_TUNING, tmp_path, 1, 1, progress)

    killed_at(step, work)
    steps = []
    resumed = fine_tune(
        teacher_folder, TASK, FINE_TUNING, tmp_path, 1, 1, lambda *call: steps.append(call[1])
    )
    assert torch.equal(weights_of(resumed), weights_of(teacher))
    assert resumed.epochs == teacher.epochs
    assert steps[0] == (step - 1) // STEPS_PER_EPOCH * STEPS_PER_EPOCH + 1  # not from the start
    assert not list(tmp_path.rglob("checkpoints"))


def test_features_are_means_over_the_pieces(teacher, cache):
    features = teacher.features(TASK.train.texts, cache)
    assert features.shape == (60, teacher.width)
    for row in (0, 17):
        batch = teacher.tokenizer(TASK.train.texts[row], return_tensors="pt")
        with torch.no_grad():
            mean = teacher.model(**batch).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(features[row], mean.numpy(), atol=1e-5)


def test_features_come_from_the_cache_and_survive_a_kill(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(task_teacher, "CHUNK_TEXTS", 16)
    whole = np.array(teacher.features(TASK.train.texts, tmp_path / "whole"))
    killed_at(48, lambda progress: teacher.features(TASK.train.texts, tmp_path / "two", progress))
    done = []
    again = teacher.features(TASK.train.texts, tmp_path / "two", lambda *call: done.append(call[1]))
    assert done == [48, 60]  # 32 texts were kept
    assert isinstance(again, np.memmap)
    assert np.array_equal(again, whole)
    monkeypatch.setattr(task_teacher, "pool_all", None)  # reading again would fail
    teacher.features(TASK.train.texts, tmp_path / "two")


def test_no_texts_no_features(teacher, cache):
    with pytest.raises(DataError, match="no texts to read"):
        teacher.features([], cache)


def test_frozen_layers_stay_and_the_rest_learns(teacher_folder, tmp_path):
    settings = FINE_TUNING.model_copy(update={"frozen_layers": 1, "epochs": 1})
    learnt = fine_tune(teacher_folder, TASK, settings, tmp_path, 1, 1).model.state_dict()
    before = tiny_teacher_model().state_dict()
    for name, value in before.items():
        stays = name.startswith(("embeddings.", "encoder.layer.0."))
        assert torch.equal(value, learnt[name]) == stays, name


def test_more_layers_than_there_are_cannot_be_frozen():
    with pytest.raises(SettingsError, match=r"frozen_layers is 3.*has 2 layers"):
        freeze_lowest(tiny_teacher_model(), 3)


def test_padding_changes_no_feature():
    model = tiny_teacher_model().eval()
    ids = [[2, 60, 61, 62, 63, 3], [2, 64, 3]]
    with torch.no_grad():
        together = pool_batch(model, ids, 0)
        alone = torch.cat([pool_batch(model, [text], 0) for text in ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(pool_all(model, ids, 0), alone.numpy(), atol=1e-5)


def test_going_astray_is_named(teacher_folder, tmp_path):
    settings = FINE_TUNING.model_copy(update={"weight_decay": 1e30})  # a step too large by far
    with pytest.raises(DataError, match=r"'tiny' went astray at step \d+ of 24.*learning_rate"):
        fine_tune(teacher_folder, TASK, settings, tmp_path, 1, 1)


def test_a_damaged_teacher_is_named(teacher_folder, tmp_path):
    settings = FINE_TUNING.model_copy(update={"epochs": 1})
    fine_tune(teacher_folder, TASK, settings, tmp_path, 1, 1)
    (path,) = tmp_path.rglob("teacher.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"teacher\.safetensors is damaged.*delete its folder"):
        fine_tune(teacher_folder, TASK, settings, tmp_path, 1, 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("epochs.json", b"[]"),
        ("epochs.json", b"[0.5"),
        ("epochs.json", b"[null]"),
        ("best.safetensors", b"no"),
    ],
)
def test_a_damaged_checkpoint_is_named(name, content, teacher_folder, tmp_path):
    rates = {"learning_rate": 1e-12, "head_learning_rate": 1e-12}  # the first epoch stays the best
    settings = FINE_TUNING.model_copy(update={"epochs": 2, **rates})

    def work(progress):
        fine_tune(teacher_folder, TASK, settings, tmp_path, 1, 1, progress)

    killed_at(STEPS_PER_EPOCH + 1, work)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is damaged.*delete its folder"):
        work(lambda *_: None)
