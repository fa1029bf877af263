import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModel, PreTrainedTokenizerFast

from models.compression import text_teacher
from models.compression.text_teacher import (
    TeacherSettings,
    attention_received,
    load_text_teacher,
    mean_pool,
    read,
    read_now,
)
from models.errors import DataError
from models.wordpiece import SPECIAL_TOKENS
from tests.models.conftest import TEACHER_PIECES, save_teacher, tiny_teacher_model

SETTINGS = TeacherSettings(max_tokens=16, batch_size=2)
TEXTS = ["heat", "old house by the river in the night", "love story (1995)"]


@pytest.fixture(scope="module")
def teacher(teacher_folder):
    return load_text_teacher(teacher_folder, SETTINGS)


def test_vectors_are_masked_means_of_length_one(teacher, teacher_folder):
    vectors = read_now(teacher, TEXTS).vectors
    model = AutoModel.from_pretrained(teacher_folder).eval()
    for text, vector in zip(TEXTS, vectors, strict=True):
        alone = teacher.tokenizer(text, return_tensors="pt")  # no padding: the slow truth
        with torch.no_grad():
            mean = model(**alone).last_hidden_state[0].mean(dim=0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_all_attention_is_received_by_someone(teacher):
    reading = read_now(teacher, TEXTS)
    # Every place hands out attention 1, so what is received adds up to the number of places.
    assert reading.attention_received.sum() == pytest.approx(reading.occurrences.sum(), rel=1e-5)
    assert reading.occurrences[teacher.special_ids[0]] == 0  # padding is not counted
    assert reading.attention_received[teacher.special_ids[0]] == 0


def test_attention_received_by_hand():
    # One head, one layer, three places, the last is padding. Rows look, columns are looked at.
    looks = torch.tensor([[[[0.75, 0.25, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]]])
    mask = torch.tensor([[1, 1, 0]])
    received = attention_received([looks], mask)
    torch.testing.assert_close(received, torch.tensor([[0.75 + 0.5, 0.25 + 0.5, 0.0]]))


def test_attention_received_is_the_mean_over_layers_and_heads():
    first, second = torch.eye(2), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    layers = [torch.stack([first, second])[None], torch.stack([second, second])[None]]
    received = attention_received(layers, torch.ones(1, 2, dtype=torch.int64))
    torch.testing.assert_close(received, torch.tensor([[1 / 4, 1 / 4 + 6 / 4]]))


@pytest.mark.parametrize("attentions", [(), (None, None)])
def test_no_attentions_raise(attentions):
    with pytest.raises(DataError, match="eager"):
        attention_received(attentions, torch.ones(1, 2, dtype=torch.int64))


def test_a_teacher_without_attentions_raises(teacher, teacher_folder):
    silent_model = AutoModel.from_pretrained(teacher_folder, attn_implementation="sdpa").eval()
    mute = text_teacher.TextTeacher(silent_model, teacher.tokenizer, SETTINGS, "mute")
    with pytest.raises(DataError, match="no attentions"):
        read_now(mute, TEXTS)


def test_mean_pool_ignores_padding():
    states = torch.tensor([[[1.0], [3.0], [100.0]]])
    torch.testing.assert_close(mean_pool(states, torch.tensor([[1, 1, 0]])), torch.tensor([[2.0]]))


def test_second_reading_comes_from_the_cache(teacher, tmp_path, monkeypatch):
    first = read(teacher, TEXTS, tmp_path)
    monkeypatch.setattr(text_teacher, "read_now", None)  # reading again would fail
    again = read(teacher, TEXTS, tmp_path)
    assert isinstance(again.vectors, np.memmap)
    np.testing.assert_array_equal(again.vectors, first.vectors)
    np.testing.assert_array_equal(again.attention_received, first.attention_received)
    np.testing.assert_array_equal(again.occurrences, first.occurrences)


def test_other_texts_or_settings_are_read_anew(teacher, tmp_path):
    read(teacher, ["ab", "c"], tmp_path)
    read(teacher, ["a", "bc"], tmp_path)
    shorter = text_teacher.TextTeacher(
        teacher.model, teacher.tokenizer, TeacherSettings(max_tokens=8, batch_size=2), "x"
    )
    read(shorter, ["a", "bc"], tmp_path)
    assert len(list((tmp_path / "teacher-readings").iterdir())) == 3


def test_a_broken_store_is_read_again(teacher, tmp_path):
    read(teacher, TEXTS, tmp_path)
    (folder,) = (tmp_path / "teacher-readings").iterdir()
    (folder / "counts.npz").unlink()  # written last: without it the reading is not whole
    (folder / "vectors.npy").write_bytes(b"half")
    assert read(teacher, TEXTS, tmp_path).vectors.shape == (3, 32)


def test_no_texts_raise(teacher, tmp_path):
    with pytest.raises(DataError, match="no texts"):
        read(teacher, [], tmp_path)


def test_fingerprint_knows_the_weights(teacher, tmp_path):
    other = save_teacher(tiny_teacher_model(seed=1), tmp_path)
    assert load_text_teacher(other, SETTINGS).fingerprint != teacher.fingerprint


def test_vocabulary_has_our_names_of_special_tokens(teacher):
    assert teacher.standard_vocabulary == TEACHER_PIECES
    assert [TEACHER_PIECES[index] for index in teacher.special_ids] == list(SPECIAL_TOKENS)
    assert teacher.lowercase
    assert teacher.strip_accents


def test_a_wrong_path_names_the_cure(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*model\.safetensors"):
        load_text_teacher(tmp_path / "nowhere", SETTINGS)


def test_pickled_weights_are_refused(teacher_folder, tmp_path):
    for path in teacher_folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(tiny_teacher_model().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        load_text_teacher(tmp_path, SETTINGS)


def test_missing_weights_are_refused(tmp_path):
    save_teacher(tiny_teacher_model(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks weights.*layer\.1\.output\.dense\.weight"):
        load_text_teacher(tmp_path, SETTINGS)


def test_a_pooler_that_is_not_there_does_not_count(teacher, teacher_folder):
    # Its weights are drawn anew at each loading; vectors and fingerprint must not notice.
    again = load_text_teacher(teacher_folder, SETTINGS)
    assert again.fingerprint == teacher.fingerprint


def test_nan_weights_are_refused(tmp_path):
    model = tiny_teacher_model()
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"layer\.0\.output\.dense\.weight has NaN"):
        load_text_teacher(save_teacher(model, tmp_path), SETTINGS)


def test_other_vocabularies_are_refused(tmp_path):
    tiny_teacher_model().save_pretrained(tmp_path)
    words = Tokenizer(WordLevel({piece: k for k, piece in enumerate(TEACHER_PIECES)}, "[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="WordPiece"):
        load_text_teacher(tmp_path, SETTINGS)
