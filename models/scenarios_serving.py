"""Several scenarios on one encoder, as a phone runs them: onnxruntime, tokenizers and NumPy.

```
                         scenario file: adapters + head, some KB
                                 |
text -> pieces -> encoder graph <+> pooled (H,) --head--> answer    "stack": adapters inside
                       one for all        |
                                          +--adapter--head--> answer "pooled": one adapter after it
```

The encoder's graph is loaded once and stays as it is. The adapters of a "stack" scenario are fed to
it with each text; without any the graph has adapters of size 0, and gives the encoder's own
vectors. A "pooled" scenario leaves the graph alone, so one run of it answers all of that kind.

A scenario file is an `.npz` without pickles: matrices in int8 with a step per row, biases in
float16, and a line of JSON with the place, the labels and the hash of the graph it was trained on.

That a frozen encoder serves several tasks by small adapters is adapter-ALBERT's idea [1], after
Houlsby [2]; feeding them as inputs of one graph is our choice.

[1] S. Kwon et al., "Exploring Parameter-Efficient Fine-Tuning for Improving Communication / On-Chip
    Memory Efficiency: adapter-ALBERT", arXiv 2303.16100.
[2] N. Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019, arXiv 1902.00751.
"""

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.bundle import GRAPH, EncoderBundle
from models.encoder import FRAME_TOKENS, Encoder
from models.errors import DataError
from models.wordpiece import TokenizerSettings, cut

Array = NDArray[np.float32]

STACK, POOLED = "stack", "pooled"
"""Where a scenario's adapters are: after every layer of the encoder, or one after its pooling
(of size 0: a head alone)."""

ADAPTER_INPUTS = ("down", "down_bias", "up", "up_bias")
"""Optional inputs of a graph that takes adapters."""

POOLED_OUTPUT = "pooled"
"""Second output of such a graph: the mean of the last states, (batch, H)."""

FORMAT = "pocketfleet-scenario/1"
LARGEST_FILE_BYTES = 1_000_000

_META, _HEAD, _CENTRE = "meta", "head", "centre"
_LARGEST_INT8 = 127


@dataclass(frozen=True, slots=True, eq=False)
class ScenarioWeights:
    """What one scenario adds to the encoder; P places, A numbers in the bottleneck.

    Attributes:
        place: `STACK` (P is the encoder's depth) or `POOLED` (P is 1).
        down: (P, H, A) float32.
        down_bias: (P, A) float32.
        up: (P, A, H) float32.
        up_bias: (P, H) float32.
        head: (n, H) float32; None: the answer is the encoder's vector, of `STACK` only.
        head_bias: (n,) float32, or None with the head.
        centre: (H,) float32, taken off the pooled states first, or None with the head.
        labels: names of the n answers, or none.
        encoder: SHA-256 of the graph it was trained on, in hex.
    """

    place: str
    down: Array
    down_bias: Array
    up: Array
    up_bias: Array
    head: Array | None
    head_bias: Array | None
    centre: Array | None
    labels: tuple[str, ...]
    encoder: str

    def to_bytes(self) -> bytes:
        """Return the scenario file; the same weights give the same bytes."""
        meta = {
            "format": FORMAT,
            "place": self.place,
            "encoder": self.encoder,
            "labels": list(self.labels),
        }
        content = json.dumps(meta, ensure_ascii=False, separators=(",", ":")).encode()
        arrays: dict[str, np.ndarray] = {_META: np.frombuffer(content, np.uint8)}
        matrices = {"down": self.down.transpose(0, 2, 1), "up": self.up}  # rows of length H both
        biases = {"down_bias": self.down_bias, "up_bias": self.up_bias}
        if self.head is not None and self.head_bias is not None and self.centre is not None:
            matrices[_HEAD] = self.head
            biases |= {f"{_HEAD}_bias": self.head_bias, _CENTRE: self.centre}
        for name, matrix in matrices.items():
            arrays[name], arrays[f"{name}_step"] = _quantize(matrix)
        for name, bias in biases.items():
            arrays[name] = bias.astype(np.float16)
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "ScenarioWeights":
        """Read a scenario file.

        Raises:
            DataError: if it is not one, or its parts do not fit together.
        """
        arrays = _read_arrays(content)
        try:
            meta = json.loads(arrays[_META].tobytes())
            down, up = (_dequantize(arrays[k], arrays[f"{k}_step"]) for k in ("down", "up"))
            has_head = _HEAD in arrays
            made = cls(
                place=meta["place"],
                down=np.ascontiguousarray(down.transpose(0, 2, 1)),
                down_bias=arrays["down_bias"].astype(np.float32),
                up=up,
                up_bias=arrays["up_bias"].astype(np.float32),
                head=_dequantize(arrays[_HEAD], arrays[f"{_HEAD}_step"]) if has_head else None,
                head_bias=arrays[f"{_HEAD}_bias"].astype(np.float32) if has_head else None,
                centre=arrays[_CENTRE].astype(np.float32) if has_head else None,
                labels=tuple(str(label) for label in meta["labels"]),
                encoder=str(meta["encoder"]),
            )
            known = meta["format"] == FORMAT
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"scenario file is damaged ({error}): get it again") from error
        problem = "" if known else f"its format is {meta['format']!r}, expected {FORMAT!r}"
        problem = problem or made._problem()
        if problem:
            raise DataError(f"scenario file cannot be used: {problem}; get it again")
        return made

    @property
    def width(self) -> int:
        """H, the encoder's numbers per place."""
        return int(self.up.shape[2])

    @property
    def places(self) -> int:
        """P, how many adapters there are."""
        return len(self.up)

    def read(self, pooled: Array) -> Array:
        """Answer pooled states: adapter (if it comes after the pooling) and head.

        Args:
            pooled: (B, H) float32.

        Returns:
            (B, n) float32.
        """
        if self.head is None or self.head_bias is None or self.centre is None:
            raise ValueError("a scenario without a head is read from the graph's own vector")
        apart: Array = pooled - self.centre
        if self.place == POOLED:
            inside = gelu(apart @ self.down[0] + self.down_bias[0])
            apart = np.asarray(apart + inside @ self.up[0] + self.up_bias[0], np.float32)
        answer: Array = apart @ self.head.T + self.head_bias
        return answer

    def inputs(self) -> dict[str, Array]:
        """Return what is fed to the graph beside ids and mask."""
        if self.place == POOLED:
            return {}
        return {name: getattr(self, name) for name in ADAPTER_INPUTS}

    def _problem(self) -> str:
        """Say what does not fit together, if anything."""
        shapes = [array.shape for array in (self.down, self.down_bias, self.up, self.up_bias)]
        if len(self.up.shape) != 3:
            return f"its adapters have shapes {shapes}"
        P, A, H = self.up.shape
        if self.place not in (STACK, POOLED) or (self.place == POOLED and P != 1):
            return f"its place is {self.place!r} with {P} adapters"
        if shapes != [(P, H, A), (P, A), (P, A, H), (P, H)]:
            return f"its adapters have shapes {shapes}"
        if self.head is None or self.head_bias is None or self.centre is None:
            return "" if self.place == STACK else "it has no head"
        n = len(self.head_bias)
        shapes = [array.shape for array in (self.head, self.head_bias, self.centre)]
        if shapes != [(n, H), (n,), (H,)]:
            return f"its head has shapes {shapes}"
        if len(self.labels) not in (0, n):
            return f"it has {len(self.labels)} labels for {n} answers"
        return ""


class ScenarioEncoder(Encoder):
    """An encoder that answers several scenarios; `encode` gives its own vectors as ever.

    >>> phone = ScenarioEncoder.load(Path("bundle"))                           # doctest: +SKIP
    >>> phone.add_scenario("intent", Path("intent.npz").read_bytes())          # doctest: +SKIP
    >>> phone.label("intent", ["wake me at seven"])                            # doctest: +SKIP
    ['alarm']
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        settings: TokenizerSettings,
        bundle: EncoderBundle,
    ) -> None:
        super().__init__(session, tokenizer, settings, bundle)
        self._graph_sha256 = str(bundle.manifest["files"][GRAPH]["sha256"])
        self._scenarios: dict[str, ScenarioWeights] = {}

    def add_scenario(self, name: str, content: bytes) -> None:
        """Load a scenario file; one of the same name is replaced.

        Raises:
            DataError: if it is damaged, or was trained on another encoder, or this encoder's graph
                takes no adapters.
        """
        weights = ScenarioWeights.from_bytes(content)
        if weights.encoder != self._graph_sha256:
            raise DataError(
                f"scenario {name!r} was trained on the encoder {weights.encoder[:12]}, this one is "
                f"{self._graph_sha256[:12]}: get both from the same release"
            )
        if POOLED_OUTPUT not in [output.name for output in self._session.get_outputs()]:
            raise DataError(
                f"scenario {name!r}: this encoder's graph takes no adapters: export it with "
                "`add_scenario_inputs`"
            )
        self._scenarios[name] = weights

    def answer(self, name: str, texts: Sequence[str]) -> Array:
        """Answer one scenario; see `answers`."""
        return self.answers([name], texts)[name]

    def answers(self, names: Sequence[str], texts: Sequence[str]) -> dict[str, Array]:
        """Answer several scenarios for each text, each text by itself.

        The graph runs once per text for all "pooled" scenarios together, and once per "stack" one.

        Args:
            names: of scenarios that were added.
            texts: any number of texts, of any length.

        Returns:
            by name (len(texts), n) float32: the head's answers, or without a head vectors of
            length 1. A text that says nothing has zeros.

        Raises:
            DataError: if there is no such scenario.
        """
        unknown = [name for name in names if name not in self._scenarios]
        if unknown:
            raise DataError(f"no scenario {unknown[0]!r}: there are {sorted(self._scenarios)}")
        wanted = {name: self._scenarios[name] for name in names}
        rows: dict[str, list[Array]] = {name: [] for name in names}
        for text in texts:
            ids = self._tokenizer.encode(cut(text, self._settings.max_tokens)).ids
            for name, row in self._answer(np.asarray([ids], np.int64), wanted).items():
                rows[name].append(row if len(ids) > FRAME_TOKENS else np.zeros_like(row))
        sizes = {name: self._num_answers(weights) for name, weights in wanted.items()}
        return {
            name: np.concatenate([np.zeros((0, sizes[name]), np.float32), *found])
            for name, found in rows.items()
        }

    def label(self, name: str, texts: Sequence[str]) -> list[str]:
        """Return the likeliest label of each text.

        Raises:
            DataError: if there is no such scenario, or it has no labels.
        """
        answers = self.answer(name, texts)
        labels = self._scenarios[name].labels
        if not labels:
            raise DataError(f"scenario {name!r} has no labels: use `answer`")
        return [labels[best] for best in answers.argmax(axis=1)]

    def _answer(
        self, ids: NDArray[np.int64], wanted: Mapping[str, ScenarioWeights]
    ) -> dict[str, Array]:
        """Answer one text (1, T)."""
        answers: dict[str, Array] = {}
        shared: Array | None = None
        for name, weights in wanted.items():
            if weights.head is None:
                answers[name] = self._run(ids, weights, None)
                continue
            pooled = shared if weights.place == POOLED and shared is not None else None
            if pooled is None:
                pooled = self._run(ids, weights, POOLED_OUTPUT)
            if weights.place == POOLED:
                shared = pooled
            answers[name] = weights.read(pooled)
        return answers

    def _run(self, ids: NDArray[np.int64], weights: ScenarioWeights, output: str | None) -> Array:
        """Run the graph; None is its first output, the vector."""
        name = output or self._session.get_outputs()[0].name
        feeds: dict[str, Any] = {"ids": ids, "mask": np.ones_like(ids), **weights.inputs()}
        return np.asarray(self._session.run([name], feeds)[0])

    def _num_answers(self, weights: ScenarioWeights) -> int:
        return self.vector_size if weights.head is None else len(weights.head)


def gelu(x: Array) -> Array:
    """Return x * P(N(0, 1) <= x), exact as in the encoder; for the few numbers of a bottleneck.

    >>> gelu(np.array([-1.0, 0.0, 1.0], np.float32)).round(4).tolist()
    [-0.15870000422000885, 0.0, 0.8413000106811523]
    """
    erf = np.asarray([math.erf(value / math.sqrt(2)) for value in x.ravel()], np.float32)
    result: Array = (0.5 * x * (1.0 + erf.reshape(x.shape))).astype(np.float32)
    return result


def _quantize(matrix: np.ndarray) -> tuple[NDArray[np.int8], Array]:
    """Return (..., rows, n) int8 and (..., rows, 1) float32; off by at most half a step."""
    step = np.abs(matrix).max(axis=-1, keepdims=True).astype(np.float32) / _LARGEST_INT8
    integers = np.rint(matrix / np.where(step > 0, step, 1))
    return integers.clip(-_LARGEST_INT8, _LARGEST_INT8).astype(np.int8), step


def _dequantize(integers: np.ndarray, step: np.ndarray) -> Array:
    if integers.dtype != np.int8 or step.shape != (*integers.shape[:-1], 1):
        raise ValueError(f"{integers.dtype} {integers.shape} with steps {step.shape}")
    return integers.astype(np.float32) * step.astype(np.float32)


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz, none of them pickled, all of them finite."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_FILE_BYTES:
            raise DataError(
                f"scenario file holds {size:,} bytes, at most {LARGEST_FILE_BYTES:,}: it is none"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"scenario file is not an .npz ({error}): get it again") from error
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise DataError(f"scenario file: {name} has NaN, infinite or no numbers: get it again")
    return arrays
