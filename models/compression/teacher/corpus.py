"""The texts that the student learns from.

```
items      "Heat (1995). Action Crime Thriller"     what a phone ranks
queries    "crime heat", "1995 thriller action"     random words of one item: what people type
prose      "the film depicts a group of"            what language is like in general
```

Queries are made here, out of item texts. Prose is cut to short runs of words: phones encode titles
and queries, and a teacher reads two short runs in the time of one long sentence.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field, model_validator

from models.errors import DataError
from models.seeds import generator

_WORD = re.compile(r"\w+")


class CorpusSettings(BaseModel, extra="forbid", frozen=True):
    """How much of what is read."""

    queries_per_item: int = Field(description="short queries made of each item's words", ge=0)
    query_words_min: int = Field(description="fewest words of a query", ge=1)
    query_words_max: int = Field(description="most words of a query", ge=1)
    prose_texts: int = Field(description="most prose texts; the first of the corpus", ge=0)
    prose_words: int = Field(description="a longer prose text is cut to so many words", ge=1)
    attention_every: int = Field(
        description="every so-many-th text is in the sample that scores the words", ge=1
    )
    held_back_every: int = Field(
        description="every so-many-th query and prose text is kept from the student, to judge it",
        ge=2,
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "CorpusSettings":
        if self.query_words_min > self.query_words_max:
            raise ValueError(
                f"query_words_min is {self.query_words_min}, above query_words_max "
                f"{self.query_words_max}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Corpus:
    """Public texts; nothing of a person is in here.

    Attributes:
        item_texts: a catalogue's texts; none for a general encoder.
        prose: general sentences, may be none beside a catalogue.

    Raises:
        DataError: if there are fewer than two different texts with words: items, if there are any
            items, else prose.
    """

    item_texts: tuple[str, ...]
    prose: tuple[str, ...]

    def __post_init__(self) -> None:
        kind, texts = ("item", self.item_texts) if self.item_texts else ("prose", self.prose)
        spoken = {text for text in texts if _WORD.search(text)}
        if len(spoken) < 2:
            raise DataError(
                f"the corpus has {len(spoken)} different {kind} texts with words, out of "
                f"{len(texts)}: give a catalogue's texts or general sentences, at least 2"
            )


@dataclass(frozen=True, slots=True)
class CorpusTexts:
    """What the teacher reads: each text once within its kind.

    Attributes:
        items: catalogue texts.
        queries: short queries made of them.
        prose: general language, cut short.
    """

    items: tuple[str, ...]
    queries: tuple[str, ...]
    prose: tuple[str, ...]

    @property
    def everything(self) -> tuple[str, ...]:
        """Items, then queries, then prose."""
        return self.items + self.queries + self.prose

    def held_back(self, every: int) -> np.ndarray:
        """Return (n,) bool over `everything`: what the student must not learn from.

        Items are all learnt, as a catalogue is public; of the rest, every so-many-th is held back
        unless the same text stands elsewhere too.
        """
        texts = self.everything
        chosen = np.zeros(len(texts), bool)
        chosen[len(self.items) :: every] = True
        learnt = {text for text, held in zip(texts, chosen, strict=True) if not held}
        return np.logical_and(chosen, [text not in learnt for text in texts])


def collect(corpus: Corpus, settings: CorpusSettings, seed: int) -> CorpusTexts:
    """Return the texts to read, made out of a corpus.

    Args:
        corpus: items and prose.
        settings: how much of what.
        seed: of queries and cuts; every item and every prose text has draws of its own.
    """
    bounds = (settings.query_words_min, settings.query_words_max)
    queries = short_queries(corpus.item_texts, settings.queries_per_item, bounds, seed)
    prose = cut_short(corpus.prose[: settings.prose_texts], settings.prose_words, seed)
    kinds = ([text for text in corpus.item_texts if _WORD.search(text)], queries, prose)
    return CorpusTexts(*(tuple(dict.fromkeys(texts)) for texts in kinds))


def short_queries(
    item_texts: Sequence[str], per_item: int, words: tuple[int, int], seed: int
) -> list[str]:
    """Make short queries: a few words of one item's text, in random order, in lower case.

    Args:
        item_texts: what to draw from; a text without a word gives no query.
        per_item: queries per item, >= 0.
        words: fewest and most words of a query.
        seed: of the draws.

    >>> short_queries(["Heat (1995). Crime"], 1, (3, 3), seed=0)
    ['1995 heat crime']
    """
    queries = []
    for item, text in enumerate(item_texts):
        found = _WORD.findall(text.lower())
        rng = generator(seed, "distillation-queries", item)
        for _ in range(per_item if found else 0):
            size = min(len(found), int(rng.integers(words[0], words[1], endpoint=True)))
            queries.append(" ".join(found[place] for place in rng.permutation(len(found))[:size]))
    return queries


def cut_short(sentences: Sequence[str], words: int, seed: int) -> list[str]:
    """Cut each sentence to a run of at most so many words, from a random place on.

    >>> cut_short(["one two", "one two three four"], 2, seed=0)
    ['one two', 'two three']
    """
    runs = []
    for number, sentence in enumerate(sentences):
        found = sentence.split()
        free = max(0, len(found) - words)
        start = int(generator(seed, "distillation-prose", number).integers(free, endpoint=True))
        runs.append(" ".join(found[start : start + words]))
    return runs
