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
sentences is the method of EI-BERT [1]; this formula and the keep rule (`vocabulary`) are our
choice. Other criteria, to be measured against, are in `rivals`.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from models.compression.pruning.rivals import fresh_vocabulary, random_scores
from models.compression.pruning.vocabulary import Vocabulary, keep_best, line_bytes
from models.compression.report import Figure
from models.compression.teacher.text_teacher import TextTeacher
from models.errors import DataError
from models.wordpiece import UNKNOWN, TokenizerSettings, build_tokenizer, cut, split_words

Criterion = Literal["attention", "frequency", "random", "fresh"]


class PruningSettings(BaseModel, extra="forbid", frozen=True):
    """Which words the student's vocabulary keeps."""

    criterion: Criterion = Field(
        description="attention: the words the teacher looks at most; the others are its rivals"
    )
    character_min_count: int = Field(
        description="a character seen so often in the corpus is always kept", ge=1
    )
    item_weight: float = Field(
        description="how many times an item text counts in the scores, against prose once", gt=0
    )


@dataclass(frozen=True, slots=True)
class WeighedTexts:
    """Texts of one kind, and what the teacher made of their words.

    Attributes:
        texts: any number.
        attention: (teacher's vocabulary,) float64, attention each word received in these texts:
            `Reading.attention_everywhere`.
        occurrences: (teacher's vocabulary,) int64, places at which it stood.
        weight: how many times each of these texts counts, > 0.
    """

    texts: Sequence[str]
    attention: np.ndarray
    occurrences: np.ndarray
    weight: float


def prune(
    corpora: Sequence[WeighedTexts],
    teacher: TextTeacher,
    max_tokens: int,
    row_bytes: float,
    budget_bytes: int,
    settings: PruningSettings,
    seed: int,
) -> tuple[Vocabulary, dict[str, Figure]]:
    """Choose the student's words: the stage as a whole.

    Args:
        corpora: the texts by kind, with what the teacher made of them.
        teacher: whose vocabulary is cut.
        max_tokens: longest text of the student.
        row_bytes: bytes of a piece in the embedding table.
        budget_bytes: for all rows and all lines of the vocabulary file.
        settings: the criterion, and what is kept in any case.
        seed: of the draw of `criterion = "random"`.

    Returns:
        the vocabulary, and the figures of the stage.

    Raises:
        DataError: if the texts have no words.
        BudgetError: if not even what is kept in any case fits.
    """
    pieces = teacher.standard_vocabulary
    reading = TokenizerSettings(teacher.lowercase, teacher.strip_accents, max_tokens)
    before = build_tokenizer(pieces, reading)
    counted = [(count_words(part.texts, before, reading), part.weight) for part in corpora]
    words = _total([(counts, 1) for counts, _ in counted])
    if not words:
        raise DataError(
            f"the corpus has no words to choose from, in {sum(len(c.texts) for c in corpora)} "
            "texts: give texts with words"
        )
    characters = frequent_characters(words, settings.character_min_count)
    limits = (row_bytes, budget_bytes)
    if settings.criterion == "fresh":
        weighed = _total(counted)
        vocabulary = fresh_vocabulary(pieces, teacher.special_ids, weighed, characters, *limits)
    else:
        scores = word_scores(corpora, settings.criterion, seed)
        vocabulary = keep_best(pieces, teacher.special_ids, scores, characters, *limits)
    after = build_tokenizer(vocabulary.pieces, reading)
    return vocabulary, {
        "criterion": settings.criterion,
        "words_before": len(pieces),
        "words_after": len(vocabulary.pieces),
        "embedding_bytes": round(row_bytes * len(vocabulary.pieces)),
        "vocabulary_bytes": sum(line_bytes(piece) for piece in vocabulary.pieces),
        **coverage_figures(corpora, teacher, vocabulary),
        **splitting_figures(words, before, after),
    }


def word_scores(corpora: Sequence[WeighedTexts], criterion: Criterion, seed: int) -> np.ndarray:
    """Return what each of the teacher's words is worth, (vocabulary,) float64; 0: never met.

    Args:
        corpora: texts by kind.
        criterion: "attention", "frequency" or "random".
        seed: of the draw by lot.
    """
    sizes, weights = [len(part.texts) for part in corpora], [part.weight for part in corpora]
    if criterion == "attention":
        return token_scores([part.attention for part in corpora], sizes, weights)
    frequency = token_scores([part.occurrences for part in corpora], sizes, weights)
    return frequency if criterion == "frequency" else random_scores(frequency, seed)


def token_scores(
    received: Sequence[np.ndarray], num_texts: Sequence[int], weights: Sequence[float]
) -> np.ndarray:
    """Return s(w) over several corpora, each counted with its weight.

    Args:
        received: per corpus (vocabulary,) float64, the attention received.
        num_texts: per corpus its number of texts |S|.
        weights: per corpus how many times each of its texts counts.

    >>> token_scores([np.array([3.0, 1.0]), np.array([0.0, 4.0])], [1, 2], [1.0, 0.5])
    array([1.5, 1.5])
    """
    total = sum(
        (weight * corpus for weight, corpus in zip(weights, received, strict=True)),
        start=np.zeros(received[0].shape),
    )
    return total / sum(weight * n for weight, n in zip(weights, num_texts, strict=True))


def count_words(
    texts: Sequence[str], tokenizer: Tokenizer, reading: TokenizerSettings
) -> Counter[str]:
    """Return how often each normalised word or sign stands in the texts, as far as read."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_words(cut(text, reading.max_tokens), tokenizer))
    return counts


def frequent_characters(words: Mapping[str, int], min_count: int) -> set[str]:
    """Return the characters that stand at least `min_count` times in the words.

    >>> sorted(frequent_characters({"abba": 1, "b": 1}, 2))
    ['a', 'b']
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    return {character for character, seen in counts.items() if seen >= min_count}


def coverage_figures(
    corpora: Sequence[WeighedTexts], teacher: TextTeacher, vocabulary: Vocabulary
) -> dict[str, float]:
    """Return how much of what the teacher met is still a word of its own.

    Returns:
        `attention_kept`, share of the attention received, and `occurrences_kept`, share of the
        places; both without the special tokens, which are never in doubt.
    """
    ids = {piece: index for index, piece in enumerate(teacher.standard_vocabulary)}
    kept = [ids[piece] for piece in vocabulary.pieces if piece in ids]
    return {
        "attention_kept": _share_kept(word_scores(corpora, "attention", 0), kept, teacher),
        "occurrences_kept": _share_kept(word_scores(corpora, "frequency", 0), kept, teacher),
    }


def splitting_figures(
    words: Mapping[str, int], before: Tokenizer, after: Tokenizer
) -> dict[str, float]:
    """Return what the pruning does to how words are split.

    Args:
        words: how often each normalised word stands in the texts.
        before: the teacher's tokenizer.
        after: the student's.

    Returns:
        `unknown_rate_before` and `_after` (share of the words that are `[UNK]`), `length_growth`
        (pieces after / pieces before, 1.0 = none), `words_whole_before` and `_after` (share of the
        words that are one piece).
    """
    pieces_before, unknown_before, whole_before = _count_pieces(words, before)
    pieces_after, unknown_after, whole_after = _count_pieces(words, after)
    num_words = sum(words.values())
    return {
        "unknown_rate_before": unknown_before / num_words,
        "unknown_rate_after": unknown_after / num_words,
        "length_growth": pieces_after / pieces_before,
        "words_whole_before": whole_before / num_words,
        "words_whole_after": whole_after / num_words,
    }


def _count_pieces(words: Mapping[str, int], tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Return the number of pieces, of words that are `[UNK]` and of words that are one piece."""
    pieces = unknown = whole = 0
    for word, count in words.items():
        split = [piece.value for piece in tokenizer.model.tokenize(word)]
        pieces += count * len(split)
        if split == [UNKNOWN]:  # a word is unknown as a whole or not at all
            unknown += count
        elif len(split) == 1:
            whole += count
    return pieces, unknown, whole


def _share_kept(scores: np.ndarray, kept: Sequence[int], teacher: TextTeacher) -> float:
    words = scores.copy()
    words[teacher.special_ids] = 0  # [CLS] and [SEP] draw most attention
    return float(words[kept].sum() / words.sum()) if words.any() else 1.0


def _total(counted: Sequence[tuple[Mapping[str, int], float]]) -> dict[str, int]:
    """Return the counts of several corpora, each times its weight, rounded."""
    total: dict[str, float] = {}
    for counts, weight in counted:
        for word, count in counts.items():
            total[word] = total.get(word, 0.0) + weight * count
    return {word: round(count) for word, count in total.items()}
