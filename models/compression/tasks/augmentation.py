"""More texts for the teacher to speak about: pieces of those that are there.

    "a fine film with a weak end"
      --span-->  "film with a weak end"  --word dropout-->  "film a weak end"

A small labelled set says little about how the teacher thinks. What it makes of any text can be had
for the price of one forward pass, so many half-texts are read to it and its answers are learnt.
They carry no label: "a fine film" cut out of a bad review is what the teacher says it is. The two
moves are two of the three of [1] (spans and masked words; a masked word is left out here).

[1] R. Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks",
    2019, arXiv 1903.12136, section 3.2.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from models.seeds import generator


class AugmentationSettings(BaseModel, extra="forbid", frozen=True):
    """How many texts are made of each, and how."""

    copies: int = Field(description="texts made of each text; 0: none", ge=0, le=1000)
    span_share: float = Field(description="share of the copies that are cut to a span", ge=0, le=1)
    shortest_span: float = Field(description="share of the words that a span has", gt=0, le=1)
    word_dropout: float = Field(description="chance of each word to be left out", ge=0, lt=1)


def augment(texts: Sequence[str], settings: AugmentationSettings, seed: int) -> list[str]:
    """Make more texts; those that come out as a text that is there already are left out.

    Args:
        texts: words are what spaces separate; a text without spaces is cut between its letters.
        settings: how many and how.
        seed: of the draws; each text has its own, so more texts change no other's copies.

    Returns:
        at most `copies` per text, none of them empty, none twice.
    """
    seen = set(texts)
    made = []
    for row, text in enumerate(texts):
        rng = generator(seed, "augmentation", row)
        for _ in range(settings.copies):
            copy = _vary(text, settings, rng)
            if copy not in seen:
                seen.add(copy)
                made.append(copy)
    return made


def _vary(text: str, settings: AugmentationSettings, rng: np.random.Generator) -> str:
    words, glue = text.split(), " "
    if len(words) < 2:
        words, glue = list(text.strip()), ""  # one long word, or a script without spaces
    if rng.random() < settings.span_share:
        shortest = max(1, int(np.ceil(settings.shortest_span * len(words))))
        length = int(rng.integers(shortest, len(words) + 1))
        start = int(rng.integers(len(words) - length + 1))
        words = words[start : start + length]
    kept = [word for word in words if rng.random() >= settings.word_dropout]
    return glue.join(kept).strip() or glue.join(words).strip() or text
