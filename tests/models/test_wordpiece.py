import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from models.wordpiece import (
    CHARACTERS_PER_TOKEN,
    LONGEST_WORD,
    SPECIAL_TOKENS,
    UNKNOWN,
    TokenizerSettings,
    build_tokenizer,
    cut,
    split_words,
    stands_alone,
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


@given(st.text(alphabet=LETTERS + "BxéÉ -.中", max_size=60))
def test_each_word_of_a_text_is_its_pieces_unless_unknown(text):
    tokenizer = build_tokenizer(PIECES, SETTINGS)
    words = split_words(text, tokenizer)
    spelt = []
    for piece in tokenizer.encode(text, add_special_tokens=False).tokens:
        if piece.startswith("##"):
            spelt[-1] += piece.removeprefix("##")
        else:
            spelt.append(piece)
    assert spelt == [word if set(word) <= set(LETTERS) else UNKNOWN for word in words]


def test_longest_match_wins():
    assert build_tokenizer(PIECES, SETTINGS).encode("ABCde").tokens == [
        "[CLS]",
        "abc",
        "##de",
        "[SEP]",
    ]


def test_long_text_is_cut_to_max_tokens():
    short = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=5)
    assert build_tokenizer(PIECES, short).encode("a b c d e").tokens == [
        "[CLS]", "a", "b", "c", "[SEP]",
    ]  # fmt: skip


def test_a_megabyte_costs_no_more_than_a_page():
    tokenizer = build_tokenizer(PIECES, SETTINGS)
    text = "abc " * 2_000_000
    read = cut(text, SETTINGS.max_tokens)
    assert len(read) == CHARACTERS_PER_TOKEN * SETTINGS.max_tokens
    assert len(tokenizer.encode(read).ids) == SETTINGS.max_tokens


def test_half_a_character_pair_is_readable():
    read = cut("a \ud800", SETTINGS.max_tokens)
    assert build_tokenizer(PIECES, SETTINGS).encode(read).tokens[1] == "a"


@given(st.booleans(), st.booleans(), st.integers(3, 512))
def test_settings_round_trip(lowercase, strip_accents, max_tokens):
    written = TokenizerSettings(lowercase, strip_accents, max_tokens)
    assert TokenizerSettings.from_bytes(written.to_bytes()) == written


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


def test_a_vocabulary_with_duplicates_builds_no_tokenizer():
    with pytest.raises(DataError, match=r"twice .*'abc'"):
        build_tokenizer([*PIECES, "abc"], SETTINGS)


def test_which_characters_stand_alone():
    assert [character for character in "aé7ß-.$中" if stands_alone(character)] == [*"-.$中"]
