"""A cohort of perceptrons against one device after another in a loop of torch's own."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from clients.perceptron_training import LabelledDevices, train_cohort
from clients.protocol.messages import TrainTask
from models.perceptron import PerceptronSettings, perceptron_layout
from tests.tiny_world import local_training

SHAPE = PerceptronSettings(inputs=4, hidden=(5, 3), batch_size=3)
LENGTHS = [7, 3, 1, 5, 3, 9]
FIRST = 100  # id of the node's first device


@pytest.fixture
def devices() -> LabelledDevices:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    features = rng.normal(size=(offsets[-1], 4)).astype(np.float32)
    return LabelledDevices(FIRST, offsets, features, (features[:, 0] > 0).astype(np.float32))


def start() -> np.ndarray:
    return np.random.default_rng(1).normal(size=perceptron_layout(SHAPE).size).astype(np.float32)


def by_hand(devices: LabelledDevices, device: int, epochs: int, rate: float) -> torch.Tensor:
    """Plain SGD on one device's rows, in their order; the update, flat."""
    layout = perceptron_layout(SHAPE)
    flat = torch.from_numpy(start()).requires_grad_()
    rows = slice(int(devices.offsets[device]), int(devices.offsets[device + 1]))
    x, y = (torch.from_numpy(each[rows]) for each in (devices.features, devices.labels))
    for _ in range(epochs):
        for first in range(0, len(x), SHAPE.batch_size):
            named, hidden = layout.unflatten(flat), x[first : first + SHAPE.batch_size]
            for layer in (1, 2, 3):
                hidden = hidden @ named[f"weight_{layer}"].T + named[f"bias_{layer}"]
                hidden = hidden.relu() if layer < 3 else hidden
            wanted = y[first : first + SHAPE.batch_size, None]
            loss = binary_cross_entropy_with_logits(hidden, wanted)
            (gradient,) = torch.autograd.grad(loss, flat)
            flat = (flat - rate * gradient).detach().requires_grad_()
    return flat.detach() - torch.from_numpy(start())


@pytest.mark.parametrize("block_bytes", [1, 1000, 10**6])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_cohort_is_the_sum_of_its_clipped_devices(devices, block_bytes: int, epochs: int):
    cohort = np.array([0, 2, 3, 5, 4])
    updates = [by_hand(devices, int(device), epochs, 0.3).numpy() for device in cohort]
    norms = [float(np.linalg.norm(update)) for update in updates]
    clip_norm = float(np.mean(sorted(norms)[1:3]))  # two are short enough, three are clipped
    training = local_training(
        local_epochs=epochs, rate=0.3, clip_norm=clip_norm, block_bytes=block_bytes
    )
    reply = train_cohort(devices, TrainTask(start(), cohort + FIRST, 1, training), SHAPE, 0)
    expected = sum(
        update * min(1.0, clip_norm / norm) for update, norm in zip(updates, norms, strict=True)
    )
    np.testing.assert_allclose(reply.update_sum, expected, atol=1e-5)
    assert (reply.num_devices, reply.num_clipped) == (5, 3)
