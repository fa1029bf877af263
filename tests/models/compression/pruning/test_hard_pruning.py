from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.pruning.hard_pruning import (
    Criterion,
    PruningSettings,
    WeighedTexts,
    count_words,
    frequent_characters,
    prune,
    splitting_figures,
    token_scores,
    word_scores,
)
from models.compression.pruning.vocabulary import line_bytes
from models.compression.teacher.text_teacher import (
    TeacherSettings,
    attention_received,
    load_text_teacher,
)
from models.errors import BudgetError, DataError
from models.wordpiece import CHARACTERS_PER_TOKEN, UNKNOWN, TokenizerSettings, build_tokenizer
from tests.models.conftest import LETTERS, TEACHER_PIECES, WORDS

CRITERIA = get_args(Criterion)
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=32)
FULL = build_tokenizer(TEACHER_PIECES, READING)
ROW_BYTES, MAX_TOKENS = 10, 32


@pytest.fixture(scope="module")
def teacher(teacher_folder):
    return load_text_teacher(teacher_folder, TeacherSettings(max_tokens=32, batch_size=4))


def weighed(texts, weight=1.0, attention_seed=0):
    """Texts with their true counts, and attention that is not just a count."""
    flat = [index for text in texts for index in FULL.encode(text).ids]
    occurrences = np.bincount(flat, minlength=len(TEACHER_PIECES))
    per_place = np.random.default_rng(attention_seed).uniform(0.1, 3, len(TEACHER_PIECES))
    return WeighedTexts(texts, occurrences * per_place, occurrences, weight)


def pruned(teacher, corpora, criterion="attention", budget_bytes=10**5, seed=0, min_count=10**6):
    settings_ = PruningSettings(criterion=criterion, character_min_count=min_count, item_weight=1.0)
    return prune(corpora, teacher, MAX_TOKENS, ROW_BYTES, budget_bytes, settings_, seed)


@pytest.fixture(scope="module")
def required_bytes(teacher):
    return sum(
        ROW_BYTES + line_bytes(piece) for piece in pruned(teacher, [weighed(["?"])])[0].pieces
    )


def test_scores_by_hand():
    # Two texts of two places, one head. Word 7 stands in both, words 5 and 6 in one each.
    looks = torch.tensor([[[[0.9, 0.1], [0.6, 0.4]]], [[[0.2, 0.8], [0.0, 1.0]]]])
    received = attention_received([looks], torch.ones(2, 2, dtype=torch.int64)).numpy()
    words = np.array([[7, 5], [6, 7]])
    per_word = np.bincount(words.ravel(), received.ravel(), minlength=8)
    scores = token_scores([per_word], [2], [1.0])
    # s(7) = (0.9 + 0.6 + 0.8 + 1.0) / 2, s(5) = (0.1 + 0.4) / 2, s(6) = (0.2 + 0.0) / 2
    np.testing.assert_allclose(scores[5:], [0.5 / 2, 0.2 / 2, 3.3 / 2], rtol=1e-6)


def test_each_criterion_scores_what_it_says():
    texts = WeighedTexts(["a", "b"], np.array([4.0, 1.0, 0.0]), np.array([2, 6, 0]), 3.0)
    np.testing.assert_allclose(word_scores([texts], "attention", 0), [4 / 2, 1 / 2, 0])
    np.testing.assert_allclose(word_scores([texts], "frequency", 0), [2 / 2, 6 / 2, 0])
    lot = word_scores([texts], "random", 0)
    assert (lot > 0).tolist() == [True, True, False]


word_lists = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text(LETTERS + "é中", min_size=1, max_size=9)),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=10)
@given(words=word_lists, extra_bytes=st.integers(0, 600), seed=st.integers(0, 9), data=st.data())
def test_what_pruning_promises(criterion, words, extra_bytes, seed, data, teacher, required_bytes):
    budget = required_bytes + extra_bytes
    corpora = [weighed([" ".join(words)], 2.5), weighed(["old house", "river"])]
    vocabulary, figures = pruned(teacher, corpora, criterion, budget, seed)
    assert pruned(teacher, corpora, criterion, budget, seed)[0] == vocabulary
    used = figures["embedding_bytes"] + figures["vocabulary_bytes"]
    assert used == sum(ROW_BYTES + line_bytes(piece) for piece in vocabulary.pieces) <= budget
    assert len(vocabulary.pieces) == len(vocabulary.teacher_pieces) == figures["words_after"]
    assert not any(piece.startswith("[unused") for piece in vocabulary.pieces)
    # What the teacher's letters spell is spelt, whatever was kept.
    word = data.draw(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=25))
    pieces = build_tokenizer(vocabulary.pieces, READING).encode(word).tokens[1:-1]
    assert UNKNOWN not in pieces
    assert "".join(piece.removeprefix("##") for piece in pieces) == word
    assert figures["unknown_rate_after"] <= figures["unknown_rate_before"]
    for name in ("attention_kept", "occurrences_kept", "words_whole_after"):
        assert 0 <= figures[name] <= 1 + 1e-12


def test_with_room_for_all_nothing_is_lost(teacher):
    corpora = [weighed(["old house by the river", "love story (1995)"])]
    _, figures = pruned(teacher, corpora)
    assert figures["attention_kept"] == figures["occurrences_kept"] == 1
    assert figures["length_growth"] == 1
    assert figures["words_whole_before"] == figures["words_whole_after"] == 7 / 10  # by, the, 1995


def test_the_criterion_decides(teacher, required_bytes):
    # "heat" is met twice and looked at little; "moon" once, and much.
    occurrences = np.zeros(len(TEACHER_PIECES), np.int64)
    attention = np.zeros(len(TEACHER_PIECES))
    heat, moon = TEACHER_PIECES.index("heat"), TEACHER_PIECES.index("moon")
    occurrences[[heat, moon]], attention[[heat, moon]] = (2, 1), (1.0, 9.0)
    corpora = [WeighedTexts(["heat heat moon"], attention, occurrences, 1.0)]
    budget = required_bytes + ROW_BYTES + line_bytes("heat")  # room for one of them
    by_attention, figures = pruned(teacher, corpora, "attention", budget)
    assert "moon" in by_attention.pieces
    assert "heat" not in by_attention.pieces
    assert figures["attention_kept"] == 9 / 10
    assert figures["occurrences_kept"] == 1 / 3
    assert figures["words_whole_after"] == 1 / 3
    assert "heat" in pruned(teacher, corpora, "frequency", budget)[0].pieces


def test_the_lot_falls_by_seed(teacher, required_bytes):
    corpora = [weighed([" ".join(WORDS)])]
    kept = {pruned(teacher, corpora, "random", required_bytes + 100, s)[0] for s in range(4)}
    assert len(kept) > 1


def test_a_weight_counts_like_as_many_texts(teacher, required_bytes):
    three = [weighed(["heat"] * 3 + ["moon"] * 2)]
    weighty = [weighed(["heat"], 3.0), weighed(["moon"], 2.0)]
    for criterion in CRITERIA:
        first, second = (
            pruned(teacher, corpora, criterion, required_bytes + 40)[0]
            for corpora in (three, weighty)
        )
        assert first == second


def test_a_frequent_character_is_kept(teacher):
    vocabulary, _ = pruned(teacher, [weighed(["zz z"])], min_count=3)
    assert {"z", "##z"} <= set(vocabulary.pieces)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n"]])
def test_a_corpus_without_words_raises(criterion, texts, teacher):
    with pytest.raises(DataError, match=r"no words.*give texts"):
        pruned(teacher, [weighed(texts)], criterion)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_budget_nothing_fits_raises(criterion, teacher):
    with pytest.raises(BudgetError, match="raise the budget"):
        pruned(teacher, [weighed(["heat"])], criterion, budget_bytes=100)


def test_words_are_counted_as_they_are_read():
    assert count_words(["Heat, HEAT (1995)"], FULL, READING) == {
        "heat": 2, ",": 1, "(": 1, "1995": 1, ")": 1,
    }  # fmt: skip


def test_a_megabyte_is_counted_as_far_as_it_is_read():
    counts = count_words(["moon " * 1_000_000], FULL, READING)
    assert counts["moon"] == CHARACTERS_PER_TOKEN * READING.max_tokens // len("moon ")


def test_frequent_characters_are_counted_after_normalising():
    assert frequent_characters(count_words(["Éé A", "ñ"], FULL, READING), 2) == {"e"}


def test_splitting_figures_of_a_lost_word():
    bare = build_tokenizer([p for p in TEACHER_PIECES if p not in ("heat", "##h")], READING)
    figures = splitting_figures({"heat": 3, "a": 1}, FULL, bare)
    assert figures == {  # heat -> h ##e ##a ##t, 3 times; a stays
        "unknown_rate_before": 0,
        "unknown_rate_after": 0,
        "length_growth": (3 * 4 + 1) / 4,
        "words_whole_before": 1,
        "words_whole_after": 1 / 4,
    }
    no_letter = build_tokenizer([p for p in TEACHER_PIECES if p not in ("heat", "##e")], READING)
    figures = splitting_figures({"heat": 3, "a": 1}, FULL, no_letter)
    assert figures["unknown_rate_after"] == 3 / 4
    assert figures["words_whole_after"] == 1 / 4
