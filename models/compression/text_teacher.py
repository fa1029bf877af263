"""The text teacher: a large pretrained encoder, read once, its answers kept on disk.

    texts --tokenizer--> pieces --teacher--> hidden states --mean over pieces--> length 1
                                    |
                                    +--> attention that each word of the vocabulary received

One pass gives both what the student shall imitate (a vector per text, pooled as
sentence-transformers [1] pools MiniLM) and what the pruning needs (attention received, see
`pruning`). Both are cached under the hash of weights, tokenizer, texts and settings, so a second
run reads them from disk.

The teacher is data, not code: only safetensors are read, never a pickle, and no code of the folder
is run.

[1] N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019, mean pooling.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from pydantic import BaseModel, Field
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from models.errors import DataError
from models.progress import Progress, silent
from models.wordpiece import SPECIAL_TOKENS


class TeacherSettings(BaseModel, extra="forbid", frozen=True):
    """How the teacher reads."""

    max_tokens: int = Field(description="longest text in the teacher's pieces", ge=8, le=512)
    batch_size: int = Field(description="texts per forward pass", ge=1, le=1024)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the teacher made of some texts.

    Attributes:
        vectors: (n, width) float32, each row of length 1; memory-mapped from the cache.
        attention_received: (vocabulary,) float64, per word of the teacher's vocabulary the
            attention its places received, mean over layers and heads, summed over all places.
        occurrences: (vocabulary,) int64, places at which the word stood.
    """

    vectors: np.ndarray
    attention_received: np.ndarray
    occurrences: np.ndarray


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
    def special_ids(self) -> list[int]:
        """The teacher's ids of `SPECIAL_TOKENS`, in that order."""
        names = ("pad", "unk", "cls", "sep", "mask")
        return [int(getattr(self.tokenizer, f"{name}_token_id")) for name in names]

    @property
    def standard_vocabulary(self) -> list[str]:
        """Pieces in the order of their ids, the special ones under BERT's names."""
        ids = self.tokenizer.get_vocab()
        pieces = sorted(ids, key=ids.__getitem__)
        for index, name in zip(self.special_ids, SPECIAL_TOKENS, strict=True):
            pieces[index] = name
        return pieces

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
        return json.loads(self.tokenizer.backend_tokenizer.to_str())["normalizer"] or {}

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
        DataError: if it cannot be loaded, its weights are not all finite numbers, or its vocabulary
            is not WordPiece.
    """
    hf_logging.disable_progress_bar()  # its bar would write into our output
    try:
        # The default attention returns no attentions; "eager" does.
        model, loading = AutoModel.from_pretrained(
            str(source),
            attn_implementation="eager",
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(str(source))
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"text teacher {str(source)!r} cannot be loaded ({reason}): give a folder with "
            "config.json, model.safetensors and tokenizer.json, or the id of a model on the hub"
        ) from error
    missing = sorted(name for name in loading["missing_keys"] if not _is_pooler(name))
    if missing:
        raise DataError(
            f"text teacher {str(source)!r} lacks weights (up to 3 shown): {missing[:3]}: get the "
            "model again"
        )
    for name, tensor in _weights(model):
        if not torch.isfinite(tensor).all():
            raise DataError(
                f"text teacher {str(source)!r}: weight {name} has NaN or infinite values: get the "
                "model again"
            )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "WordPiece":
        raise DataError(
            f"text teacher {str(source)!r} has no WordPiece vocabulary, the only kind we prune: "
            "take one of the BERT, MiniLM or mpnet family"
        )
    return TextTeacher(model.eval(), tokenizer, settings, _fingerprint(model, backend.to_str()))


def read(
    teacher: TextTeacher, texts: Sequence[str], cache: Path, progress: Progress = silent
) -> Reading:
    """Return the teacher's reading of these texts, from the cache if it was made before.

    Args:
        teacher: who reads.
        texts: at least one text.
        cache: folder for readings; made if it is not there.
        progress: told about each batch.

    Raises:
        DataError: if there are no texts, or the teacher returns no attentions.
    """
    if not texts:
        raise DataError("the teacher got no texts to read: give a corpus with at least one text")
    folder = cache / "teacher-readings" / _address(teacher, texts)
    if not (folder / _COUNTS).is_file():  # written last, so it marks a whole reading
        _store(folder, read_now(teacher, texts, progress))
    with np.load(folder / _COUNTS) as counts:
        return Reading(
            vectors=np.load(folder / _VECTORS, mmap_mode="r"),
            attention_received=counts["attention_received"],
            occurrences=counts["occurrences"],
        )


def read_now(teacher: TextTeacher, texts: Sequence[str], progress: Progress = silent) -> Reading:
    """Read texts with the teacher, without a cache. Texts of like length share a batch.

    Raises:
        DataError: if the teacher returns no attentions.
    """
    vocabulary_size = len(teacher.tokenizer)
    vectors = np.zeros((len(texts), teacher.model.config.hidden_size), np.float32)
    received = np.zeros(vocabulary_size, np.float64)
    occurrences = np.zeros(vocabulary_size, np.int64)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    size = teacher.settings.batch_size
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = _tokenize(teacher, [texts[row] for row in rows])
        vectors[rows], attention = _forward(teacher.model, batch)
        places = batch["attention_mask"].bool().numpy()
        ids = batch["input_ids"].numpy()[places]
        received += np.bincount(ids, attention[places], minlength=vocabulary_size)
        occurrences += np.bincount(ids, minlength=vocabulary_size)
        progress("text teacher", min(start + size, len(texts)), len(texts))
    return Reading(vectors, received, occurrences)


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
    looking = mask[:, None, :, None].float()  # (B, 1, T, 1)
    total = torch.zeros(mask.shape)
    for layer in attentions:
        total += (layer * looking).sum(dim=2).mean(dim=1)
    return total / len(attentions)


def mean_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the hidden states over the real places: (B, T, H), (B, T) -> (B, H)."""
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _tokenize(teacher: TextTeacher, texts: list[str]) -> dict[str, torch.Tensor]:
    batch = teacher.tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=teacher.settings.max_tokens,
        return_tensors="pt",
    )
    return dict(batch)


def _forward(
    model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        output = model(**batch, output_attentions=True)
        received = attention_received(output.attentions or (), batch["attention_mask"])
        pooled = mean_pool(output.last_hidden_state, batch["attention_mask"])
        return torch.nn.functional.normalize(pooled, dim=1).numpy(), received.numpy()


_VECTORS, _COUNTS = "vectors.npy", "counts.npz"


def _store(folder: Path, reading: Reading) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomic(folder / _VECTORS, lambda file: np.save(file, reading.vectors))
    _write_atomic(
        folder / _COUNTS,
        lambda file: np.savez(
            file,
            attention_received=reading.attention_received,
            occurrences=reading.occurrences,
        ),
    )


def _write_atomic(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        write(file)
    Path(file.name).replace(path)


def _is_pooler(name: str) -> bool:
    """Say whether a weight is the pooler's: not used here, and random where a model has none."""
    return name.startswith("pooler.")


def _weights(model: PreTrainedModel) -> list[tuple[str, torch.Tensor]]:
    """Return the weights that the vectors depend on, by name."""
    return sorted(item for item in model.state_dict().items() if not _is_pooler(item[0]))


def _fingerprint(model: PreTrainedModel, tokenizer: str) -> str:
    digest = hashlib.sha256(tokenizer.encode())
    for name, tensor in _weights(model):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _address(teacher: TextTeacher, texts: Sequence[str]) -> str:
    """Return the cache address; each text is framed by its length, so no two lists collide."""
    digest = hashlib.sha256((teacher.fingerprint + teacher.settings.model_dump_json()).encode())
    for text in texts:
        content = text.encode(errors="replace")
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:32]
