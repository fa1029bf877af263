"""Words in an order whose every head is a vocabulary: one list for all device tiers.

    [PAD] [UNK] [CLS] [SEP] [MASK]  ! " # ... a ##a b ##b ...  the  and  film  ...  rarest
    |------- what no size can do without ------------------|   by falling worth
    |-------------------------- small -----------------------------|
    |-------------------------- large -------------------------------------------------|

A piece has the same id at every size, and WordPiece, which takes the longest piece that it finds,
falls back to shorter ones where a size lacks a word (see `vocabulary`).
"""

from collections.abc import Sequence

import numpy as np

from models.compression.elastic.elastic_student import ElasticSize
from models.compression.export.encoder_graph import bytes_per_word, graph_bytes_without_words
from models.compression.pruning.vocabulary import Vocabulary, line_bytes, spelling_pieces
from models.compression.quantization.few_bits import BitPlan
from models.compression.student import StudentSettings
from models.errors import BudgetError
from models.wordpiece import SPECIAL_TOKENS


def nesting_order(
    vocabulary: Vocabulary, scores: np.ndarray, characters: set[str]
) -> tuple[Vocabulary, int]:
    """Put the words in an order whose every head is a vocabulary, from some length on.

    Special tokens first, then what spells, then words by falling score. Guarantee: a word of
    characters that the vocabulary has in both forms is no `[UNK]` at any size.

    Args:
        vocabulary: the largest size's words, from `pruning`.
        scores: (n,) float64, the worth of each of its pieces.
        characters: what must stay spellable, normalised as the tokenizer does; ASCII always is.

    Returns:
        the vocabulary in its new order, and how many words no size can do without.
    """
    place = {piece: row for row, piece in enumerate(vocabulary.pieces)}
    required = [*SPECIAL_TOKENS, *spelling_pieces(characters)]
    first = [place[piece] for piece in dict.fromkeys(required) if piece in place]
    rest = np.setdiff1d(np.arange(len(place)), first)
    by_worth = rest[np.argsort(-scores[rest], kind="stable")]
    return vocabulary.take([*first, *by_worth.tolist()]), len(first)


def words_that_fit(
    pieces: Sequence[str], row_bytes: float, budget_bytes: int, num_required: int
) -> int:
    """Return how many of the first words fit, with their rows and lines of the vocabulary file.

    Args:
        pieces: in nesting order.
        row_bytes: bytes of a word in the embedding table.
        budget_bytes: for rows and lines together.
        num_required: words that no size can do without.

    Raises:
        BudgetError: if not even those fit.

    >>> words_that_fit(["a", "##a", "moon"], row_bytes=4, budget_bytes=14, num_required=2)
    2
    """
    spent = np.cumsum([row_bytes + line_bytes(piece) for piece in pieces])
    fit = int(np.searchsorted(spent, budget_bytes, side="right"))
    if fit < num_required:
        raise BudgetError(
            f"the {num_required} special tokens and letters need {spent[num_required - 1]:,.0f} "
            f"bytes, {budget_bytes:,} are left for words: take a narrower size or a larger budget"
        )
    return fit


def size_for_budget(
    name: str,
    student: StudentSettings,
    plan: BitPlan,
    pieces: Sequence[str],
    num_required: int,
    budget_bytes: int,
) -> ElasticSize:
    """Return a size with as many of the words as its bytes allow.

    Args:
        name: of the size.
        student: its shape.
        plan: how many bits its weights will take.
        pieces: of the largest size, in nesting order.
        num_required: words that no size can do without.
        budget_bytes: for graph and vocabulary file together.

    Raises:
        BudgetError: if not even the required words fit.
    """
    left = budget_bytes - graph_bytes_without_words(student, plan)
    row_bytes = bytes_per_word(student, plan["words"])
    words = words_that_fit(pieces, row_bytes, left, num_required)
    return ElasticSize(name=name, words=words, student=student)
