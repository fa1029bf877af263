import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from models.wordpiece import (
    LONGEST_WORD,
    SPECIAL_TOKENS,
    UNKNOWN,
    TokenizerSettings,
    build_tokenizer,
    cut,
    vocabulary_from_bytes,
    vocabulary_to_bytes,
)

LETTERS = "abcde"
PIECES = [*SPECIAL_TOKENS, *LETTERS, *("##" + letter for letter in LETTERS), "abc", "##de"]
SETTINGS = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=128)


@given(st.text(alphabet=LETTERS + "xé", min_size=1, max_size=LONGEST_WORD + 5))
def test_pieces_join_to_the_word_unless_unknown(word):
    tokenizer = build_tokenizer(PIECES, SETTINGS)
    normal = tokenizer.normalizer.normalize_str(word)
    pieces = tokenizer.encode(word).tokens[1:-1]
    spellable = set(normal) <= set(LETTERS) and len(normal) <= LONGEST_WORD
    if spellable:
        assert "".join(piece.removeprefix("##") for piece in pieces) == normal
    else:
        assert pieces == [UNKNOWN]


def test_longest_match_wins():
    assert build_tokenizer(PIECES, SETTINGS).encode("ABCde").tokens == [
        "[CLS]",
        "abc",
        "##de",
        "[SEP]",
    ]


def test_long_text_is_cut_to_max_tokens():
    settings = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=5)
    assert build_tokenizer(PIECES, settings).encode("a b c d e").tokens == [
        "[CLS]", "a", "b", "c", "[SEP]",
    ]  # fmt: skip


def test_a_megabyte_costs_no_more_than_a_page():
    tokenizer = build_tokenizer(PIECES, SETTINGS)
    text = "abc " * 2_000_000
    start = time.perf_counter()
    ids = tokenizer.encode(cut(text, SETTINGS)).ids
    assert len(ids) == SETTINGS.max_tokens
    assert time.perf_counter() - start < 0.5


def test_half_a_character_pair_is_readable():
    assert build_tokenizer(PIECES, SETTINGS).encode(cut("a \ud800", SETTINGS)).tokens[1] == "a"


@given(st.booleans(), st.booleans(), st.integers(3, 512))
def test_settings_round_trip(lowercase, strip_accents, max_tokens):
    settings = TokenizerSettings(lowercase, strip_accents, max_tokens)
    assert TokenizerSettings.from_bytes(settings.to_bytes()) == settings


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"lowercase": true}',
        b'{"lowercase": 1, "strip_accents": true, "max_tokens": 64}',
        b'{"lowercase": true, "strip_accents": true, "max_tokens": true}',
        b'{"lowercase": true, "strip_accents": true, "max_tokens": 2}',
        b'{"lowercase": true, "strip_accents": true, "max_tokens": 64, "more": 1}',
    ],
)
def test_bad_settings_are_refused(content):
    with pytest.raises(DataError):
        TokenizerSettings.from_bytes(content)


def test_vocabulary_round_trip():
    assert vocabulary_from_bytes(vocabulary_to_bytes(PIECES)) == PIECES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a\nb\n", "begins with"),
        (vocabulary_to_bytes([*PIECES, "abc"]), "twice"),
    ],
)
def test_bad_vocabulary_is_refused(content, reason):
    with pytest.raises(DataError, match=reason):
        vocabulary_from_bytes(content)
