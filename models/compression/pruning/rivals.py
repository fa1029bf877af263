"""What the attention criterion is measured against, at the same bytes.

```
frequency   the pieces met most often                   attention without the attention
random      pieces that were met, drawn by lot          what any choice is worth
fresh       a WordPiece trained anew on the corpus      not bound to the teacher's pieces
```

All of them keep the same special tokens and spelling pieces, so only the choice of words differs.

The fresh one is trained with the `tokenizers` library, whose WordPiece trainer merges the most
frequent pair of neighbours again and again, as byte-pair encoding does [1]. A piece that the
teacher has not starts as the mean of the teacher's pieces it is made of.

[1] R. Sennrich, B. Haddow, A. Birch, "Neural Machine Translation of Rare Words with Subword
    Units", ACL 2016, arXiv 1508.07909.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer

from models.compression.pruning.vocabulary import (
    Vocabulary,
    bytes_left,
    line_bytes,
    spell,
    spelling_pieces,
)
from models.seeds import generator
from models.wordpiece import CONTINUATION, LONGEST_WORD, SPECIAL_TOKENS, UNKNOWN

_RAREST_PAIR = 2
"""A pair that is met once is no habit of the language."""


def random_scores(occurrences: np.ndarray, seed: int) -> np.ndarray:
    """Return a worth drawn by lot for each piece that was met, 0 for the others.

    Args:
        occurrences: (vocabulary,), places at which the piece stood.
        seed: of the draw.

    Returns:
        (vocabulary,) float64.
    """
    lot = 1.0 - generator(seed, "random-words").random(len(occurrences))  # in (0, 1]
    return np.where(occurrences > 0, lot, 0.0)


def fresh_vocabulary(
    teacher_vocabulary: Sequence[str],
    special_ids: Sequence[int],
    words: Mapping[str, int],
    characters: set[str],
    row_bytes: float,
    budget_bytes: int,
) -> Vocabulary:
    """Train a WordPiece vocabulary on word counts and cut it to the bytes.

    Pieces come in the order in which they were learnt, so the first of them are what a training of
    a smaller size gives: the cut is at the first that does not fit.

    Args:
        teacher_vocabulary: the teacher's pieces in the order of their ids.
        special_ids: the teacher's ids of `SPECIAL_TOKENS`, in that order.
        words: how often each normalised word counts.
        characters: what must stay spellable; those that the teacher lacks are left out.
        row_bytes: bytes of a piece in the embedding table.
        budget_bytes: bytes for all rows and all lines of the vocabulary file.

    Raises:
        BudgetError: if not even the special tokens and the characters fit.
    """
    teacher_ids = {piece: index for index, piece in enumerate(teacher_vocabulary)}
    spelling = [piece for piece in spelling_pieces(characters) if spell(piece, teacher_ids)]
    required = [*SPECIAL_TOKENS, *spelling]
    left = bytes_left(required, row_bytes, budget_bytes)
    at_most = len(required) + int(left / (row_bytes + line_bytes("a")))
    kept = []
    for piece in _train(_spellable(words, {*spelling}), required, at_most)[len(required) :]:
        left -= row_bytes + line_bytes(piece)
        if left < 0:
            break
        kept.append(piece)
    return Vocabulary(
        (*required, *kept),
        (
            *((index,) for index in special_ids),
            *(spell(piece, teacher_ids) for piece in (*spelling, *kept)),
        ),
    )


def _spellable(words: Mapping[str, int], spelling: set[str]) -> dict[str, int]:
    """Return the words that are not `[UNK]`: the others must not teach the trainer anything."""
    return {
        word: count
        for word, count in words.items()
        if count > 0 and len(word) <= LONGEST_WORD and spelling.issuperset(word)
    }


def _train(words: Mapping[str, int], required: Sequence[str], size: int) -> list[str]:
    """Return the pieces in the order in which they were learnt, the required ones first.

    The trainer numbers the letters in the order of a hash table, and breaks ties by number. Given
    as special tokens they have fixed numbers, so the same counts give the same vocabulary.
    """
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=_RAREST_PAIR,
        show_progress=False,
        special_tokens=list(required),
        limit_alphabet=0,  # no letters but the required ones
        continuing_subword_prefix=CONTINUATION,
    )
    tokenizer.train_from_iterator(_repeated(words), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(ids, key=ids.__getitem__)


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Yield every word as often as it counts: the trainer takes texts, not counts."""
    for word, count in words.items():
        yield " ".join([word] * count)
