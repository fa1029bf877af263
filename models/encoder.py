"""Turn texts into vectors on a phone: onnxruntime, tokenizers and NumPy, no torch.

    >>> encoder = Encoder.load(Path("bundle"))                              # doctest: +SKIP
    >>> encoder.encode(["The Usual Suspects (1995)", "heist film"]).shape   # doctest: +SKIP
    (2, 128)

Each text is one request, as on a phone. That is not only a manner of speaking: dynamic int8 takes
one scale per tensor, so a text's vector would depend on the company it is encoded in [1].

[1] onnxruntime documentation, "Quantize ONNX models", dynamic quantization.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from models.bundle import (
    ENCODER_BUDGET_BYTES,
    GRAPH,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
)
from models.errors import DataError
from models.wordpiece import (
    TokenizerSettings,
    build_tokenizer,
    cut,
    vocabulary_from_bytes,
)

FRAME_TOKENS = 2
"""`[CLS]` and `[SEP]`: what is left of a text that says nothing."""


class Encoder:
    """A loaded encoder bundle. One per model version is enough; it holds no state between texts."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        settings: TokenizerSettings,
        bundle: EncoderBundle,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._settings = settings
        self._bundle = bundle

    @classmethod
    def load(
        cls, folder: str | Path, *, threads: int = 1, budget_bytes: int = ENCODER_BUDGET_BYTES
    ) -> Self:
        """Load a bundle folder, after checking all of it.

        Args:
            folder: the bundle.
            threads: threads of one request, >= 1.
            budget_bytes: most bytes it may have; see `EncoderBundle.open`.

        Raises:
            DataError: if the folder is not a whole bundle, or its graph cannot be run.
            BudgetError: if it is larger than a bundle may be.
        """
        bundle = EncoderBundle.open(Path(folder), budget_bytes)
        settings = TokenizerSettings.from_bytes(bundle.read(TOKENIZER))
        pieces = vocabulary_from_bytes(bundle.read(VOCABULARY))
        session = open_session(bundle.read(GRAPH), threads=threads)
        return cls(session, build_tokenizer(pieces, settings), settings, bundle)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Encode each text by itself.

        A text is cut to 16 characters a piece before, and to `max_tokens` after it is split.
        A text without any piece (empty, or only spaces) says nothing: its vector is all zeros, so
        that it is near to no item.

        Args:
            texts: any number of texts, of any length.

        Returns:
            (len(texts), vector_size) float32, each row of length 1 (or 0, see above).

        Raises:
            TypeError: if `texts` is one text: its letters would be taken for texts.
            DataError: if the graph gives numbers that are not finite, as one with NaN weights does.
        """
        if isinstance(texts, str):
            raise TypeError(f"encode takes a list of texts, not one text: encode([{texts[:40]!r}])")
        vectors = np.zeros((len(texts), self.vector_size), np.float32)
        for row, text in enumerate(texts):
            ids = self._tokenizer.encode(cut(text, self._settings.max_tokens)).ids
            if len(ids) > FRAME_TOKENS:
                vectors[row] = run_graph(self._session, np.asarray([ids], np.int64))[0]
        wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(wrong):
            raise DataError(
                f"bundle {self._bundle.folder} gives NaN or infinite numbers for {len(wrong)} of "
                f"{len(texts)} texts (the first is text {wrong[0]}): its weights are broken; get "
                "the bundle again, or make it again with `pocketfleet compress`"
            )
        return vectors

    def num_tokens(self, text: str) -> int:
        """Return the pieces this text is read as, `[CLS]` and `[SEP]` included."""
        return len(self._tokenizer.encode(cut(text, self._settings.max_tokens)).ids)

    @property
    def vector_size(self) -> int:
        """Numbers per text."""
        return self._bundle.vector_size

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole bundle."""
        return self._bundle.num_bytes

    @property
    def max_tokens(self) -> int:
        """Longest text in pieces, `[CLS]` and `[SEP]` included."""
        return self._settings.max_tokens


def open_session(graph: bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Start onnxruntime on a graph, without spinning threads (a simulator has many sessions).

    Raises:
        DataError: if onnxruntime cannot read the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; it warns of tensors that it shapes itself
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"onnxruntime cannot read the encoder graph: {first_line}") from error


def run_graph(session: onnxruntime.InferenceSession, ids: np.ndarray) -> np.ndarray:
    """Run unpadded ids (batch, tokens) int64 through the graph.

    Returns:
        (batch, vector_size) float32.
    """
    feeds = {"ids": ids, "mask": np.ones_like(ids)}
    return np.asarray(session.run(None, feeds)[0])
