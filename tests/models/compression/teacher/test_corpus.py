import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.compression.teacher.corpus import (
    Corpus,
    CorpusSettings,
    collect,
    cut_short,
    short_queries,
)
from models.errors import DataError

SETTINGS = CorpusSettings(
    queries_per_item=3,
    query_words_min=1,
    query_words_max=2,
    prose_texts=2,
    prose_words=3,
    attention_every=1,
    held_back_every=2,
)
WORDS = st.lists(st.sampled_from(["heat", "crime", "Old", "river"]), max_size=6)


@pytest.mark.parametrize("items", [(), ("",), ("...", " "), ("heat", "heat")])
def test_a_corpus_without_two_texts_is_refused(items):
    with pytest.raises(DataError, match="at least 2"):
        Corpus(items, ())


@given(WORDS, st.integers(0, 4), st.integers(0, 100))
def test_queries_are_words_of_their_item(words, per_item, seed):
    queries = short_queries([" ".join(words)], per_item, (2, 3), seed)
    assert len(queries) == (per_item if words else 0)
    for query in queries:
        assert len(query.split()) == min(len(words), len(query.split()))
        assert 1 <= len(query.split()) <= 3
        assert set(query.split()) <= {word.lower() for word in words}


def test_each_item_draws_by_itself():
    together = short_queries(["a b c d e", "f g h i j"], 2, (2, 4), seed=5)
    other_neighbour = short_queries(["a b c d e", "x"], 2, (2, 4), seed=5)
    assert together[:2] == other_neighbour[:2]


@given(st.lists(WORDS.map(" ".join)), st.integers(1, 5))
def test_cut_prose_is_a_run_of_the_sentence(sentences, words):
    for sentence, run in zip(sentences, cut_short(sentences, words, seed=1), strict=True):
        assert run in sentence
        assert len(run.split()) == min(words, len(sentence.split()))


def test_collect_drops_repeats_and_keeps_the_first_prose():
    corpus = Corpus(("heat crime", "heat crime", "", "old river"), ("a b c d", "a", "never read"))
    texts = collect(corpus, SETTINGS, seed=0)
    assert texts.items == ("heat crime", "old river")
    assert len(texts.prose) == 2
    assert "never" not in " ".join(texts.prose)
    assert len(set(texts.queries)) == len(texts.queries) > 0


def test_held_back_texts_are_never_learnt():
    corpus = Corpus(("heat crime", "heat", "old river"), ("one two three", "crime"))
    texts = collect(corpus, SETTINGS, seed=0)
    held = texts.held_back(2)
    assert not held[: len(texts.items)].any()
    assert held.any()
    learnt = {text for text, out in zip(texts.everything, held, strict=True) if not out}
    assert not learnt & {text for text, out in zip(texts.everything, held, strict=True) if out}


def test_bounds_out_of_order_are_refused():
    with pytest.raises(ValidationError, match="query_words_min is 3, above query_words_max 2"):
        CorpusSettings.model_validate(SETTINGS.model_dump() | {"query_words_min": 3})
