import copy

import numpy as np
import pytest
import torch

from models.compression.export.encoder_graph import export_graph
from models.compression.pretraining.batches import encode_ids, pad
from models.compression.quantization import polish as polish_module
from models.compression.quantization.few_bits import (
    PLANES,
    plan_bits,
    quantize_columns,
    quantize_rows,
    uniform,
)
from models.compression.quantization.polish import PolishSettings, fake_quantized, polish, rounded
from models.compression.quantization.sensitivity import encode
from models.compression.student import StudentSettings, build_student
from models.errors import SettingsError
from tests.models.conftest import TINY

SHAPE = StudentSettings.model_validate(TINY["student"])
TEXTS = [[2, *range(5 + k, 8 + 2 * k), 3] for k in range(6)]


@pytest.fixture
def student():
    made = build_student(SHAPE, 40, seed=1).eval()
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return made


@pytest.mark.parametrize("bits", PLANES)
def test_inside_the_weights_are_those_of_the_graph(student, bits):
    before = {name: p.detach().numpy().copy() for name, p in student.named_parameters()}
    with fake_quantized(student, uniform(student, bits)):
        inside = {name: p.detach().numpy().copy() for name, p in student.named_parameters()}
    for name, weight in before.items():
        if weight.ndim == 1:
            expected = weight
        elif name in ("words.weight", "positions.weight"):
            expected = quantize_rows(weight, bits).values()
        else:
            expected = quantize_columns(weight.T, bits).values().T
        np.testing.assert_array_equal(inside[name], expected)


def test_outside_nothing_has_changed(student):
    parameters = dict(student.named_parameters())
    copied = copy.deepcopy(student.state_dict())
    with pytest.raises(RuntimeError, match="inside"), fake_quantized(student, uniform(student, 2)):
        raise RuntimeError("inside")
    after = dict(student.named_parameters())
    assert list(after) == list(parameters)
    assert all(after[name] is parameters[name] for name in parameters)
    assert all(torch.equal(copied[name], value) for name, value in student.state_dict().items())


def test_gradients_pass_straight_through(student):
    """The weight's gradient is that of a student who has the rounded weights."""
    plan = uniform(student, 4)
    twin = copy.deepcopy(student)
    with torch.no_grad():
        for name in plan:
            weight = twin.get_parameter(f"{name}.weight")
            weight.copy_(torch.from_numpy(rounded(name, weight.numpy().copy(), 4).copy()))
    inputs = pad(TEXTS)
    twin(*inputs)[:, 0].sum().backward()
    with fake_quantized(student, plan):
        student(*inputs)[:, 0].sum().backward()
    for one, other in zip(student.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_weights_of_32_bits_stay_as_they_are(student):
    plan = {**plan_bits(SHAPE, 32, 32), "widen": 3}
    with fake_quantized(student, plan):
        assert isinstance(student.words.weight, torch.nn.Parameter)
        assert len(student.widen.weight.unique()) < student.widen.weight.numel()


def test_a_plan_that_does_not_fit_leaves_the_student_alone(student):
    with pytest.raises(SettingsError), fake_quantized(student, {"words": 4}):
        pass
    assert isinstance(student.words.weight, torch.nn.Parameter)


def test_a_polish_brings_few_bits_back_to_fp32(student):
    plan = uniform(student, 3)
    targets = encode_ids(student, TEXTS, 8)
    seen: list[int] = []
    made = PolishSettings(steps=40, batch_size=6, learning_rate=3e-3)
    before = (encode(export_graph(student, plan), TEXTS) * targets).sum(axis=1).mean()
    losses = polish(
        student,
        plan,
        TEXTS,
        targets,
        made,
        seed=0,
        progress=lambda _, done, total: seen.append(done),
    )
    after = (encode(export_graph(student, plan), TEXTS) * targets).sum(axis=1).mean()
    assert losses[-1] < losses[0] / 3
    assert 1 - after < (1 - before) / 2
    assert seen == list(range(1, 41))


def test_same_seed_same_student(student):
    twin = copy.deepcopy(student)
    targets = encode_ids(student, TEXTS, 8)
    made = PolishSettings(steps=3, batch_size=2, learning_rate=1e-3)
    results = [
        polish(one, uniform(one, 4), TEXTS, targets, made, seed=5) for one in (student, twin)
    ]
    assert results[0] == results[1]
    for one, other in zip(student.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("killed_after", [1, 2, 5, 7])
def test_a_killed_polish_ends_with_the_same_weights(student, tmp_path, monkeypatch, killed_after):
    monkeypatch.setattr(polish_module, "CHECKPOINT_EVERY", 2)
    twin, targets = copy.deepcopy(student), encode_ids(student, TEXTS, 8)
    again = copy.deepcopy(student)
    made = PolishSettings(steps=7, batch_size=4, learning_rate=1e-3)
    plan = uniform(student, 4)
    unbroken = polish(student, plan, TEXTS, targets, made, seed=5)

    def kill(_what: str, done: int, _total: int) -> None:
        if done == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        polish(twin, plan, TEXTS, targets, made, 5, kill, tmp_path)
    seen: list[int] = []
    losses = polish(
        again, plan, TEXTS, targets, made, 5, lambda _, done, total: seen.append(done), tmp_path
    )
    assert losses == unbroken
    assert seen[:1] == [step for step in [killed_after // 2 * 2 + 1] if step <= 7]
    for one, other in zip(student.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_no_steps_no_change(student):
    before = copy.deepcopy(student.state_dict())
    made = PolishSettings(steps=0, batch_size=2, learning_rate=1e-3)
    assert polish(student, uniform(student, 4), TEXTS, np.zeros((6, 20), "f"), made, seed=0) == []
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
