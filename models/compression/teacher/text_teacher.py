"""The text teacher: a large pretrained encoder, read once, its answers kept on disk.

    texts --tokenizer--> pieces --teacher--> hidden states --mean over pieces--> length 1
                                    |
                                    +--> attention that each word of the vocabulary received

One pass gives both what the student shall imitate (a vector per text, pooled as
sentence-transformers [1] pools MiniLM) and what the pruning needs (attention received, see
`hard_pruning`). Both are cached under the hash of weights, tokenizer, texts and settings, chunk by
chunk (see `row_store`), so a second run reads them from disk and a run that was killed goes on.

Any encoder with a WordPiece vocabulary can be a teacher. Texts are cut before they are split, so
one of a megabyte costs no more than a page.

Looking at the attentions costs time with long texts only. Measured with MiniLM of 6 layers on one
core, per text of so many pieces, with attentions and with the fused attention that returns none:
32 pieces 7.6 and 7.2 ms, 64: 17.0 and 15.5, 128: 44 and 32, 256: 137 and 76 (`attention_every`).

[1] N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019, mean pooling.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.compression.student import mean_pool
from models.compression.teacher.row_store import Sums, add_sums, chunks, fill
from models.compression.teacher.teacher_files import (
    fingerprint,
    load_weights_and_tokenizer,
    special_ids,
    standard_vocabulary,
)
from models.errors import DataError
from models.progress import Progress, silent
from models.wordpiece import cut

CHUNK_TEXTS = 4096
"""Texts that are read between two entries in the journal: what a stop may lose."""


class TeacherSettings(BaseModel, extra="forbid", frozen=True):
    """How the teacher reads."""

    max_tokens: int = Field(description="longest text in the teacher's pieces", ge=8, le=512)
    batch_size: int = Field(description="texts per forward pass", ge=1, le=1024)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the teacher made of some texts.

    Attentions are dear, so they may be looked at in a sample of the texts only.

    Attributes:
        vectors: (n, width) float32, each row of length 1; memory-mapped from the cache.
        attention_received: (vocabulary,) float64, per word of the teacher's vocabulary the
            attention its places received, mean over layers and heads, summed over all places in
            the sample.
        occurrences: (vocabulary,) int64, places at which the word stood, in the sample.
        all_occurrences: (vocabulary,) int64, the same in all texts.
        sample_size: texts in the sample.
    """

    vectors: np.ndarray
    attention_received: np.ndarray
    occurrences: np.ndarray
    all_occurrences: np.ndarray
    sample_size: int

    @property
    def attention_everywhere(self) -> np.ndarray:
        """Attention received in all texts, (vocabulary,) float64; outside the sample an estimate.

        A place outside the sample counts what the word's places in the sample received on average.
        One more place, of the average over all words, is mixed in, for words that the sample hardly
        knows. When the sample is all texts, this is `attention_received`, to the bit.
        """
        usual = self.attention_received.sum() / max(int(self.occurrences.sum()), 1)
        per_place = (self.attention_received + usual) / (self.occurrences + 1)
        unseen = self.all_occurrences - self.occurrences
        return np.asarray(self.attention_received + unseen * per_place, np.float64)


@dataclass(frozen=True, slots=True)
class TextTeacher:
    """A pretrained encoder and its tokenizer, for reading only.

    Attributes:
        model: in evaluation mode, with attentions on.
        tokenizer: a fast tokenizer with a WordPiece vocabulary.
        settings: how it reads.
        fingerprint: SHA-256 over weights and tokenizer.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    settings: TeacherSettings
    fingerprint: str

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.model.config.hidden_size)

    @property
    def special_ids(self) -> list[int]:
        """The teacher's ids of `SPECIAL_TOKENS`, in that order."""
        return special_ids(self.tokenizer)

    @property
    def standard_vocabulary(self) -> list[str]:
        """Pieces in the order of their ids, the special ones under BERT's names."""
        return standard_vocabulary(self.tokenizer)

    @property
    def lowercase(self) -> bool:
        """Whether the tokenizer folds capitals."""
        return bool(self._normalizer.get("lowercase"))

    @property
    def strip_accents(self) -> bool:
        """Whether the tokenizer drops accents; if it does not say, it does so with capitals."""
        accents = self._normalizer.get("strip_accents")
        return self.lowercase if accents is None else bool(accents)

    @property
    def _normalizer(self) -> dict[str, object]:
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        return dict(backend["normalizer"])

    def word_embeddings(self) -> np.ndarray:
        """Return the input embedding table, (vocabulary, width) float32."""
        table: np.ndarray = self.model.get_input_embeddings().weight.detach().numpy()
        return table


def load_text_teacher(source: str | Path, settings: TeacherSettings) -> TextTeacher:
    """Load a teacher from a Hugging Face folder or id.

    Args:
        source: a folder with config.json, model.safetensors and tokenizer.json, or a model id.
        settings: how it reads.

    Raises:
        DataError: if it cannot be loaded, its weights are not all finite numbers, its vocabulary is
            not WordPiece or has a piece twice, or it cannot read texts as long as `max_tokens`.
    """
    model, tokenizer = load_weights_and_tokenizer(source)
    positions = getattr(model.config, "max_position_embeddings", settings.max_tokens)
    if settings.max_tokens > positions:
        raise DataError(
            f"text teacher {str(source)!r} reads at most {positions} pieces, and max_tokens is "
            f"{settings.max_tokens}: set it to at most that"
        )
    return TextTeacher(model, tokenizer, settings, fingerprint(model, tokenizer))


def read(
    teacher: TextTeacher,
    texts: Sequence[str],
    cache: Path,
    progress: Progress = silent,
    *,
    attention_every: int = 1,
) -> Reading:
    """Return the teacher's reading of these texts; what the cache lacks of it is read first.

    A reading that was stopped, by kill -9 as well, goes on where it was and ends as the same bytes;
    at most `CHUNK_TEXTS` texts are read twice. Memory holds one chunk of vectors, not all.

    Args:
        teacher: who reads.
        texts: at least one text.
        cache: folder for readings; made if it is not there.
        progress: told about each batch.
        attention_every: every so-many-th text, from the first on, is in the sample whose attentions
            are looked at; the others are read with the faster attention that returns none.

    Raises:
        DataError: if there are no texts, the teacher returns no attentions, or the cache cannot be
            written.
    """
    if not texts:
        raise DataError("the teacher got no texts to read: give a corpus with at least one text")
    folder = cache / "teacher-readings" / _address(teacher, texts, attention_every)
    table = fill(
        folder,
        (len(texts), teacher.width),
        CHUNK_TEXTS,
        lambda rows: _read_chunk(teacher, texts, rows, attention_every, progress),
    )
    return _reading(table.rows, table.sums)


def read_now(
    teacher: TextTeacher,
    texts: Sequence[str],
    progress: Progress = silent,
    *,
    attention_every: int = 1,
) -> Reading:
    """Read texts as `read` does, to the bit, but into memory and without a cache.

    Raises:
        DataError: if the teacher returns no attentions.
    """
    vectors = np.zeros((len(texts), teacher.width), np.float32)
    total: Sums = {}
    for rows in chunks(len(texts), CHUNK_TEXTS):
        vectors[rows], sums = _read_chunk(teacher, texts, rows, attention_every, progress)
        total = add_sums(total, sums)
    return _reading(vectors, total)


def attention_received(attentions: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Return how much attention each place received, mean over layers and heads.

    The inner sums of `s(w)` in the design's `ei-bert.md`: for place i, the sum over the places j
    that look, of A[j, i]. Padding neither looks nor is counted.

    Args:
        attentions: per layer (B, H, T, T) float32, rows (last axis) sum to 1.
        mask: (B, T) int64, 1 where there is a piece.

    Returns:
        (B, T) float32.

    Raises:
        DataError: if there are no attentions.
    """
    if not attentions or any(layer is None for layer in attentions):
        raise DataError(
            "the text teacher returned no attentions, and pruning is scored by them: load it with "
            'attn_implementation="eager"'
        )
    looking = mask[:, None, None, :].float()  # (B, 1, 1, T)
    total = torch.zeros(mask.shape)
    for layer in attentions:
        total += (looking @ layer).mean(dim=1)[:, 0]  # sum over j, then mean over heads
    return total / len(attentions)


def _read_chunk(
    teacher: TextTeacher,
    texts: Sequence[str],
    rows: range,
    attention_every: int,
    progress: Progress,
) -> tuple[np.ndarray, Sums]:
    """Read some texts: their vectors, and what adds up over them. Like lengths share a batch."""
    ids = _split(teacher, texts[rows.start : rows.stop])
    vectors = np.zeros((len(rows), teacher.width), np.float32)
    received = np.zeros(len(teacher.tokenizer), np.float64)
    sampled = [place for place in range(len(rows)) if rows[place] % attention_every == 0]
    others = [place for place in range(len(rows)) if rows[place] % attention_every != 0]
    done = rows.start
    for batch in _batches(sampled, ids, teacher.settings.batch_size):
        vectors[batch], looked_at = _forward(teacher, [ids[place] for place in batch])
        received += looked_at
        done += len(batch)
        progress("text teacher", done, len(texts))
    with _fast_attention(teacher.model):
        for batch in _batches(others, ids, teacher.settings.batch_size):
            vectors[batch] = _forward_fast(teacher, [ids[place] for place in batch])
            done += len(batch)
            progress("text teacher", done, len(texts))
    return vectors, {
        "attention_received": received,
        "occurrences": _count(teacher, [ids[place] for place in sampled]),
        "all_occurrences": _count(teacher, ids),
        "sample_size": np.asarray(len(sampled)),
    }


def _split(teacher: TextTeacher, texts: Sequence[str]) -> list[list[int]]:
    """Return the pieces of each text, framed and cut."""
    longest = teacher.settings.max_tokens
    read = [cut(text, longest) for text in texts]
    split = teacher.tokenizer(read, truncation=True, max_length=longest)
    return list(split["input_ids"])


def _batches(places: Sequence[int], ids: list[list[int]], size: int) -> list[list[int]]:
    order = sorted(places, key=lambda place: len(ids[place]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _pad(teacher: TextTeacher, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both (B, longest) int64."""
    longest = max(map(len, ids))
    padded = np.full((len(ids), longest), teacher.special_ids[0], np.int64)
    mask = np.zeros_like(padded)
    for row, text in enumerate(ids):
        padded[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _forward(teacher: TextTeacher, ids: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (B, width), and per word the attention received (vocabulary,)."""
    padded, mask = _pad(teacher, ids)
    with torch.inference_mode():
        output = teacher.model(input_ids=padded, attention_mask=mask, output_attentions=True)
        received = attention_received(output.attentions or (), mask)
        vectors = F.normalize(mean_pool(output.last_hidden_state, mask), dim=1)
    real = mask.numpy() > 0
    words = len(teacher.tokenizer)
    return vectors.numpy(), np.bincount(padded.numpy()[real], received.numpy()[real], words)


def _forward_fast(teacher: TextTeacher, ids: list[list[int]]) -> np.ndarray:
    """Return the vectors alone, (B, width)."""
    padded, mask = _pad(teacher, ids)
    with torch.inference_mode():
        states = teacher.model(input_ids=padded, attention_mask=mask).last_hidden_state
        return F.normalize(mean_pool(states, mask), dim=1).numpy()


@contextmanager
def _fast_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model use torch's fused attention; one that has none goes on as it is."""
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation("sdpa")
    except ValueError:  # this kind of model was written without it
        yield
        return
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _count(teacher: TextTeacher, ids: list[list[int]]) -> np.ndarray:
    """Return how often each word stands in the texts, (vocabulary,) int64."""
    flat = np.fromiter((index for text in ids for index in text), np.int64)
    return np.bincount(flat, minlength=len(teacher.tokenizer)).astype(np.int64)


def _reading(vectors: np.ndarray, sums: Sums) -> Reading:
    return Reading(
        vectors=vectors,
        attention_received=sums["attention_received"],
        occurrences=sums["occurrences"],
        all_occurrences=sums["all_occurrences"],
        sample_size=int(sums["sample_size"]),
    )


def _address(teacher: TextTeacher, texts: Sequence[str], attention_every: int) -> str:
    """Return the cache address; each text is framed by its length, so no two lists collide."""
    manner = f"{teacher.settings.model_dump_json()} {CHUNK_TEXTS} {attention_every}"
    digest = hashlib.sha256((teacher.fingerprint + manner).encode())
    for text in texts:
        content = text.encode(errors="replace")
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:32]
