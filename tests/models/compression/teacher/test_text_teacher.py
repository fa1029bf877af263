import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordLevel
from transformers import AutoModel, AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast

from models.compression.student import mean_pool
from models.compression.teacher import text_teacher
from models.compression.teacher.text_teacher import (
    TeacherSettings,
    attention_received,
    load_text_teacher,
    read,
    read_now,
)
from models.errors import DataError
from models.wordpiece import SPECIAL_TOKENS, cut
from tests.models.conftest import (
    TEACHER_PIECES,
    WORDS,
    save_teacher,
    tiny_teacher_model,
)

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


FIELDS = ("vectors", "attention_received", "occurrences", "all_occurrences", "sample_size")
MANY = [" ".join(WORDS[(k * j) % len(WORDS)] for j in range(1 + k % 7)) for k in range(23)]


def assert_same(first, second):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(text_teacher, "CHUNK_TEXTS", 5)


@pytest.mark.parametrize("every", [1, 3])
def test_reading_with_and_without_the_cache_is_the_same(teacher, tmp_path, small_chunks, every):
    first = read(teacher, MANY, tmp_path, attention_every=every)
    assert isinstance(first.vectors, np.memmap)
    assert_same(first, read_now(teacher, MANY, attention_every=every))


def test_second_reading_comes_from_the_cache(teacher, tmp_path, monkeypatch):
    first = read(teacher, TEXTS, tmp_path)
    monkeypatch.setattr(text_teacher, "_read_chunk", None)  # reading again would fail
    assert_same(read(teacher, TEXTS, tmp_path), first)


@pytest.mark.parametrize("at_text", [3, 7, 22])
def test_a_stopped_reading_goes_on(teacher, tmp_path, small_chunks, at_text):
    def stop(what, done, total):
        if done >= at_text:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        read(teacher, MANY, tmp_path / "stopped", stop, attention_every=2)
    read(teacher, MANY, tmp_path / "stopped", lambda *told: seen.append(told), attention_every=2)
    assert seen[0][1] > at_text // 5 * 5  # what was done is not read again
    assert seen[-1] == ("text teacher", 23, 23)
    read(teacher, MANY, tmp_path / "unbroken", attention_every=2)
    (stopped,) = (tmp_path / "stopped" / "teacher-readings").iterdir()
    (unbroken,) = (tmp_path / "unbroken" / "teacher-readings").iterdir()
    for path in unbroken.iterdir():
        assert (stopped / path.name).read_bytes() == path.read_bytes()


def test_a_sample_is_looked_at_and_all_is_counted(teacher, small_chunks):
    everything = read_now(teacher, MANY)
    sample = read_now(teacher, MANY, attention_every=4)
    alone = read_now(teacher, MANY[::4])
    assert sample.sample_size == 6  # texts 0, 4, 8, ... 20
    np.testing.assert_array_equal(sample.occurrences, alone.occurrences)
    np.testing.assert_allclose(sample.attention_received, alone.attention_received, rtol=1e-5)
    np.testing.assert_array_equal(sample.all_occurrences, everything.occurrences)
    # The fused attention gives the same vectors, up to rounding.
    np.testing.assert_allclose(sample.vectors, everything.vectors, atol=1e-5)


def test_attention_everywhere_of_a_sample_of_all_is_what_was_received(teacher):
    reading = read_now(teacher, MANY)
    np.testing.assert_array_equal(reading.attention_everywhere, reading.attention_received)


def test_attention_everywhere_by_hand():
    reading = text_teacher.Reading(
        vectors=np.zeros((0, 1)),
        attention_received=np.array([6.0, 0.0, 0.0]),
        occurrences=np.array([3, 0, 0]),
        all_occurrences=np.array([5, 4, 0]),
        sample_size=1,
    )
    # A place received 6 / 3 on average. Word 0: (6 + 2) / (3 + 1) for each of the 2 places not
    # looked at; word 1 is not in the sample: the average, 4 times; word 2 is nowhere.
    np.testing.assert_allclose(reading.attention_everywhere, [6 + 2 * 2, 4 * 2, 0])


def test_a_sample_foretells_the_attention(teacher):
    everything = read_now(teacher, MANY * 3)
    guess = read_now(teacher, MANY * 3, attention_every=2).attention_everywhere
    assert np.corrcoef(guess, everything.attention_received)[0, 1] > 0.98


def test_the_model_is_left_as_it_was(teacher):
    read_now(teacher, TEXTS, attention_every=2)
    assert teacher.model.config._attn_implementation == "eager"


def test_a_megabyte_costs_no_more_than_a_page(teacher, monkeypatch):
    page = "old house by the river " * 40
    read = []

    def watched(text, max_tokens):
        read.append(cut(text, max_tokens))
        return read[-1]

    monkeypatch.setattr(text_teacher, "cut", watched)
    long, short = read_now(teacher, [page * 50_000, page]).vectors
    assert max(map(len, read)) <= len(page)
    np.testing.assert_allclose(long, short, atol=1e-6)


def test_other_texts_or_settings_are_read_anew(teacher, tmp_path):
    read(teacher, ["ab", "c"], tmp_path)
    read(teacher, ["a", "bc"], tmp_path)
    read(teacher, ["a", "bc"], tmp_path, attention_every=2)
    shorter = text_teacher.TextTeacher(
        teacher.model, teacher.tokenizer, TeacherSettings(max_tokens=8, batch_size=2), "x"
    )
    read(shorter, ["a", "bc"], tmp_path)
    assert len(list((tmp_path / "teacher-readings").iterdir())) == 4


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


def save_tokenizer(folder, vocabulary, **special):
    BertTokenizerFast(vocab=vocabulary, do_lower_case=True, **special).save_pretrained(folder)


def test_a_vocabulary_with_duplicates_is_refused(tmp_path):
    tiny_teacher_model().save_pretrained(tmp_path)
    # A vocab.txt with a line twice: the last line of a piece gives its id, the first id is free.
    lines = ["heat" if piece == "queen" else piece for piece in TEACHER_PIECES]
    save_tokenizer(tmp_path, {piece: index for index, piece in enumerate(lines)})
    with pytest.raises(DataError, match=r"stand in it twice .*\[\d+\].*vocab\.txt"):
        load_text_teacher(tmp_path, SETTINGS)


def test_a_special_token_under_a_name_that_is_taken_is_refused(tmp_path):
    tiny_teacher_model().save_pretrained(tmp_path)
    pieces = {piece: index for index, piece in enumerate(TEACHER_PIECES)}
    save_tokenizer(tmp_path, pieces, pad_token="[unused0]")
    with pytest.raises(DataError, match=r"pieces twice.*\[PAD\]"):
        load_text_teacher(tmp_path, SETTINGS)


def test_more_words_than_rows_are_refused(tmp_path):
    tiny_teacher_model().save_pretrained(tmp_path)
    save_tokenizer(tmp_path, {p: k for k, p in enumerate([*TEACHER_PIECES, "extra"])})
    with pytest.raises(DataError, match="not of one model"):
        load_text_teacher(tmp_path, SETTINGS)


def test_a_missing_special_token_is_refused(teacher_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    tokenizer.mask_token = None
    tiny_teacher_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no mask_token"):
        load_text_teacher(tmp_path, SETTINGS)


def test_another_normalising_is_refused(teacher_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tiny_teacher_model().save_pretrained(tmp_path)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    ).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="NFKC"):
        load_text_teacher(tmp_path, SETTINGS)


def test_texts_longer_than_the_teacher_can_read_are_refused(teacher_folder):
    with pytest.raises(DataError, match="at most 32 pieces, and max_tokens is 64"):
        load_text_teacher(teacher_folder, TeacherSettings(max_tokens=64, batch_size=2))
