import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.compression.pretraining.batches import pad
from models.compression.tasks.task_head import (
    TaskStudent,
    fit_projector,
    fold,
    pool_all,
    predict_logits,
)
from models.wordpiece import split_texts
from tests.models.compression.tiny_task import tiny_student, tiny_task, tiny_tokenizer


def linear(inputs, outputs, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    widths=st.tuples(st.integers(1, 64), st.integers(1, 384), st.integers(2, 150)),
)
def test_folding_changes_no_logit(seed, widths):
    student_width, teacher_width, classes = widths
    projector = linear(student_width, teacher_width, seed)
    head = linear(teacher_width, classes, seed + 1)
    pooled = 3 * torch.randn(20, student_width, generator=torch.manual_seed(seed))
    with torch.no_grad():
        unfolded = head(projector(pooled)).numpy()
    readout = fold(head, projector)
    folded = pooled.numpy() @ readout.weight.T + readout.bias
    assert readout.weight.shape == (classes, student_width)
    assert (readout.name, readout.unit_length) == ("logits", False)
    np.testing.assert_allclose(folded, unfolded, atol=1e-5)


@pytest.mark.parametrize("integration", [True, False])
def test_what_ships_gives_the_logits_that_were_learnt(integration):
    ids = split_texts(tiny_tokenizer(), tiny_task().train.texts[:9], 16)
    learner = TaskStudent(
        tiny_student(), linear(32, 3, 1), 0, integration=integration, head="free"
    ).eval()
    with torch.no_grad():
        expected = learner(*pad(ids))[1].numpy()
    folded = predict_logits(learner.student, learner.readout(), ids)
    np.testing.assert_allclose(folded, expected, atol=1e-5)


def test_who_holds_and_who_trains_the_head():
    head = linear(32, 3, 1)
    modes = {
        mode: TaskStudent(tiny_student(), head, 0, integration=True, head=mode)
        for mode in ("frozen", "tied", "free")
    }
    fresh = TaskStudent(tiny_student(), head, 0, integration=False, head="free").head
    assert modes["tied"].head is head
    assert modes["frozen"].head is head
    assert modes["free"].head is not head
    assert torch.equal(modes["free"].head.weight, head.weight)
    assert modes["free"].head.weight.requires_grad
    assert fresh.in_features == 32
    assert not torch.equal(fresh.weight, head.weight)
    frozen = TaskStudent(tiny_student(), linear(32, 3, 1), 0, integration=True, head="frozen")
    assert not frozen.head.weight.requires_grad


def test_fit_finds_the_map_that_is_there():
    rng = np.random.default_rng(0)
    pooled, truth, offset = rng.normal(3, 1, (200, 8)), rng.normal(size=(5, 8)), rng.normal(size=5)
    features = pooled @ truth.T + offset
    weight, bias = fit_projector(pooled.astype(np.float32), features.astype(np.float32))
    np.testing.assert_allclose(weight, truth, atol=0.02)
    np.testing.assert_allclose(pooled @ weight.T + bias, features, atol=0.05)


def test_pooling_many_is_pooling_each():
    student = tiny_student()
    ids = split_texts(tiny_tokenizer(), tiny_task().train.texts[:7], 16)
    with torch.no_grad():
        alone = torch.cat([student.pool(*pad([text])) for text in ids]).numpy()
    np.testing.assert_allclose(pool_all(student, ids), alone, atol=1e-5)


def test_a_text_of_a_megabyte_is_cut():
    ids = split_texts(tiny_tokenizer(), ["love " * 200_000, "\ud800 love"], 16)
    assert len(ids[0]) == 16
    assert len(ids[1]) >= 3
