import dataclasses

import numpy as np
import pytest
from flwr.app import RecordDict

from clients.protocol.messages import EvalReply, EvalTask, TrainReply, TrainTask, UpdatePrivacy
from models.errors import EngineError
from models.metrics import MetricSums
from models.recommender import Personal
from tests.tiny_world import local_training


def reply(size: int = 4, **changes) -> TrainReply:
    values = {
        "update_sum": np.arange(size, dtype=np.float64) / 3,
        "num_devices": 2,
        "num_clipped": 1,
        "num_refused": 1,
        "loss_sum": 5.5,
        "norm_sum": 2.25,
    }
    return TrainReply(**(values | changes))


def test_a_train_task_survives_the_wire():
    task = TrainTask(
        np.array([1.5, -2], np.float32), np.array([7, 9]), 3, local_training(), PRIVATE
    )
    back = TrainTask.from_record(task.to_record())
    np.testing.assert_array_equal(back.parameters, task.parameters)
    np.testing.assert_array_equal(back.device_ids, task.device_ids)
    assert back.parameters.dtype == np.float32
    assert (back.round_number, back.training, back.privacy) == (3, task.training, PRIVATE)


def test_a_train_reply_survives_the_wire_in_float64():
    back = TrainReply.from_record(reply().to_record(), 4)
    np.testing.assert_array_equal(back.update_sum, reply().update_sum)
    assert back.update_sum.dtype == np.float64
    rest = [getattr(back, field.name) for field in dataclasses.fields(back)[1:]]
    assert rest == [2, 1, 1, 5.5, 2.25, None]


PRIVATE = UpdatePrivacy(hidden=True, count_unclipped=True, local_noise_multiplier=0.0)


def test_a_private_reply_survives_the_wire_without_what_is_hidden():
    sent = reply(num_unclipped=1).allowed_by(PRIVATE)
    back = TrainReply.from_record(sent.to_record(), 4, PRIVATE)
    rest = [getattr(back, field.name) for field in dataclasses.fields(back)[1:]]
    assert rest == [3, None, None, None, None, 1]
    total = TrainReply.nothing(4, PRIVATE) + back + back
    assert (total.num_devices, total.num_unclipped, total.loss_sum) == (6, 2, None)


def test_a_reply_that_says_what_must_not_leave_a_node_is_refused():
    with pytest.raises(EngineError, match="says loss_sum, norm_sum, num_clipped, num_refused, whi"):
        TrainReply.from_record(reply().to_record(), 4, PRIVATE)


def test_replies_add_up():
    total = TrainReply.nothing(4) + reply() + reply()
    np.testing.assert_array_equal(total.update_sum, 2 * reply().update_sum)
    assert (total.num_devices, total.num_clipped, total.loss_sum) == (4, 2, 11.0)


def test_a_reply_of_another_length_is_refused():
    with pytest.raises(EngineError, match=r"shape \(4,\).*wants \(5,\)"):
        TrainReply.from_record(reply().to_record(), 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_reply_that_is_not_finite_is_refused(bad):
    poisoned = reply(update_sum=np.array([0.0, bad, 0.0, 0.0]))
    with pytest.raises(EngineError, match="not finite"):
        TrainReply.from_record(poisoned.to_record(), 4)


@pytest.mark.parametrize(("clipped", "devices"), [(-1, 3), (4, 3), (0, -2)])
def test_a_reply_that_counts_impossibly_is_refused(clipped, devices):
    wrong = reply(num_clipped=clipped, num_devices=devices)
    with pytest.raises(EngineError, match="the node counts wrongly"):
        TrainReply.from_record(wrong.to_record(), 4)


def test_an_evaluation_survives_the_wire_and_adds_up_by_tier():
    low = MetricSums({"hr@10": 2.0}, 5)
    high = MetricSums({"hr@10": 3.0}, 7)
    sent = EvalReply({("low", "full"): low, ("high/end", "full"): high})
    back = EvalReply.from_record(sent.to_record())
    assert back == sent
    assert (back + back).total("full") == MetricSums({"hr@10": 10.0}, 24)
    sent = EvalTask(np.array([1.0], np.float32), np.array([4, 7]), 3, 8)
    task = EvalTask.from_record(sent.to_record())
    assert (task.parameters.tolist(), task.device_ids.tolist()) == ([1.0], [4, 7])
    assert (task.round_number, task.block_bytes) == (3, 8)


def test_personal_parameters_have_no_way_into_a_message():
    """No message type holds `Personal`, and Flower's records refuse it."""
    for message in (TrainTask, TrainReply, EvalTask, EvalReply):
        assert not any("Personal" in str(field.type) for field in dataclasses.fields(message))
    with pytest.raises(TypeError):
        RecordDict({"arrays": Personal(None)})
