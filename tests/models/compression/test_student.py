import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.compression.pretraining.batches import pad
from models.compression.student import Student, StudentSettings, build_student, count_weights
from tests.models.conftest import TINY

SETTINGS = StudentSettings.model_validate(TINY["student"])
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3]]


def encode(student, texts):
    with torch.no_grad():
        return student(*pad(texts)).numpy()


def test_vectors_are_of_length_one(student):
    vectors = encode(student, TEXTS)
    assert vectors.shape == (3, SETTINGS.vector_size)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_padding_changes_nothing(student):
    together = encode(student, TEXTS)
    alone = np.concatenate([encode(student, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_order_of_words_matters(student):
    assert np.abs(encode(student, [[2, 7, 8, 3]]) - encode(student, [[2, 8, 7, 3]])).max() > 1e-6


def test_passes_cost_no_weights():
    once = build_student(SETTINGS.model_copy(update={"passes": 1}), 40, seed=1)
    thrice = build_student(SETTINGS.model_copy(update={"passes": 3}), 40, seed=1)
    one, three = count_weights(once), count_weights(thrice)
    assert one["weights_stored"] == three["weights_stored"] == one["weights_applied"]
    layer = sum(p.numel() for p in once.layers.parameters())
    assert three["weights_applied"] == one["weights_applied"] + 2 * layer
    assert np.abs(encode(once, TEXTS) - encode(thrice, TEXTS)).max() > 1e-6


def test_same_seed_same_weights_and_torch_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build_student(SETTINGS, 40, seed=1).state_dict()
    assert torch.rand(1) == expected
    second = build_student(SETTINGS, 40, seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_heads_must_divide():
    with pytest.raises(ValidationError, match=r"num_heads is 3.*hidden_size 32"):
        StudentSettings.model_validate({**TINY["student"], "num_heads": 3})


def test_a_bag_of_words_is_one_width():
    with pytest.raises(ValidationError, match="a bag of words: set hidden_size = embedding_size"):
        StudentSettings.model_validate({**TINY["student"], "layers": 0})


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 0, "hidden_size": 24},
        {"layers": 3, "passes": 1},
        {"adapter_size": 4, "passes": 3},
        {"hidden_size": 24},
    ],
    ids=["static", "bert", "mini-albert", "not-widened"],
)
def test_every_kind_saves_and_loads_as_a_transformers_model(change, tmp_path):
    settings = StudentSettings.model_validate({**TINY["student"], **change})
    made = build_student(settings, 40, seed=1).eval()
    made.save_pretrained(tmp_path)
    again = Student.from_pretrained(tmp_path).eval()
    assert again.settings == settings
    np.testing.assert_array_equal(encode(made, TEXTS), encode(again, TEXTS))


def test_an_adapter_starts_as_nothing():
    settings = StudentSettings.model_validate({**TINY["student"], "adapter_size": 4})
    made = build_student(settings, 40, seed=1).eval()
    before = encode(made, TEXTS)
    for adapter in made.adapters:
        torch.nn.init.ones_(adapter.down.weight)  # the way up is still zero
    np.testing.assert_array_equal(encode(made, TEXTS), before)
