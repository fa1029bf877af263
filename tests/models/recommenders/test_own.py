"""What is found out about a model before any training."""

import pytest
import torch

from models.errors import SettingsError
from models.recommenders.own import OwnModel, check_own, layout_of
from tests.own_models import (
    DrawsAnew,
    ForgetsPadding,
    LossPerEvent,
    Mean,
    NoTensors,
    WrongShape,
)

NUM_ITEMS = 9


@pytest.mark.parametrize("num_negatives", [0, 3])
def test_a_good_model_passes_and_its_start_is_unchanged(num_negatives: int):
    start = check_own(Mean(), NUM_ITEMS, num_negatives, 5)
    for name, value in Mean().start(NUM_ITEMS, 5).items():
        assert torch.equal(start[name], value)
    assert layout_of(start).names == ("chosen", "popularity", "shown")
    assert layout_of(start).size == NUM_ITEMS * (2 * Mean.dim + 1)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (ForgetsPadding(), r"ForgetsPadding\.loss changes when a history is padded"),
        (DrawsAnew(), "DrawsAnew.start gives another .*manual_seed"),
        (WrongShape(), r"scores gives shape \(8,\), the catalogue has \(9,\)"),
        (LossPerEvent(), "LossPerEvent cannot be run for a block"),
        (NoTensors(), "must give a dict of names and tensors of floating-point numbers"),
    ],
)
def test_a_model_that_would_go_wrong_is_refused(model: OwnModel, says: str):
    with pytest.raises(SettingsError, match=says):
        check_own(model, NUM_ITEMS, 0, 5)
