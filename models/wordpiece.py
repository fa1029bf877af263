"""The words a student knows: one vocabulary file, one tokenizer, in training and on a phone.

    "Usual Suspects"  ->  [CLS] usual suspect ##s [SEP]  ->  [2, 871, 2240, 14, 3]

A vocabulary is `vocab.txt`: one piece per line, the line number is its id. A piece that starts with
`##` continues a word. Words are spelled by longest match from the left [1]; a word with a letter
that no piece has, or longer than 100 letters, becomes `[UNK]`. What the file cannot say (case,
accents, the longest text) stands in `tokenizer.json`, a few keys of our own and not the format of
the `tokenizers` library, which would cost three times the bytes.

[1] Y. Wu et al., "Google's Neural Machine Translation System", arXiv 1609.08144, section 4.1.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from models.errors import DataError

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNKNOWN, START, END, MASK)
"""The first five lines of every vocabulary we write, so their ids are 0 to 4."""

CONTINUATION = "##"
LONGEST_WORD = 100
"""Letters; a longer word is `[UNK]`, as in BERT."""

CHARACTERS_PER_TOKEN = 16
"""A text is cut to this many characters per token it may have, before any other work on it.

English needs about 5, so no usual text loses a piece; a text of a megabyte costs no more than a
page does.
"""

_AT_ONCE = 10_000  # texts; an encoding holds much more than its ids
_SPLITTING = BertPreTokenizer()
_KEEPING_CASE = BertNormalizer(lowercase=False, strip_accents=False)


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """What `vocab.txt` does not say about the tokenizer.

    Attributes:
        lowercase: fold capitals.
        strip_accents: write "é" as "e".
        max_tokens: longest text in pieces, `[CLS]` and `[SEP]` included, >= 3.
    """

    lowercase: bool
    strip_accents: bool
    max_tokens: int

    def to_bytes(self) -> bytes:
        """Return the content of `tokenizer.json`."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TokenizerSettings":
        """Read the content of `tokenizer.json`.

        Raises:
            DataError: if it is not JSON with exactly the three keys, each in its type and bounds.
        """
        try:
            values = json.loads(content)
        except ValueError as error:
            raise DataError(
                f"tokenizer settings are not JSON ({error}): get the bundle again"
            ) from error
        kinds = {field.name: bool if field.type is bool else int for field in fields(cls)}
        if not isinstance(values, dict) or {k: type(v) for k, v in values.items()} != kinds:
            wanted = ", ".join(f"{name}: {kind.__name__}" for name, kind in kinds.items())
            raise DataError(f"tokenizer settings are {values!r}, expected {{{wanted}}}")
        if not 3 <= values["max_tokens"] <= 512:
            raise DataError(f"tokenizer max_tokens is {values['max_tokens']}, allowed 3 to 512")
        return cls(**values)


def vocabulary_to_bytes(pieces: Sequence[str]) -> bytes:
    """Return the content of `vocab.txt`: one piece per line, UTF-8."""
    return "".join(piece + "\n" for piece in pieces).encode()


def vocabulary_from_bytes(content: bytes) -> list[str]:
    """Read the content of `vocab.txt`.

    Raises:
        DataError: if it is not UTF-8, does not begin with the special tokens, or has a piece twice.
    """
    try:
        pieces = content.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"vocabulary is not UTF-8 ({error.reason}): get the bundle again"
        ) from error
    if tuple(pieces[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        raise DataError(f"vocabulary begins with {pieces[:5]}, expected {list(SPECIAL_TOKENS)}")
    _refuse_twins(pieces)
    return pieces


def build_tokenizer(pieces: Sequence[str], settings: TokenizerSettings) -> Tokenizer:
    """Build the tokenizer: normalise, split at spaces and punctuation, longest match, frame.

    Args:
        pieces: the vocabulary, special tokens first.
        settings: case, accents and the longest text.

    Raises:
        DataError: if a piece stands twice in the vocabulary.
    """
    _refuse_twins(pieces)
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        WordPiece(
            ids,
            unk_token=UNKNOWN,
            continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    tokenizer.normalizer = BertNormalizer(
        lowercase=settings.lowercase, strip_accents=settings.strip_accents
    )
    tokenizer.pre_tokenizer = _SPLITTING
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    tokenizer.enable_truncation(settings.max_tokens)
    return tokenizer


def split_words(text: str, tokenizer: Tokenizer) -> list[str]:
    """Return the normalised words and signs of a text, before they are spelled in pieces.

    >>> settings = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=8)
    >>> split_words("The Café (1995)", build_tokenizer(SPECIAL_TOKENS, settings))
    ['the', 'cafe', '(', '1995', ')']
    """
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def stands_alone(character: str) -> bool:
    """Say whether a character is always a word by itself, so that its `##` form is never met.

    >>> [stands_alone(character) for character in ("a", "7", "-", "\u4e2d")]
    [False, False, True, True]
    """
    between = _KEEPING_CASE.normalize_str(f"a{character}a")
    return all(len(word) == 1 for word, _ in _SPLITTING.pre_tokenize_str(between))


def cut(text: str, max_tokens: int) -> str:
    """Return the part of a text that is read; half a character pair, no valid text, becomes "?".

    >>> len(cut("a " * 1_000_000, max_tokens=8))
    128
    """
    return text[: CHARACTERS_PER_TOKEN * max_tokens].encode(errors="replace").decode()


def split_texts(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the pieces of many texts, each framed and cut as on a phone.

    Args:
        tokenizer: see `build_tokenizer`.
        texts: of any length.
        max_tokens: longest text in pieces; the tokenizer may allow more.
    """
    found: list[list[int]] = []
    for first in range(0, len(texts), _AT_ONCE):
        some = [cut(text, max_tokens) for text in texts[first : first + _AT_ONCE]]
        found += [encoding.ids[:max_tokens] for encoding in tokenizer.encode_batch_fast(some)]
    return found


def _refuse_twins(pieces: Sequence[str]) -> None:
    if len(set(pieces)) == len(pieces):
        return
    twice = sorted(piece for piece, count in Counter(pieces).items() if count > 1)[:10]
    raise DataError(
        f"vocabulary has pieces twice (up to 10 shown): {twice}: each line is an id, so mend it"
    )
