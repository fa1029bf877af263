"""By which old bytes each stretch of a new file is told.

    tensor of the same name and size          beside the old one, as it packs best
    table with a row for each word            a word's row beside the same word's old row
    the rest                                  beside what followed in the old file, if alike

A vocabulary that gains or loses a word moves all rows behind it, and the old bytes at the same
place are those of other words: without the words, a table of weights would be new from there on.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.bundle import VOCABULARY
from models.release.differences import Way, difference, ways_for
from models.release.sections import Section, sections

Run = tuple[int, int, int]
"""Way, place in the old file, length."""


@dataclass(frozen=True, slots=True)
class WordRows:
    """Where the rows of the new words were.

    Attributes:
        old_count: words before.
        new_count: words now.
        pieces: (first old row, or -1; how many), in the order of the new rows.
    """

    old_count: int
    new_count: int
    pieces: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, old: bytes, new: bytes) -> "WordRows":
        """Match two vocabularies, a word a line."""
        before = old.split(b"\n")[:-1]
        places = {word: place for place, word in enumerate(before)}
        pieces: list[tuple[int, int]] = []
        words = new.split(b"\n")[:-1]
        for word in words:
            at = places.get(word, -1)
            first, count = pieces[-1] if pieces else (-2, 0)
            goes_on = first == -1 if at < 0 else first >= 0 and at == first + count
            if goes_on:
                pieces[-1] = (first, count + 1)
            else:
                pieces.append((at, 1))
        return cls(len(before), len(words), tuple(pieces))

    def fit(self, old: Section, new: Section) -> bool:
        """Whether two sections are tables with a row for each word."""
        row = new.row_bytes
        return (
            row > 0
            and row == old.row_bytes
            and old.length == row * self.old_count
            and new.length == row * self.new_count
        )


def word_rows(name: str, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> WordRows | None:
    """How the words beside a file moved; None where they did not, or there are none."""
    folder, slash, _ = name.rpartition("/")
    vocabulary = f"{folder}{slash}{VOCABULARY}"
    if vocabulary not in old or vocabulary not in new or old[vocabulary] == new[vocabulary]:
        return None
    return WordRows.of(old[vocabulary], new[vocabulary])


def runs_of(name: str, old: bytes, new: bytes, rows: WordRows | None = None) -> list[Run]:
    """Say how a file is told; neighbours that go on where the last one ended are joined.

    Args:
        name: its ending says what it is.
        old: content before; nothing if there was none.
        new: content now.
        rows: how words moved.
    """
    if not old:
        return [(int(Way.NEW), 0, len(new))] if new else []
    telling = _Telling(old, new)
    if old == new:
        telling.add(Way.BYTES, 0, len(new))
        return telling.runs
    likes = {each.key: each for each in sections(name, old)}
    for section in sections(name, new):
        like = likes.get(section.key)
        if like is None:
            continue
        if rows is not None and rows.fit(like, section):
            telling.gap(section.offset)
            telling.by_word(like, section, rows)
        elif like.length == section.length:
            telling.gap(section.offset)
            telling.beside(like, section)
    telling.gap(len(new))
    return telling.runs


class _Telling:
    """The runs so far, and where they end in both files."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new
        self._old_end = self._new_end = 0
        self.runs: list[Run] = []

    def add(self, way: Way, at: int, length: int) -> None:
        self._new_end += length
        if self.runs and self.runs[-1][0] == way in (Way.NEW, Way.BYTES, Way.NIBBLES):
            _, before, so_far = self.runs[-1]
            if way is Way.NEW or before + so_far == at:
                self.runs[-1] = (int(way), before, so_far + length)
                return
        self.runs.append((int(way), at, length))

    def gap(self, end: int) -> None:
        """What lies before the next section: beside what followed the last one, if alike."""
        length = end - self._new_end
        if length == 0:
            return
        one = self._old[self._old_end : self._old_end + length]
        is_alike = len(one) == length and _share_alike(one, self._new[self._new_end : end]) > 0.5
        self.add(Way.BYTES if is_alike else Way.NEW, self._old_end if is_alike else 0, length)

    def beside(self, like: Section, section: Section) -> None:
        one, two = like.cut(self._old), section.cut(self._new)
        way = Way.BYTES if one == two else _shortest(one, two, section.item_bytes)
        self.add(way, like.offset, section.length)
        self._old_end = like.offset + like.length

    def by_word(self, like: Section, section: Section, rows: WordRows) -> None:
        row, one, two = section.row_bytes, like.cut(self._old), section.cut(self._new)
        before, after, place = [], [], 0
        for at, count in rows.pieces:
            if at >= 0:
                before.append(one[row * at : row * (at + count)])
                after.append(two[row * place : row * (place + count)])
            place += count
        way = _shortest(b"".join(before), b"".join(after), section.item_bytes)
        for at, count in rows.pieces:
            self.add(way if at >= 0 else Way.NEW, like.offset + row * max(at, 0), row * count)
        self._old_end = like.offset + like.length


def _share_alike(one: bytes, two: bytes) -> float:
    return float(np.mean(np.frombuffer(one, np.uint8) == np.frombuffer(two, np.uint8)))


def _shortest(old: bytes, new: bytes, item_bytes: int) -> Way:
    """The way whose bytes pack best; a quick packer is enough to tell."""
    sizes = {
        way: len(zlib.compress(difference(old, new, way), 6))
        for way in ways_for(item_bytes, len(new))
    }
    return min(sizes, key=lambda way: (sizes[way], way))
