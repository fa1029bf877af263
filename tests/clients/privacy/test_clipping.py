"""What clipping promises, asked of the sum that leaves a node."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clients.local_training import LocalUpdates, add_up_rows, sum_of_clipped, updates_of
from clients.protocol.messages import NOT_PRIVATE, TrainReply, TrainTask, UpdatePrivacy
from models.parameters import Layout
from tests.tiny_world import local_training

LAYOUT = Layout(("a", "b"), ((2, 2), (3,)))
SIZE = LAYOUT.size


def block(rows: np.ndarray) -> LocalUpdates:
    """Devices that have moved two tensors by these numbers, (B, 7)."""
    tensors = torch.tensor(rows)
    moved = {"a": tensors[:, :4].reshape(-1, 2, 2).clone(), "b": tensors[:, 4:].clone()}
    return updates_of(torch.ones(len(rows)), moved, LAYOUT, add_up_rows)


def summed(rows: np.ndarray, clip_norm: float, privacy: UpdatePrivacy = NOT_PRIVATE) -> TrainReply:
    training = local_training(clip_norm=clip_norm)
    task = TrainTask(np.zeros(SIZE, np.float32), np.arange(len(rows)), 1, training, privacy)
    return sum_of_clipped([block(rows)], task, SIZE, noise_seed=0)


@example(rows=np.eye(3, SIZE, dtype=np.float32) * 27.5, clip_norm=27.5)
@given(
    rows=hnp.arrays("float32", (3, SIZE), elements=st.floats(-1e4, 1e4, width=32)),
    clip_norm=st.floats(0.01, 100.0),
)
def test_no_device_moves_a_sum_by_more_than_the_clip_norm(rows, clip_norm):
    everybody = summed(rows, clip_norm)
    assert everybody.num_devices == 3
    for device in range(3):
        others = summed(np.delete(rows, device, axis=0), clip_norm)
        moved = everybody.update_sum - others.update_sum
        norm = float(np.linalg.norm(rows[device].astype(np.float64)))
        allowed = min(norm, clip_norm)
        slack = 1e-5 * (allowed + 2 * clip_norm)  # the block's sums are float32
        assert np.linalg.norm(moved) <= allowed + slack
        expected = rows[device] * (allowed / norm if norm else 0.0)
        np.testing.assert_allclose(moved, expected, atol=slack + 1e-9)


def test_an_update_that_is_short_enough_is_not_touched():
    rows = np.eye(1, SIZE, dtype=np.float32) * 27.5
    reply = summed(rows, 27.5)
    np.testing.assert_array_equal(reply.update_sum, rows[0])
    assert (reply.num_clipped, reply.norm_sum) == (0, 27.5)


def test_a_device_that_is_not_finite_is_refused_and_spares_the_others():
    rows = np.zeros((3, SIZE), np.float32)
    rows[0, 0], rows[2, 5] = np.inf, np.nan
    rows[1, :2] = 3.0, 4.0
    reply = summed(rows, 1.0)
    np.testing.assert_allclose(reply.update_sum, [0.6, 0.8, 0, 0, 0, 0, 0], atol=1e-6)
    assert (reply.num_devices, reply.num_clipped, reply.num_refused) == (1, 1, 2)
    assert (reply.norm_sum, reply.loss_sum) == (5.0, 1.0)


def test_a_private_reply_says_nothing_that_data_has_changed():
    """Neither what an update was, nor that one was no number."""
    hidden = UpdatePrivacy(hidden=True, count_unclipped=False, local_noise_multiplier=0)
    rows = np.zeros((3, SIZE), np.float32)
    rows[0, 0], rows[1, :2] = np.nan, (3.0, 4.0)
    reply = summed(rows, 1.0, hidden)
    assert reply.num_devices == 3
    figures = (reply.num_clipped, reply.num_refused, reply.loss_sum, reply.norm_sum)
    assert (*figures, reply.num_unclipped) == (None,) * 5
    assert set(reply.to_record()["sums"]) == {"num_devices"}


def test_only_updates_that_are_short_enough_are_counted_as_such():
    """A zero update is short; one that is no number is not."""
    counting = UpdatePrivacy(hidden=True, count_unclipped=True, local_noise_multiplier=0)
    rows = np.zeros((4, SIZE), np.float32)
    rows[1, 0], rows[2, 0], rows[3, 0] = 1.0, 1.5, np.inf
    reply = summed(rows, 1.0, counting)
    assert (reply.num_unclipped, reply.num_devices) == (2, 4)
