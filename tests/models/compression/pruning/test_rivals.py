import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.pruning.rivals import fresh_vocabulary, random_scores
from models.compression.pruning.vocabulary import line_bytes, spelling_pieces
from models.errors import BudgetError
from models.wordpiece import SPECIAL_TOKENS, UNKNOWN, TokenizerSettings, build_tokenizer
from tests.models.conftest import LETTERS, TEACHER_PIECES

SPECIAL_IDS = list(range(len(SPECIAL_TOKENS)))
IDS = {piece: index for index, piece in enumerate(TEACHER_PIECES)}
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=128)
ROW_BYTES = 10
SPELLING = [piece for piece in spelling_pieces(set()) if piece.removeprefix("##") in LETTERS]
REQUIRED_BYTES = sum(ROW_BYTES + line_bytes(piece) for piece in (*SPECIAL_TOKENS, *SPELLING))
WORDS = Counter(low=9, lower=5, newest=12, widest=6, slow=3, cow=4)

word_counts = st.dictionaries(
    st.text(alphabet="abcdeé1", min_size=1, max_size=8), st.integers(1, 9), max_size=40
)


def fresh(words, budget_bytes, characters=frozenset()):
    return fresh_vocabulary(
        TEACHER_PIECES, SPECIAL_IDS, words, set(characters), ROW_BYTES, budget_bytes
    )


def test_the_first_merges_by_hand():
    # Neighbours, counted: ow 9 + 5 + 3 + 4 = 21; es and st 12 + 6 = 18, and then est 18; low 14.
    learnt = fresh(WORDS, 10**4).pieces[len(SPECIAL_TOKENS) + len(SPELLING) :]
    assert learnt[0] == "##ow"
    assert learnt[1] in ("##es", "##st")
    assert learnt[2:4] == ("##est", "low")


@settings(max_examples=40)
@given(word_counts, st.integers(0, 600))
def test_what_fresh_training_promises(words, extra_bytes):
    vocabulary = fresh(words, REQUIRED_BYTES + extra_bytes)
    assert vocabulary.pieces[: len(SPECIAL_TOKENS)] == SPECIAL_TOKENS
    assert set(SPELLING) <= set(vocabulary.pieces)
    assert len(set(vocabulary.pieces)) == len(vocabulary.pieces)
    bytes_used = sum(ROW_BYTES + line_bytes(piece) for piece in vocabulary.pieces)
    assert bytes_used <= REQUIRED_BYTES + extra_bytes
    assert fresh(words, REQUIRED_BYTES + extra_bytes) == vocabulary  # the same again
    for piece, ids in zip(vocabulary.pieces[5:], vocabulary.teacher_pieces[5:], strict=True):
        spelt = "".join(TEACHER_PIECES[k].removeprefix("##") for k in ids)
        assert spelt == piece.removeprefix("##")
        assert piece not in IDS or ids == (IDS[piece],)


@settings(max_examples=40)
@given(word_counts, st.integers(0, 600), st.text(alphabet="abcdexyz09", min_size=1, max_size=30))
def test_fresh_training_does_not_break_the_fallback(words, extra_bytes, word):
    vocabulary = fresh(words, REQUIRED_BYTES + extra_bytes)
    pieces = build_tokenizer(vocabulary.pieces, READING).encode(word).tokens[1:-1]
    assert UNKNOWN not in pieces
    assert "".join(piece.removeprefix("##") for piece in pieces) == word


def test_a_smaller_budget_keeps_the_first_of_a_larger_one():
    small, large = (fresh(WORDS, REQUIRED_BYTES + extra).pieces for extra in (60, 200))
    assert len(SPELLING) + 5 < len(small) < len(large)
    assert large[: len(small)] == small


def test_letters_that_the_teacher_lacks_are_left_out():
    vocabulary = fresh({"naïve": 50, "naïf": 50}, 10**4, characters="ï")
    assert not any("ï" in piece for piece in vocabulary.pieces)
    # The word is unknown as a whole, so its letters do not close ranks over the gap.
    assert not any("nav" in piece or "na" in piece for piece in vocabulary.pieces)


TRAINED_ELSEWHERE = """
import json, sys
from models.compression.pruning.rivals import fresh_vocabulary
arguments = json.loads(sys.argv[1])
arguments["characters"] = set()
print(json.dumps(fresh_vocabulary(**arguments).pieces))
"""


def test_another_process_trains_the_same():
    told = {
        "teacher_vocabulary": TEACHER_PIECES,
        "special_ids": SPECIAL_IDS,
        "words": WORDS,
        "row_bytes": ROW_BYTES,
        "budget_bytes": 10**4,
    }
    command = [sys.executable, "-c", TRAINED_ELSEWHERE, json.dumps(told)]
    here = Path(__file__).parents[4]
    printed = subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout
    assert tuple(json.loads(printed)) == fresh(WORDS, 10**4).pieces


def test_a_budget_nothing_fits_raises():
    with pytest.raises(BudgetError, match="need 1 bytes more"):
        fresh(WORDS, REQUIRED_BYTES - 1)


def test_the_lot_is_addressed_and_for_what_was_met():
    occurrences = np.array([3, 0, 1, 500] * 50)
    lot = random_scores(occurrences, seed=4)
    np.testing.assert_array_equal(lot, random_scores(occurrences, seed=4))
    assert not np.array_equal(lot, random_scores(occurrences, seed=5))
    np.testing.assert_array_equal(lot > 0, occurrences > 0)
    assert abs(np.corrcoef(lot[occurrences > 0], occurrences[occurrences > 0])[0, 1]) < 0.2
