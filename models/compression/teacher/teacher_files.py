"""A pretrained encoder as files: what is taken from them, and what is refused.

```
config.json         the model's shape            no code of the folder is run
model.safetensors   its weights                  all there, all finite; never a pickle
tokenizer.json      vocabulary and normalising   WordPiece, each piece once, ids without holes
```

The teacher is data, not code. What would make a silently wrong reading is refused here, in one line
that says what is wrong.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from models.errors import DataError
from models.wordpiece import SPECIAL_TOKENS

_SPECIAL_NAMES = ("pad", "unk", "cls", "sep", "mask")
"""What transformers calls the tokens of `SPECIAL_TOKENS`."""


def load_weights_and_tokenizer(
    source: str | Path,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load an encoder in evaluation mode, with attentions that can be looked at, and its tokenizer.

    Args:
        source: a folder with config.json, model.safetensors and tokenizer.json, or a model id.

    Raises:
        DataError: if it cannot be loaded, its weights are not all finite numbers, or its vocabulary
            is not WordPiece or is in disorder.
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
    _check_weights(source, model, loading["missing_keys"])
    _check_tokenizer(source, tokenizer)
    _check_vocabulary(source, tokenizer, model.get_input_embeddings().weight.shape[0])
    return model.eval(), tokenizer


def special_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the teacher's ids of `SPECIAL_TOKENS`, in that order."""
    return [int(getattr(tokenizer, f"{name}_token_id")) for name in _SPECIAL_NAMES]


def standard_vocabulary(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Return the pieces in the order of their ids, the special ones under BERT's names."""
    ids = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.__getitem__)
    for index, name in zip(special_ids(tokenizer), SPECIAL_TOKENS, strict=True):
        pieces[index] = name
    return pieces


def fingerprint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the SHA-256 over the tokenizer and the weights that the vectors depend on."""
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    for name, tensor in _weights(model):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_weights(source: str | Path, model: PreTrainedModel, missing_keys: list[str]) -> None:
    missing = sorted(name for name in missing_keys if not _is_pooler(name))
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


def _check_tokenizer(source: str | Path, tokenizer: object) -> None:
    """Refuse a tokenizer whose splitting `wordpiece.build_tokenizer` could not repeat."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.model).__name__ != "WordPiece":
        raise DataError(
            f"text teacher {str(source)!r} has no WordPiece vocabulary, the only kind we prune: "
            "take one of the BERT, MiniLM or mpnet family"
        )
    normalizer = json.loads(backend.to_str())["normalizer"] or {}
    if normalizer.get("type") != "BertNormalizer":
        raise DataError(
            f"text teacher {str(source)!r} normalises texts by {normalizer.get('type')}, and we "
            "know BertNormalizer only: take one of the BERT, MiniLM or mpnet family"
        )
    for name in _SPECIAL_NAMES:
        if getattr(tokenizer, f"{name}_token_id") is None:
            raise DataError(
                f"text teacher {str(source)!r} has no {name}_token: name it in its "
                "tokenizer_config.json"
            )


def _check_vocabulary(
    source: str | Path, tokenizer: PreTrainedTokenizerFast, table_rows: int
) -> None:
    ids = sorted(tokenizer.get_vocab().values())
    if ids != list(range(len(ids))):
        holes = sorted(set(range(ids[-1] + 1)) - set(ids))[:3]
        raise DataError(
            f"text teacher {str(source)!r}: vocabulary has {len(ids)} pieces and ids up to "
            f"{ids[-1]}, so pieces stand in it twice (ids without a piece, up to 3 shown: "
            f"{holes}): mend its vocab.txt"
        )
    counts = Counter(standard_vocabulary(tokenizer))
    twice = sorted(piece for piece, count in counts.items() if count > 1)[:3]
    if twice:
        raise DataError(
            f"text teacher {str(source)!r}: vocabulary has pieces twice (up to 3 shown): {twice}: "
            "mend its tokenizer.json"
        )
    if len(ids) > table_rows:
        raise DataError(
            f"text teacher {str(source)!r}: vocabulary has {len(ids)} pieces, but the embedding "
            f"table {table_rows} rows: tokenizer and weights are not of one model"
        )


def _is_pooler(name: str) -> bool:
    """Say whether a weight is the pooler's: not used here, and random where a model has none."""
    return name.startswith("pooler.")


def _weights(model: PreTrainedModel) -> list[tuple[str, torch.Tensor]]:
    """Return the weights that the vectors depend on, by name."""
    return sorted(item for item in model.state_dict().items() if not _is_pooler(item[0]))
