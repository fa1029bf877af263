import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.compression.elastic.nested_words import nesting_order, size_for_budget, words_that_fit
from models.compression.export.encoder_graph import export_graph
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.quantization.few_bits import plan_bits
from models.compression.student import StudentSettings, build_student
from models.errors import BudgetError
from models.wordpiece import (
    SPECIAL_TOKENS,
    UNKNOWN,
    TokenizerSettings,
    build_tokenizer,
    vocabulary_to_bytes,
)

LETTERS = "abcde"
TEACHER = [
    *SPECIAL_TOKENS,
    *LETTERS,
    *("##" + letter for letter in LETTERS),
    *("abe", "bead", "##ce", "cab", "##ab", "dea", "##de", "ace"),
]
KEPT = Vocabulary.of_teacher(TEACHER, range(len(TEACHER)))
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=128)


def ordered(scores):
    return nesting_order(KEPT, np.asarray(scores, np.float64), set(LETTERS))


def test_words_come_by_worth_after_what_spells():
    scores = np.zeros(len(TEACHER))
    scores[TEACHER.index("bead")], scores[TEACHER.index("##ab")] = 2, 3
    vocabulary, required = ordered(scores)
    assert vocabulary.pieces[:5] == SPECIAL_TOKENS
    assert set(vocabulary.pieces[:required]) == set(TEACHER[:15])
    assert vocabulary.pieces[required : required + 2] == ("##ab", "bead")
    assert [TEACHER[row] for row in vocabulary.teacher_ids] == list(vocabulary.pieces)


@given(
    st.lists(st.floats(0, 9), min_size=len(TEACHER), max_size=len(TEACHER)),
    st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=4),
    st.data(),
)
def test_every_head_of_the_words_spells_what_the_whole_spells(scores, words, data):
    vocabulary, required = ordered(scores)
    count = data.draw(st.integers(required, len(TEACHER)))
    small = build_tokenizer(vocabulary.pieces[:count], READING)
    whole = build_tokenizer(vocabulary.pieces, READING)
    text = " ".join(words)
    tokens = small.encode(text).tokens
    assert UNKNOWN not in tokens
    assert "".join(token.removeprefix("##") for token in tokens[1:-1]) == "".join(words)
    # The same piece has the same id at every size, and no size has a piece that a larger one lacks.
    assert {small.token_to_id(token) for token in tokens} <= set(range(count))
    assert all(small.token_to_id(token) == whole.token_to_id(token) for token in tokens)


@given(st.integers(0, 400), st.floats(1, 20))
def test_as_many_words_as_fit(budget, row_bytes):
    pieces = TEACHER
    spent = np.cumsum([row_bytes + len(piece) + 1 for piece in pieces])
    if budget < spent[14]:
        with pytest.raises(BudgetError, match="narrower"):
            words_that_fit(pieces, row_bytes, budget, num_required=15)
        return
    count = words_that_fit(pieces, row_bytes, budget, num_required=15)
    assert spent[count - 1] <= budget
    assert count == len(pieces) or spent[count] > budget


@pytest.mark.parametrize("bits", [8, 4])
def test_a_size_uses_its_budget_and_no_more(bits):
    shape = StudentSettings(
        embedding_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_heads=2,
        layers=1,
        passes=2,
        adapter_size=0,
        max_tokens=12,
        vector_size=6,
    )
    plan = plan_bits(shape, bits, bits)
    pieces = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(900))]
    size = size_for_budget("small", shape, plan, pieces, 5, budget_bytes=20_000)
    graph = export_graph(build_student(shape, size.words, seed=1), plan)
    used = graph.ByteSize() + len(vocabulary_to_bytes(pieces[: size.words]))
    assert 20_000 - 150 < used <= 20_000
