"""SYNTHETIC private texts: short made-up queries that stand for what a person types on a phone.

No public data set has them, so they are made from what the person chose before, plus noise:

    train events of user 7, in time         words of the item texts         synthetic private text
    3  Silver Harbour (1991). Crime         silver harbour crime            ""
    9  Moon Garden (1984). Romance          moon garden romance             "harbour romance"
    4  Paper Tigers (1999). Comedy War      paper tigers comedy war         "tigers moon western"
                                                                    noise: ------^

Formal guarantees, each held by a test of its name:
- a text is made of words of items of this user's own train events at or before this event, and of
  noise words from the whole catalogue; the held-out item has no part in it;
- the text at an event does not change when later events do (whether it is shown may: only the most
  recent events have texts);
- the order of users and of rows changes nothing.

A text says something about its own event's item. So a model may read it only to predict *later*
items, as it may read the event itself.
"""

import itertools
import re

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import SettingsError
from models.seeds import generator
from simulation.data.interactions import Columns

WORDS_PER_ITEM = 32
"""Only so many words of an item text can be queried: its title comes first."""

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*")
_ARTICLES = {"a", "an", "de", "la", "le", "the"}
_SMALL_WORDS = {"and", "as", "at", "by", "for", "from", "in", "into", "is", "it", "of", "on", "or"}
_STOP_WORDS = _ARTICLES | _SMALL_WORDS | {"to", "with", "you"}


class PrivateTextSettings(BaseModel):
    """How many synthetic private texts there are, and of what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        ge=0, le=1, description="share of the recent events with a text; 0 is the arm without"
    )
    max_per_user: int = Field(ge=0, description="only this many of a user's latest train events")
    min_words: int = Field(
        ge=1, le=16, description="least words drawn for a text; repeats are left out"
    )
    max_words: int = Field(ge=1, le=16, description="most words in a text")
    noise: float = Field(
        ge=0, le=1, description="chance that a word is replaced by one of the whole catalogue"
    )

    @model_validator(mode="after")
    def _words_in_order(self) -> "PrivateTextSettings":
        if self.min_words > self.max_words:
            raise ValueError(f"min_words={self.min_words} must be <= max_words={self.max_words}")
        return self


def add_synthetic_private_texts(
    train: pd.DataFrame, items: pd.DataFrame, settings: PrivateTextSettings, seed: int
) -> pd.DataFrame:
    """Return the train events with synthetic private texts.

    Args:
        train: `Split.train`.
        items: `Interactions.items`.
        settings: how many texts, and of what.
        seed: the run's seed; a user's draws have the address (seed, "private-text", user).

    Raises:
        SettingsError: if there are real private texts, and the share is not 0: the two never mix.
    """
    if not settings.share:
        return train
    if (train[Columns.PRIVATE_TEXT] != "").any():
        raise SettingsError(
            f"private_text.share={settings.share} asks for synthetic texts, but the data has "
            "private texts of its own: set it to 0 to use those as they are"
        )
    order = np.lexsort((train[Columns.ROW], train[Columns.TIME_S], train[Columns.USER]))
    history = train.iloc[order]
    user = history[Columns.USER].to_numpy()
    item = history[Columns.ITEM].to_numpy()
    words = _CatalogueWords(items[Columns.TEXT])
    texts = np.full(len(train), "", dtype=object)
    for first, last in _runs(user):
        # Draws are taken row by row, so those of an event do not depend on how many follow it.
        # Columns: [shown, number of words, then per word: which event, which word, noise, which]
        draws = generator(seed, "private-text", int(user[first])).random(
            (last - first, 2 + 4 * settings.max_words)
        )
        for place in range(max(0, last - first - settings.max_per_user), last - first):
            if draws[place, 0] < settings.share:
                so_far = item[first : first + place + 1]
                texts[first + place] = _synthetic_text(draws[place, 1:], so_far, words, settings)
    in_table_order = np.empty_like(texts)
    in_table_order[order] = texts
    column = pd.Series(in_table_order, index=train.index, dtype="str")
    return train.assign(**{Columns.PRIVATE_TEXT: column})


class _CatalogueWords:
    """The words of each item, and of all items together."""

    def __init__(self, texts: pd.Series) -> None:
        self.of_item = [_words_of(str(text)) for text in texts]
        self.all = sorted({word for words in self.of_item for word in words})


def _words_of(text: str) -> list[str]:
    """The words of a text that a query may have: lower case, each once, in their order.

    >>> _words_of("The Moon Garden (1984). Sci-Fi Romance")
    ['moon', 'garden', 'sci-fi', 'romance']
    """
    found = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return [word for word in found if word not in _STOP_WORDS][:WORDS_PER_ITEM]


def _synthetic_text(
    draws: np.ndarray, so_far: np.ndarray, words: _CatalogueWords, settings: PrivateTextSettings
) -> str:
    """Make one text from uniform draws in 0..1.

    Args:
        draws: (1 + 4 * max_words,) the number of words, then four draws per word.
        so_far: (n,) items of this user's train events up to and with this one.
        words: the words of the catalogue.
        settings: the number of words, and the noise.
    """
    spread = settings.max_words - settings.min_words + 1
    num_words = settings.min_words + int(draws[0] * spread)
    chosen: dict[str, None] = {}
    for which_event, which_word, noise, which_noise in draws[1:].reshape(-1, 4)[:num_words]:
        own = words.of_item[so_far[int(which_event * len(so_far))]]
        if noise < settings.noise or not own:
            own, which_word = words.all, which_noise
        if own:
            chosen[own[int(which_word * len(own))]] = None
    return " ".join(chosen)


def _runs(user: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of each run of equal values.

    >>> _runs(np.array([0, 0, 2]))
    [(0, 2), (2, 3)]
    """
    edges = np.flatnonzero(np.diff(user)) + 1
    bounds = [0, *edges.tolist(), len(user)] if len(user) else [0]
    return list(itertools.pairwise(bounds))
