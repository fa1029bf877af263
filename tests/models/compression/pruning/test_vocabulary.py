import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.pruning.vocabulary import (
    PRINTABLE_ASCII,
    Vocabulary,
    keep_best,
    line_bytes,
    required_pieces,
    spell,
    spelling_pieces,
)
from models.errors import BudgetError
from models.wordpiece import (
    LONGEST_WORD,
    SPECIAL_TOKENS,
    UNKNOWN,
    TokenizerSettings,
    build_tokenizer,
    split_words,
    stands_alone,
)
from tests.models.conftest import TEACHER_PIECES

SPECIAL_IDS = list(range(len(SPECIAL_TOKENS)))
IDS = {piece: index for index, piece in enumerate(TEACHER_PIECES)}
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=128)
ROW_BYTES = 10
REQUIRED = required_pieces(TEACHER_PIECES, SPECIAL_IDS, set())
REQUIRED_BYTES = sum(ROW_BYTES + line_bytes(TEACHER_PIECES[index]) for index in REQUIRED)


def drawn_scores(seed):
    """Worths of all the teacher's words: some alike, some 0."""
    return np.random.default_rng(seed).integers(0, 60, len(TEACHER_PIECES)) / 10


some_scores = st.integers(0, 1000).map(drawn_scores)


def keep(scores, budget_bytes, characters=frozenset()):
    return keep_best(TEACHER_PIECES, SPECIAL_IDS, scores, set(characters), ROW_BYTES, budget_bytes)


@settings(max_examples=50)
@given(
    some_scores,
    st.integers(0, 1500),
)
def test_what_keeping_promises(scores, extra_bytes):
    budget = REQUIRED_BYTES + extra_bytes
    vocabulary = keep(scores, budget)
    assert vocabulary.pieces[:5] == SPECIAL_TOKENS
    assert sum(ROW_BYTES + line_bytes(piece) for piece in vocabulary.pieces) <= budget
    assert [TEACHER_PIECES[index] for index in vocabulary.teacher_ids] == list(vocabulary.pieces)
    assert not any(piece.startswith("[unused") for piece in vocabulary.pieces)
    kept = set(vocabulary.teacher_ids.tolist())
    assert set(REQUIRED) <= kept
    dropped = set(IDS.values()) - kept
    worst_dropped = max(
        (scores[k] for k in dropped if not TEACHER_PIECES[k].startswith("[unused")), default=0
    )
    assert all(scores[index] >= worst_dropped for index in kept - set(REQUIRED))


@given(
    some_scores,
    st.integers(0, 1500),
    st.text(alphabet="abcxyz019AZé", min_size=1, max_size=LONGEST_WORD + 5),
)
def test_no_kept_set_breaks_the_fallback(scores, extra_bytes, word):
    """Whatever is kept, all that the teacher's letters can spell is still spelt."""
    vocabulary = keep(scores, REQUIRED_BYTES + extra_bytes)
    tokenizer = build_tokenizer(vocabulary.pieces, READING)
    (normal,) = split_words(word, tokenizer)
    pieces = tokenizer.encode(word).tokens[1:-1]
    if len(normal) > LONGEST_WORD:
        assert pieces == [UNKNOWN]
    else:
        assert UNKNOWN not in pieces
        assert "".join(piece.removeprefix("##") for piece in pieces) == normal


@given(
    st.sets(st.sampled_from(["ß", "##ß", "ø", "##ø", "aß", "##aß", "##øßb", "bø"])),
    some_scores,
    st.integers(0, 300),
    st.text(alphabet="abßø", min_size=1, max_size=6),
)
def test_characters_that_the_teacher_spells_in_one_form_only(forms, scores, extra_bytes, word):
    """A form that the teacher has is kept; with all forms there, no fallback fails."""
    teacher = [*TEACHER_PIECES, *sorted(forms)]
    worth = np.concatenate([scores, np.random.default_rng(len(forms)).integers(0, 9, len(forms))])
    required = required_pieces(teacher, SPECIAL_IDS, {"ß", "ø"})
    budget = sum(ROW_BYTES + line_bytes(teacher[index]) for index in required) + extra_bytes
    kept = keep_best(teacher, SPECIAL_IDS, worth, {"ß", "ø"}, ROW_BYTES, budget).pieces
    assert forms & {"ß", "##ß", "ø", "##ø"} <= set(kept)
    if {word[0], *(f"##{letter}" for letter in word[1:])} <= set(kept):
        tokenizer = build_tokenizer(kept, TokenizerSettings(True, False, 128))
        pieces = tokenizer.encode(word).tokens[1:-1]
        assert UNKNOWN not in pieces
        assert "".join(piece.removeprefix("##") for piece in pieces) == word


def test_characters_beyond_ascii_are_kept_with_their_continuation():
    pieces = [*TEACHER_PIECES, "é", "##é", "ß"]
    assert [pieces[k] for k in required_pieces(pieces, SPECIAL_IDS, {"é", "ß"})][-3:] == [
        "ß", "é", "##é",
    ]  # fmt: skip


def test_what_stands_alone_needs_no_continuation():
    pieces = spelling_pieces({"中", "é"})
    assert {"a", "##a", "7", "##7", "é", "##é", "-", "中"} <= set(pieces)
    assert not {"##-", "##中"} & set(pieces)
    assert len(pieces) == len(set(pieces))


@settings(max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_what_stands_alone_is_never_within_a_word(text):
    """So its continuing form can never be asked for."""
    tokenizer = build_tokenizer(SPECIAL_TOKENS, TokenizerSettings(False, False, 128))
    for word in split_words(f"{text} a{text[::-1]}a", tokenizer):
        assert not any(stands_alone(character) for character in word[1:])


def test_a_budget_nothing_fits_raises():
    with pytest.raises(BudgetError, match="need 1 bytes more"):
        keep(np.ones(len(TEACHER_PIECES)), REQUIRED_BYTES - 1)


def test_words_never_met_are_not_kept():
    scores = np.zeros(len(TEACHER_PIECES))
    scores[IDS["heat"]] = 0.1
    kept = keep(scores, 10**6).pieces
    assert "heat" in kept
    assert "river" not in kept


def test_special_tokens_stand_first_wherever_the_teacher_has_them():
    moved = [*TEACHER_PIECES[5:], *SPECIAL_TOKENS[::-1]]
    ids = [moved.index(token) for token in SPECIAL_TOKENS]
    vocabulary = keep_best(moved, ids, np.ones(len(moved)), set(), ROW_BYTES, 10**6)
    assert vocabulary.pieces[:5] == SPECIAL_TOKENS
    assert vocabulary.teacher_ids[:5].tolist() == ids


@given(st.text(alphabet="abcdefghij", min_size=1, max_size=12), st.booleans())
def test_spelling_agrees_with_the_tokenizer(word, within):
    tokenizer = build_tokenizer(TEACHER_PIECES, READING)
    if not within:
        assert list(spell(word, IDS)) == tokenizer.encode(word).ids[1:-1]
    joined = "".join(TEACHER_PIECES[k].removeprefix("##") for k in spell("##" * within + word, IDS))
    assert joined == word


def test_spelling_takes_the_other_form_where_one_is_missing():
    assert spell("éa", {"é": 7, "##a": 8}) == (7, 8)
    assert spell("aé", {"é": 7, "a": 8}) == (8, 7)
    assert spell("ax", {"a": 8}) == ()


def test_seed_embeddings_are_means_of_what_a_piece_is_made_of():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    vocabulary = Vocabulary(("a", "ab", "abc"), ((2,), (0, 1), (3, 3, 0)))
    np.testing.assert_allclose(
        vocabulary.seed_embeddings(table), [[6, 7, 8], [3 / 2, 5 / 2, 7 / 2], [6, 7, 8]]
    )
    plain = Vocabulary.of_teacher(TEACHER_PIECES[:4], [3, 1])
    assert plain.pieces == (TEACHER_PIECES[3], TEACHER_PIECES[1])
    np.testing.assert_array_equal(plain.seed_embeddings(table), table[[3, 1]])


def test_taking_rows_takes_both_sides():
    vocabulary = Vocabulary(("a", "ab", "abc"), ((2,), (0, 1), (3,)))
    assert vocabulary.take(np.array([2, 0])) == Vocabulary(("abc", "a"), ((3,), (2,)))


def test_teacher_ids_of_mixed_pieces_raise():
    with pytest.raises(ValueError, match="afresh"):
        _ = Vocabulary(("ab",), ((0, 1),)).teacher_ids


def test_ascii_is_all_that_prints():
    assert len(PRINTABLE_ASCII) == 94
    assert PRINTABLE_ASCII.isprintable()
