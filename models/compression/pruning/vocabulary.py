"""The student's words: what is always kept, what the bytes allow, how the teacher spells each.

```
always kept   [PAD] [UNK] [CLS] [SEP] [MASK]
              ASCII and frequent characters, each as `a` and as `##a`     so any word can be spelled
then          pieces by falling worth, until the bytes are used up        [unused] rows never
```

Kept sets are *closed under fallback*: WordPiece takes the longest piece that it finds, and at worst
goes letter by letter, so dropping longer pieces makes no word `[UNK]` whose characters are all kept
in the form they are met in. A form that the teacher lacks (a "##ß") cannot be kept: a word that
needs it is spelt by a longer piece or not at all.

A character that always stands alone, as punctuation and Chinese characters do, continues no word:
its `##` form is never met and costs no row.

What to keep is our choice; EI-BERT [1] does not state its rule.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import BudgetError
from models.wordpiece import CONTINUATION, SPECIAL_TOKENS, stands_alone

PRINTABLE_ASCII = "".join(chr(code) for code in range(33, 127))
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The student's words.

    Attributes:
        pieces: in the order of their ids, special tokens first.
        teacher_pieces: per piece the ids of the teacher's pieces it is made of: itself where the
            teacher has it, at least one in any case.
    """

    pieces: tuple[str, ...]
    teacher_pieces: tuple[tuple[int, ...], ...]

    @classmethod
    def of_teacher(cls, teacher_vocabulary: Sequence[str], ids: Iterable[int]) -> "Vocabulary":
        """Keep some of the teacher's pieces, in this order."""
        kept = [int(index) for index in ids]
        return cls(
            tuple(teacher_vocabulary[index] for index in kept), tuple((index,) for index in kept)
        )

    @property
    def teacher_ids(self) -> np.ndarray:
        """Each piece's id in the teacher's vocabulary, (n,) int64.

        Raises:
            ValueError: if a piece is made of several; `seed_embeddings` knows what to do with it.
        """
        if any(len(ids) > 1 for ids in self.teacher_pieces):
            raise ValueError("a vocabulary trained afresh has pieces that the teacher has not")
        return np.asarray([ids[0] for ids in self.teacher_pieces], np.int64)

    def take(self, rows: Iterable[int]) -> "Vocabulary":
        """Keep some pieces, in this order."""
        kept = [int(row) for row in rows]
        return Vocabulary(
            tuple(self.pieces[row] for row in kept), tuple(self.teacher_pieces[row] for row in kept)
        )

    def seed_embeddings(self, teacher_table: np.ndarray) -> np.ndarray:
        """Return each piece's place in the teacher's embeddings: the mean of what it is made of.

        Args:
            teacher_table: (teacher's vocabulary, width) float32.

        Returns:
            (n, width) float32.

        >>> Vocabulary(("ab",), ((0, 2),)).seed_embeddings(np.array([[1.0], [9.0], [2.0]]))
        array([[1.5]], dtype=float32)
        """
        lengths = np.asarray([len(ids) for ids in self.teacher_pieces])
        flat = np.fromiter((index for ids in self.teacher_pieces for index in ids), np.int64)
        starts = np.cumsum(lengths) - lengths
        totals = np.add.reduceat(np.asarray(teacher_table, np.float32)[flat], starts, axis=0)
        return np.asarray(totals / lengths[:, None], np.float32)


def keep_best(
    teacher_vocabulary: Sequence[str],
    special_ids: Sequence[int],
    scores: np.ndarray,
    characters: set[str],
    row_bytes: float,
    budget_bytes: int,
) -> Vocabulary:
    """Keep the special tokens, all spelling pieces and the best words that the bytes allow.

    Guarantees: the special tokens come first; every character of `characters` that the teacher can
    begin or continue a word with is kept in that form; the rows and lines have at most
    `budget_bytes`; a kept word never scored below a dropped one, except to spell.

    Args:
        teacher_vocabulary: the teacher's pieces in the order of their ids.
        special_ids: the teacher's ids of `SPECIAL_TOKENS`, in that order.
        scores: (len(teacher_vocabulary),) float64, what a word is worth; 0: never met.
        characters: what must stay spellable, normalised as the tokenizer does.
        row_bytes: bytes of a piece in the embedding table.
        budget_bytes: bytes for all rows and all lines of the vocabulary file.

    Raises:
        BudgetError: if not even the special tokens and the characters fit.
    """
    required = required_pieces(teacher_vocabulary, special_ids, characters)
    left = bytes_left([teacher_vocabulary[i] for i in required], row_bytes, budget_bytes)
    chosen = _best_that_fit(teacher_vocabulary, scores, set(required), row_bytes, left)
    words = sorted({*required, *chosen} - set(special_ids))
    kept = Vocabulary.of_teacher(teacher_vocabulary, [*special_ids, *words])
    return Vocabulary((*SPECIAL_TOKENS, *kept.pieces[len(special_ids) :]), kept.teacher_pieces)


def required_pieces(
    teacher_vocabulary: Sequence[str], special_ids: Sequence[int], characters: set[str]
) -> list[int]:
    """Return the teacher's ids of what is always kept: special tokens, then spelling pieces."""
    ids = {piece: index for index, piece in enumerate(teacher_vocabulary)}
    spelling = (ids[form] for form in spelling_pieces(characters) if form in ids)
    return list(dict.fromkeys([*special_ids, *spelling]))


def spelling_pieces(characters: set[str]) -> list[str]:
    """Return ASCII and some characters as pieces, each with the `##` form it can be met in.

    >>> spelling_pieces({"\u00e9", "\u4e2d"})[-3:]
    ['\u00e9', '##\u00e9', '\u4e2d']
    """
    forms = []
    for character in sorted({*PRINTABLE_ASCII, *characters}):
        forms.append(character)
        if not stands_alone(character):
            forms.append(CONTINUATION + character)
    return forms


def spell(piece: str, teacher_ids: Mapping[str, int]) -> tuple[int, ...]:
    """Return the teacher's pieces that a piece is made of: the longest match from the left.

    A character that the teacher has in the other form only is taken in that form.

    Args:
        piece: may begin with `##`.
        teacher_ids: the teacher's vocabulary.

    Returns:
        the ids; empty if the teacher lacks one of the characters.

    >>> spell("##abc", {"a": 0, "##a": 1, "##bc": 2})
    (1, 2)
    """
    rest = piece.removeprefix(CONTINUATION)
    within = rest != piece
    found: list[int] = []
    while rest:
        prefix = CONTINUATION if within or found else ""
        ends = range(len(rest), 0, -1)
        match = next((end for end in ends if prefix + rest[:end] in teacher_ids), 0)
        if match:
            found.append(teacher_ids[prefix + rest[:match]])
        else:
            other = rest[0] if prefix else CONTINUATION + rest[0]
            if other not in teacher_ids:
                return ()
            found.append(teacher_ids[other])
        rest = rest[max(match, 1) :]
    return tuple(found)


def line_bytes(piece: str) -> int:
    """Return the bytes of a piece's line in the vocabulary file."""
    return len(piece.encode()) + 1


def bytes_left(required: Sequence[str], row_bytes: float, budget_bytes: int) -> float:
    """Return the bytes that are left for words beside the pieces that are always kept.

    Raises:
        BudgetError: if these alone are too many.
    """
    left = budget_bytes - sum(row_bytes + line_bytes(piece) for piece in required)
    if left < 0:
        raise BudgetError(
            f"the {len(required)} special tokens and characters need {-left:,.0f} bytes more than "
            f"the {budget_bytes:,} left for words: raise the budget or take a narrower student"
        )
    return left


def _best_that_fit(
    vocabulary: Sequence[str], scores: np.ndarray, taken: set[int], row_bytes: float, left: float
) -> list[int]:
    """Return ids by falling score, ties by id, until the next one does not fit."""
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        piece = vocabulary[index]
        if scores[index] <= 0:
            break  # never met in the corpus: the bytes are better left free
        if index in taken or _UNUSED.fullmatch(piece):
            continue
        left -= row_bytes + line_bytes(piece)
        if left < 0:
            break
        chosen.append(int(index))
    return chosen
