"""Hard token pruning: which of the teacher's words the student keeps, decided once, offline.

    teacher's words          30,522
      - [unused] rows        never met
      + always kept          [PAD] [UNK] [CLS] [SEP] [MASK], ASCII, frequent letters, with ## form
      + the best by score    as many as the byte budget holds
    student's words           ~7,500   (a text is re-split: a lost word falls back to its pieces)

A word's score is the attention it received from the teacher, summed over all its places in the
corpus and averaged over layers and heads:

    s(w) = 1/(L*H*|S|) * sum_{x in S} sum_{l,h} sum_{i: x_i = w} sum_j A^{l,h}[j, i]

so it grows with frequency on purpose. That words are scored by attention over layers, heads and
sentences is the method of EI-BERT [1]; this formula and the keep rule are our choice.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from models.compression.curriculum import Curriculum
from models.compression.report import Figure
from models.compression.text_teacher import TextTeacher
from models.errors import BudgetError
from models.wordpiece import (
    CONTINUATION,
    SPECIAL_TOKENS,
    UNKNOWN,
    TokenizerSettings,
    build_tokenizer,
)

PRINTABLE_ASCII = "".join(chr(code) for code in range(33, 127))
_UNUSED = re.compile(r"\[unused\d+\]")


class PruningSettings(BaseModel, extra="forbid", frozen=True):
    """What the student's vocabulary keeps besides the best words."""

    character_min_count: int = Field(
        description="a character seen so often in the corpus is always kept", ge=1
    )
    item_weight: float = Field(
        description="how many times an item text counts in the scores, against prose once", gt=0
    )


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The student's words.

    Attributes:
        pieces: in the order of their ids, special tokens first.
        teacher_ids: (len(pieces),) int64, each piece's id in the teacher's vocabulary.
    """

    pieces: tuple[str, ...]
    teacher_ids: np.ndarray


def prune(
    curriculum: Curriculum,
    teacher: TextTeacher,
    max_tokens: int,
    row_bytes: int,
    budget_bytes: int,
    settings: PruningSettings,
) -> tuple[Vocabulary, dict[str, Figure]]:
    """Choose the student's words: the stage as a whole.

    Args:
        curriculum: the texts and the attention their words received.
        teacher: whose vocabulary is cut.
        max_tokens: longest text of the student.
        row_bytes: bytes of a piece in the embedding table.
        budget_bytes: for all rows and all lines of the vocabulary file.
        settings: what is kept besides the best words.

    Returns:
        the vocabulary, and the figures of the stage.
    """
    reading = TokenizerSettings(teacher.lowercase, teacher.strip_accents, max_tokens)
    before = build_tokenizer(teacher.standard_vocabulary, reading)
    scores = _corpus_scores(curriculum, settings.item_weight)
    texts = curriculum.texts.everything
    vocabulary = prune_vocabulary(
        teacher.standard_vocabulary,
        teacher.special_ids,
        scores,
        frequent_characters(texts, before, settings.character_min_count),
        row_bytes,
        budget_bytes,
    )
    after = build_tokenizer(vocabulary.pieces, reading)
    words = scores.copy()
    words[teacher.special_ids] = 0  # [CLS] and [SEP] draw most attention, and are never in doubt
    return vocabulary, {
        "words_before": len(teacher.standard_vocabulary),
        "words_after": len(vocabulary.pieces),
        "attention_kept": float(words[vocabulary.teacher_ids].sum() / words.sum()),
        "embedding_bytes": row_bytes * len(vocabulary.pieces),
        "vocabulary_bytes": sum(line_bytes(piece) for piece in vocabulary.pieces),
        **splitting_figures(texts, before, after),
    }


def token_scores(
    received: Sequence[np.ndarray], num_texts: Sequence[int], weights: Sequence[float]
) -> np.ndarray:
    """Return s(w) over several corpora, each counted with its weight.

    Args:
        received: per corpus (vocabulary,) float64, `Reading.attention_received`.
        num_texts: per corpus its number of texts |S|.
        weights: per corpus how many times each of its texts counts.

    >>> token_scores([np.array([3.0, 1.0]), np.array([0.0, 4.0])], [1, 2], [1.0, 0.5])
    array([1.5, 1.5])
    """
    total = sum(
        (weight * corpus for weight, corpus in zip(weights, received, strict=True)),
        start=np.zeros_like(received[0]),
    )
    return total / sum(weight * n for weight, n in zip(weights, num_texts, strict=True))


def prune_vocabulary(
    teacher_vocabulary: Sequence[str],
    special_ids: Sequence[int],
    scores: np.ndarray,
    characters: set[str],
    row_bytes: int,
    budget_bytes: int,
) -> Vocabulary:
    """Keep the special tokens, all spelling pieces and the best words that the bytes allow.

    Guarantees: the special tokens come first; every character of `characters` that the teacher can
    begin or continue a word with is kept in that form; the rows and lines have at most
    `budget_bytes`; a kept word never scored below a dropped one, except to spell.

    Args:
        teacher_vocabulary: the teacher's pieces in the order of their ids.
        special_ids: the teacher's ids of `SPECIAL_TOKENS`, in that order.
        scores: (len(teacher_vocabulary),) float64, s(w).
        characters: what must stay spellable, normalised as the tokenizer does.
        row_bytes: bytes of a piece in the embedding table.
        budget_bytes: bytes for all rows and all lines of the vocabulary file.

    Raises:
        BudgetError: if not even the special tokens and the characters fit.
    """
    required = required_pieces(teacher_vocabulary, special_ids, characters)
    left = budget_bytes - sum(row_bytes + line_bytes(teacher_vocabulary[i]) for i in required)
    if left < 0:
        raise BudgetError(
            f"the {len(required)} special tokens and characters need {-left:,} bytes more than the "
            f"{budget_bytes:,} left for words: raise the budget or take a narrower student"
        )
    chosen = _best_that_fit(teacher_vocabulary, scores, set(required), row_bytes, left)
    words = sorted({*required, *chosen} - set(special_ids))
    pieces = (*SPECIAL_TOKENS, *(teacher_vocabulary[i] for i in words))
    return Vocabulary(pieces, np.asarray([*special_ids, *words], np.int64))


def required_pieces(
    teacher_vocabulary: Sequence[str], special_ids: Sequence[int], characters: set[str]
) -> list[int]:
    """Return the teacher's ids of what is always kept: special tokens and letters, with ## form."""
    ids = {piece: index for index, piece in enumerate(teacher_vocabulary)}
    spelling = {*PRINTABLE_ASCII, *characters}
    forms = [form for letter in sorted(spelling) for form in (letter, CONTINUATION + letter)]
    return list(dict.fromkeys([*special_ids, *(ids[form] for form in forms if form in ids)]))


def line_bytes(piece: str) -> int:
    """Return the bytes of a piece's line in the vocabulary file."""
    return len(piece.encode()) + 1


def frequent_characters(texts: Sequence[str], tokenizer: Tokenizer, min_count: int) -> set[str]:
    """Return the characters seen at least `min_count` times, after the tokenizer's normalising."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    return {character for character, seen in counts.items() if seen >= min_count}


def splitting_figures(
    texts: Sequence[str], before: Tokenizer, after: Tokenizer
) -> dict[str, float]:
    """Return what the pruning does to how texts are split.

    Returns:
        `unknown_rate_before` and `_after` (share of pieces that are `[UNK]`) and `length_growth`
        (pieces after / pieces before, 1.0 = none).
    """
    pieces_before, unknown_before = _count_pieces(texts, before)
    pieces_after, unknown_after = _count_pieces(texts, after)
    return {
        "unknown_rate_before": unknown_before / pieces_before,
        "unknown_rate_after": unknown_after / pieces_after,
        "length_growth": pieces_after / pieces_before,
    }


def _count_pieces(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[int, int]:
    """Return how many pieces the texts have, and how many of them are `[UNK]`."""
    unknown = tokenizer.get_vocab()[UNKNOWN]
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    return sum(map(len, ids)), sum(text.count(unknown) for text in ids)


def _best_that_fit(
    vocabulary: Sequence[str], scores: np.ndarray, taken: set[int], row_bytes: int, budget: int
) -> list[int]:
    """Return ids by falling score, ties by id, until the next one does not fit."""
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        piece = vocabulary[index]
        if scores[index] <= 0:
            break  # never met in the corpus: the bytes are better left free
        if index in taken or _UNUSED.fullmatch(piece):
            continue
        budget -= row_bytes + line_bytes(piece)
        if budget < 0:
            break
        chosen.append(int(index))
    return chosen


def _corpus_scores(curriculum: Curriculum, item_weight: float) -> np.ndarray:
    """Return s(w) over items and prose; queries only repeat words of items."""
    items, *others = curriculum.readings
    prose = others[-1:] if curriculum.texts.prose else []
    sizes = [len(curriculum.texts.items), len(curriculum.texts.prose)]
    received = [reading.attention_received for reading in (items, *prose)]
    return token_scores(received, sizes[: len(received)], [item_weight, 1.0][: len(received)])
