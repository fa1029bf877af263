import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.pruning import (
    PRINTABLE_ASCII,
    frequent_characters,
    line_bytes,
    prune_vocabulary,
    required_pieces,
    splitting_figures,
    token_scores,
)
from models.compression.text_teacher import attention_received
from models.errors import BudgetError
from models.wordpiece import SPECIAL_TOKENS, UNKNOWN, TokenizerSettings, build_tokenizer
from tests.models.conftest import TEACHER_PIECES

SPECIAL_IDS = list(range(len(SPECIAL_TOKENS)))
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=32)
ROW_BYTES = 10
REQUIRED = required_pieces(TEACHER_PIECES, SPECIAL_IDS, set())
REQUIRED_BYTES = sum(ROW_BYTES + line_bytes(TEACHER_PIECES[index]) for index in REQUIRED)


def test_scores_by_hand():
    # Two texts of two places, one head. Word 7 stands in both, words 5 and 6 in one each.
    looks = torch.tensor([[[[0.9, 0.1], [0.6, 0.4]]], [[[0.2, 0.8], [0.0, 1.0]]]])
    received = attention_received([looks], torch.ones(2, 2, dtype=torch.int64)).numpy()
    words = np.array([[7, 5], [6, 7]])
    per_word = np.bincount(words.ravel(), received.ravel(), minlength=8)
    scores = token_scores([per_word], [2], [1.0])
    # s(7) = (0.9 + 0.6 + 0.8 + 1.0) / 2, s(5) = (0.1 + 0.4) / 2, s(6) = (0.2 + 0.0) / 2
    np.testing.assert_allclose(scores[5:], [0.5 / 2, 0.2 / 2, 3.3 / 2], rtol=1e-6)


def prune(scores, budget_bytes, characters=frozenset()):
    return prune_vocabulary(
        TEACHER_PIECES, SPECIAL_IDS, scores, set(characters), ROW_BYTES, budget_bytes
    )


@settings(max_examples=50)
@given(
    st.lists(st.floats(0, 10), min_size=len(TEACHER_PIECES), max_size=len(TEACHER_PIECES)),
    st.integers(0, 1500),
)
def test_what_pruning_promises(scores, extra_bytes):
    scores = np.asarray(scores)
    budget = REQUIRED_BYTES + extra_bytes
    vocabulary = prune(scores, budget)
    assert vocabulary.pieces[:5] == SPECIAL_TOKENS
    assert sum(ROW_BYTES + line_bytes(piece) for piece in vocabulary.pieces) <= budget
    assert [TEACHER_PIECES[index] for index in vocabulary.teacher_ids] == list(vocabulary.pieces)
    assert not any(piece.startswith("[unused") for piece in vocabulary.pieces)
    assert set(REQUIRED) <= set(vocabulary.teacher_ids)
    dropped = set(range(len(TEACHER_PIECES))) - set(vocabulary.teacher_ids)
    worst_dropped = max(
        (scores[k] for k in dropped if not TEACHER_PIECES[k].startswith("[unused")), default=0
    )
    free = set(vocabulary.teacher_ids) - set(REQUIRED)
    assert all(scores[index] >= worst_dropped for index in free)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=40))
def test_no_kept_set_breaks_the_fallback(word):
    """Even with no word kept, all that the teacher's letters can spell is still spelt."""
    bare = build_tokenizer(prune(np.zeros(len(TEACHER_PIECES)), REQUIRED_BYTES).pieces, READING)
    pieces = bare.encode(word).tokens[1:-1]
    assert UNKNOWN not in pieces[: READING.max_tokens - 2]
    assert word.startswith("".join(piece.removeprefix("##") for piece in pieces))


def test_characters_beyond_ascii_are_kept_with_their_continuation():
    pieces = [*TEACHER_PIECES, "é", "##é", "ß"]
    assert [pieces[k] for k in required_pieces(pieces, SPECIAL_IDS, {"é", "ß"})][-3:] == [
        "ß", "é", "##é",
    ]  # fmt: skip


def test_a_budget_nothing_fits_raises():
    with pytest.raises(BudgetError, match="need 1 bytes more"):
        prune(np.ones(len(TEACHER_PIECES)), REQUIRED_BYTES - 1)


def test_words_never_met_are_not_kept():
    scores = np.zeros(len(TEACHER_PIECES))
    scores[TEACHER_PIECES.index("heat")] = 0.1
    kept = prune(scores, 10**6).pieces
    assert "heat" in kept
    assert "river" not in kept


def test_frequent_characters_are_counted_after_normalising():
    tokenizer = build_tokenizer(TEACHER_PIECES, READING)
    assert frequent_characters(["Éé A", "ñ"], tokenizer, 2) == {"e"}


def test_splitting_figures_of_a_lost_word():
    full = build_tokenizer(TEACHER_PIECES, READING)
    bare = build_tokenizer([p for p in TEACHER_PIECES if p not in ("heat", "##h")], READING)
    # [CLS] heat [SEP] -> [CLS] h ##e ##a ##t [SEP]
    figures = splitting_figures(["heat"], full, bare)
    assert figures == {"unknown_rate_before": 0, "unknown_rate_after": 0, "length_growth": 6 / 3}
    no_letter = build_tokenizer([p for p in TEACHER_PIECES if p not in ("heat", "##e")], READING)
    assert splitting_figures(["heat"], full, no_letter)["unknown_rate_after"] == 1 / 3


def test_ascii_is_all_that_prints():
    assert len(PRINTABLE_ASCII) == 94
    assert PRINTABLE_ASCII.isprintable()
