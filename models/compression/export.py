"""From torch to one small ONNX graph that gives the same vectors.

```
ids --> words + positions -> norm -> widen
        layer(x, mask, weights)              a call per pass; its weights and nodes are there once
mask -> mean over the real places -> readout -> "vector"
```

The graph is written straight from the student's weights (see `graph`); a `BitPlan` says how each
one is stored (see `quantization`). What a weight becomes depends on its bits:

    32         fp32 MatMul, fused Attention
    8          dynamic int8: DynamicQuantizeMatMul, QAttention; activations get a step per tensor,
               measured at run time [1]
    below 8    packed in the file, an int8 matrix as soon as the graph is loaded

The small matrices (widening, adapters, readout) are multiplied in fp32 whatever their bits: there
int8 saves no time, and rounding their inputs would cost quality. Norms and biases are 1 % of the
bytes: float16, or fp32 if any weight is. A LayerNorm is written as x - mean, RMSNormalization, + b:
onnxruntime's kernel for that is 5 times as fast as its LayerNormalization
(`python -m benchmarks.encoder_graph`).

[1] onnxruntime documentation, "Quantize ONNX models", dynamic quantization.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

import numpy as np
import torch
from onnx import ModelProto, TensorProto

from models.compression.batches import pad
from models.compression.graph import (
    ADAPTERS,
    ATTENTION,
    EMBEDDING,
    FEED_FORWARD,
    NORMS,
    PROJECTOR,
    SCALES,
    STRUCTURE,
    Graph,
    Nodes,
    check_tensors,
    graph_parts,
)
from models.compression.quantization import (
    FULL,
    LARGEST_INT8,
    PLANES,
    BitPlan,
    Columns,
    Steps,
    check_plan,
    highest,
    middle,
    num_groups,
    pack,
    quantize_columns,
    quantize_rows,
)
from models.compression.student import NORM_EPSILON, Student, StudentSettings, build_student
from models.encoder import open_session
from models.errors import DataError

__all__ = [
    "ADAPTERS",
    "ATTENTION",
    "EMBEDDING",
    "FEED_FORWARD",
    "NORMS",
    "PROJECTOR",
    "SCALES",
    "STRUCTURE",
    "Readout",
    "bytes_per_word",
    "check_parity",
    "export_graph",
    "graph_bytes_without_words",
    "graph_parts",
    "vector_readout",
]

LARGEST_BATCH = 64

PARITY_TOLERANCE = 1e-4
"""Largest difference of a number of a unit vector between torch and the fp32 graph."""

LARGEST_FLOAT16 = float(np.finfo(np.float16).max)

LAST = np.array([-1])

SHORTEST = 1e-12
"""A shorter vector is not made longer: that of `torch.nn.functional.normalize`."""

LAYER_MATRICES = ("query_key_value", "attention_out", "feed_in", "feed_out")
LAYER_NORMS = ("attention_norm", "feed_norm")

LENGTH_PREFIX_BYTES = 32
"""Lengths and shapes are written in 1 to 5 bytes: what they may grow by with the word table."""


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """What is read from the pooled states: vectors for ranking, or the logits of a task."""

    name: str  # the graph's output
    weight: np.ndarray  # (n, H) float32
    bias: np.ndarray | None  # (n,) float32
    unit_length: bool


def vector_readout(student: Student) -> Readout:
    """Return the encoder's own readout: its projector, rows of length 1."""
    return Readout("vector", _array(student.projector.weight), None, unit_length=True)


def export_graph(student: Student, plan: BitPlan, readout: Readout | None = None) -> ModelProto:
    """Write a student as an ONNX graph; the same weights and plan give the same bytes.

    Inputs `ids` and `mask` (batch, tokens) int64, one output (batch, n) float32; batch and tokens
    are free. The plan's bits of "projector" go for any readout.

    Args:
        student: trained.
        plan: the bits of each weight.
        readout: the output; the student's own projector when None.

    Raises:
        DataError: if a weight is not a finite number.
        SettingsError: if the plan does not fit the student.
        BudgetError: if bytes would be wasted (a bug).
    """
    check_plan(student.settings, plan)
    readout = vector_readout(student) if readout is None else readout
    writer = _Writer(student, plan, readout)
    x = writer.embed()
    for place in range(student.settings.depth):
        x = writer.layer(x, place)
    writer.read_out(x, readout)
    model = writer.graph.finish(readout.name, len(readout.weight))
    if FULL not in plan.values():
        check_tensors(model)
    return model


def check_parity(student: Student, model: ModelProto, texts_ids: Sequence[list[int]]) -> float:
    """Compare torch and the fp32 graph on some padded texts.

    Args:
        student: what was exported.
        model: its fp32 graph with the student's own readout.
        texts_ids: pieces of the texts; the first `LARGEST_BATCH` are compared, together.

    Returns:
        the largest absolute difference of a number of a vector.

    Raises:
        RuntimeError: if it is above `PARITY_TOLERANCE`: the graph is another model.
    """
    ids, mask = pad(texts_ids[:LARGEST_BATCH])
    with torch.inference_mode():
        expected = student.eval()(ids, mask).numpy()
    session = open_session(model.SerializeToString())
    got = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0]
    difference = float(np.abs(expected - got).max())
    if not difference <= PARITY_TOLERANCE:  # also true for NaN
        raise RuntimeError(
            f"the exported graph differs from torch by {difference}, at most {PARITY_TOLERANCE} is "
            "rounding: the graph writer or this onnxruntime computes another model"
        )
    return difference


def graph_bytes_without_words(settings: StudentSettings, plan: BitPlan) -> int:
    """Return the bytes of a student's graph but for its word table.

    Never too low, and at most `LENGTH_PREFIX_BYTES` too high: a graph of one word is written and
    measured.

    Args:
        settings: the student's shape.
        plan: the bits of each weight.
    """
    student = build_student(settings, vocabulary_size=1, seed=0)
    with torch.no_grad():  # copies of an untrained layer are equal, and would be found
        for parameter in student.parameters():
            parameter.add_(torch.linspace(0, 1, parameter.numel()).view(parameter.shape))
    written: int = export_graph(student, plan).ByteSize()
    return written - bytes_per_word(settings, plan["words"]) + LENGTH_PREFIX_BYTES


def bytes_per_word(settings: StudentSettings, bits: int) -> int:
    """Return what one word costs in the graph: its numbers and its steps.

    Args:
        settings: the student's shape.
        bits: of the word table in the plan.
    """
    if bits == FULL:
        return 4 * settings.embedding_size
    return settings.embedding_size * bits // 8 + num_groups(settings.embedding_size, bits)


class _Writer:
    """The student's forward pass, node by node; the order follows `Student.forward`."""

    def __init__(self, student: Student, plan: BitPlan, readout: Readout) -> None:
        self.graph = Graph()
        self._settings = student.settings
        self._plan = plan
        self._weights = {name: _array(p) for name, p in student.named_parameters()}
        self._weights["projector.weight"] = readout.weight
        if readout.bias is not None:
            self._weights["projector.bias"] = readout.bias
        for name, values in self._weights.items():
            if not np.isfinite(values).all():
                raise DataError(
                    f"the student's weight {name} has NaN or infinite values: train again"
                )
        self._stored: dict[str, tuple[str, ...]] = {}
        self._mask = ""

    def embed(self) -> str:
        """Words and positions, normalised and widened: (B, T, H)."""
        graph = self.graph
        length = graph.add("Shape", "ids", start=1, end=2)
        zero, one = (graph.constant(np.array([value])) for value in (0, 1))
        positions = graph.add("Slice", self._table("positions"), zero, length, one)
        x = graph.add("Add", self._table("words", "ids"), positions)
        graph.define("norm", 3, _norm)
        x = graph.call("norm", x, *self._norm("norm"))
        if self._settings.depth:
            self._mask = graph.add("Cast", "mask", to=TensorProto.INT32)
        if "widen" in self._plan:
            x = graph.add("Add", graph.add("MatMul", x, self._dense("widen")), self._bias("widen"))
        return x

    def layer(self, x: str, place: int) -> str:
        """One pass of a stored layer, and the adapter at this place: (B, T, H) to (B, T, H)."""
        stored = f"layers.{place % self._settings.layers}"
        matrices = [self._matrix(f"{stored}.{part}") for part in LAYER_MATRICES]
        norms = [self._norm(f"{stored}.{part}") for part in LAYER_NORMS]
        inputs = (x, self._mask, *chain(*matrices, *norms))
        counts = tuple(len(matrix) for matrix in matrices)
        name = "layer" + "".join(map(str, counts))
        self.graph.define(name, len(inputs), partial(_layer, counts, self._settings.num_heads))
        x = self.graph.call(name, *inputs)
        if not self._settings.adapter_size:
            return x
        down, up = (f"adapters.{place}.{part}" for part in ("down", "up"))
        weights = (self._dense(down), self._bias(down), self._dense(up), self._bias(up))
        self.graph.define("adapter", 5, _adapter)
        return self.graph.call("adapter", x, *weights)

    def read_out(self, x: str, readout: Readout) -> None:
        """Mean over the real places, then the readout: (B, T, H) to (B, n)."""
        graph = self.graph
        one = graph.constant(np.array([1]))
        places = graph.add("Unsqueeze", graph.add("Cast", "mask", to=TensorProto.FLOAT), one)
        pooled = graph.add("MatMul", places, x)  # (B, 1, T) @ (B, T, H), the sum
        if readout.bias is not None or not readout.unit_length:  # else the length does not matter
            pooled = graph.add("Div", pooled, graph.add("ReduceSum", places, graph.constant(LAST)))
        pooled = graph.add("Squeeze", pooled, one)
        result = graph.add("MatMul", pooled, self._dense("projector"))
        if readout.bias is not None:
            result = graph.add("Add", result, self._bias("projector"))
        if readout.unit_length:
            length = graph.add("ReduceL2", result, graph.constant(LAST))
            length = graph.add("Max", length, graph.constant(np.float32(SHORTEST)))
            graph.add("Div", result, length)

    def _table(self, name: str, ids: str | None = None) -> str:
        """Return rows of a table: those of `ids` (B, T, E), or all of them (1, n, E)."""
        graph, bits = self.graph, self._plan[name]
        values = self._weights[f"{name}.weight"]

        def rows(stored: str) -> str:
            return graph.add("Gather", stored, ids) if ids else graph.add("Unsqueeze", stored, zero)

        zero = graph.constant(np.array([0]))
        if bits == FULL:
            return rows(graph.store(values, EMBEDDING))
        made = quantize_rows(values, bits)
        packed = (graph.store(plane, EMBEDDING) for plane in pack(made.integers, bits, axis=1))
        planes = [rows(plane) for plane in packed]
        # All steps are made when the graph is loaded: at run time they are only looked up.
        steps = rows(self._steps(made.steps))
        groups = made.steps.codes.shape[1]
        graph.define(f"rows{bits}", len(planes) + 1, partial(_rows, bits, groups))
        return graph.call(f"rows{bits}", *planes, steps)

    def _matrix(self, name: str) -> tuple[str, ...]:
        """Return the inputs of a product: (fp32 matrix, bias) or (int8 matrix, steps, bias)."""
        if name not in self._stored:
            values = self._weights[f"{name}.weight"].T
            if self._plan[name] == FULL:
                matrix: tuple[str, ...] = (self.graph.store(values, _part_of(name)),)
            else:
                made = quantize_columns(values, self._plan[name])
                matrix = (self._int8(made, name), self._steps(made.steps))
            bias = (self._bias(name),) if f"{name}.bias" in self._weights else ()
            self._stored[name] = (*matrix, *bias)
        return self._stored[name]

    def _int8(self, made: Columns, name: str) -> str:
        """Return an int8 matrix: stored, or packed and made from it when the graph is loaded."""
        graph, part = self.graph, _part_of(name)
        if made.multipliers is None:
            return graph.store(made.integers, part)
        planes = [graph.store(plane, part) for plane in pack(made.integers, made.bits, axis=0)]
        multipliers = graph.store(made.multipliers[:, None, :], SCALES)
        groups, outputs = made.multipliers.shape
        shape = graph.constant(np.array([groups, -1, outputs]))
        function = f"matrix{made.bits}"
        graph.define(function, len(planes) + 2, partial(_matrix, made.bits))
        return graph.call(function, *planes, multipliers, shape)

    def _dense(self, name: str) -> str:
        """Return a matrix in fp32, made when the graph is loaded."""
        matrix, *steps = self._matrix(name)[: 1 if self._plan[name] == FULL else 2]
        if not steps:
            return matrix
        return self.graph.add("Mul", self.graph.add("Cast", matrix, to=TensorProto.FLOAT), *steps)

    def _steps(self, steps: Steps) -> str:
        """Return steps from their codes."""
        self.graph.define("steps", 3, _steps)
        numbers = (steps.codes, steps.slope, steps.start)
        return self.graph.call("steps", *(self.graph.store(value, SCALES) for value in numbers))

    def _norm(self, name: str) -> tuple[str, str]:
        """Return the two vectors of a LayerNorm."""
        return self._vector(f"{name}.weight"), self._bias(name)

    def _bias(self, name: str) -> str:
        return self._vector(f"{name}.bias")

    def _vector(self, name: str) -> str:
        """Return a vector in fp32; it is stored as float16 where every weight is quantised."""
        if name not in self._stored:
            values = self._weights[name]
            if FULL in self._plan.values():
                self._stored[name] = (self.graph.store(values, NORMS),)
            else:
                half = self.graph.store(_float16(values, name), NORMS)
                self._stored[name] = (self.graph.add("Cast", half, to=TensorProto.FLOAT),)
        return self._stored[name][0]


def _layer(counts: Sequence[int], num_heads: int, nodes: Nodes, *inputs: str) -> str:
    """Attention and feed-forward net, each added to its input and normalised after it."""
    x, mask, *weights = inputs
    left = iter(weights)
    attention, out, feed_in, feed_out = (tuple(islice(left, count)) for count in counts)
    norms = tuple(left)
    read = _attend(nodes, x, mask, attention, num_heads)
    x = nodes.call("norm", nodes.add("Add", x, _multiply(nodes, read, out)), *norms[:2])
    wide = nodes.add("Gelu", _multiply(nodes, x, feed_in))
    return nodes.call("norm", nodes.add("Add", x, _multiply(nodes, wide, feed_out)), *norms[2:])


def _attend(nodes: Nodes, x: str, mask: str, weights: Sequence[str], num_heads: int) -> str:
    """Query, key, value and what each place reads from the others, in one operator."""
    if len(weights) == 2:
        return nodes.fused("Attention", x, *weights, mask, num_heads=num_heads)
    matrix, steps, bias = weights
    small, step, zero = nodes.add_many(3, "DynamicQuantizeLinear", x)
    return nodes.fused(
        "QAttention", small, matrix, bias, step, steps, mask, zero, num_heads=num_heads
    )


def _multiply(nodes: Nodes, x: str, weights: Sequence[str]) -> str:
    """A linear map."""
    if len(weights) == 2:
        return nodes.add("Add", nodes.add("MatMul", x, weights[0]), weights[1])
    matrix, steps, bias = weights
    return nodes.fused("DynamicQuantizeMatMul", x, matrix, steps, "", bias)


def _norm(nodes: Nodes, x: str, gain: str, bias: str) -> str:
    """LayerNorm over the last axis, by the operators that are fastest."""
    mean = nodes.add("ReduceMean", x, nodes.constant(np.array([-1])))
    centred = nodes.add("Sub", x, mean)
    scaled = nodes.add("RMSNormalization", centred, gain, axis=-1, epsilon=NORM_EPSILON)
    return nodes.add("Add", scaled, bias)


def _adapter(nodes: Nodes, x: str, down: str, down_bias: str, up: str, up_bias: str) -> str:
    """Return x + up(gelu(down(x)))."""
    narrow = nodes.add("Gelu", nodes.add("Add", nodes.add("MatMul", x, down), down_bias))
    return nodes.add("Add", x, nodes.add("Add", nodes.add("MatMul", narrow, up), up_bias))


def _steps(nodes: Nodes, codes: str, slope: str, start: str) -> str:
    """exp(start + slope * code)."""
    logarithms = nodes.add("Mul", nodes.add("Cast", codes, to=TensorProto.FLOAT), slope)
    return nodes.add("Exp", nodes.add("Add", logarithms, start))


def _rows(bits: int, groups: int, nodes: Nodes, *inputs: str) -> str:
    """`Rows.values` of tables with two axes in front of the numbers."""
    *planes, steps = inputs
    integers = nodes.add("Cast", _unpack(nodes, planes, bits, axis=2), to=TensorProto.FLOAT)
    if bits == 8:
        return nodes.add("Mul", integers, steps)
    centred = nodes.add("Sub", integers, nodes.constant(np.float32(middle(bits))))
    if groups == 1:
        return nodes.add("Mul", centred, steps)
    grouped = nodes.add("Reshape", centred, nodes.constant(np.array([0, 0, groups, -1])))
    spread = nodes.add("Mul", grouped, nodes.add("Unsqueeze", steps, nodes.constant(LAST)))
    return nodes.add("Reshape", spread, nodes.constant(np.array([0, 0, -1])))


def _matrix(bits: int, nodes: Nodes, *inputs: str) -> str:
    """`Columns.int8` below 8 bits."""
    *planes, multipliers, shape = inputs
    levels = nodes.add("Reshape", _unpack(nodes, planes, bits, axis=0), shape)
    # A look-up, and no arithmetic: exact anywhere, and loading takes little memory for it.
    width = nodes.constant(np.int32(highest(bits) + 1))
    row = nodes.add("Mul", nodes.add("Cast", multipliers, to=TensorProto.INT32), width)
    place = nodes.add("Add", nodes.add("Cast", levels, to=TensorProto.INT32), row)
    return nodes.add("Flatten", nodes.add("Gather", _products(nodes, bits), place), axis=2)


def _products(nodes: Nodes, bits: int) -> str:
    """`quantization.products`, by a few nodes: the table itself has up to 8,192 bytes."""
    top, one = np.float32(highest(bits)), nodes.constant(np.float32(1))
    odd = (nodes.constant(value) for value in (-top, top + 1, np.float32(2)))
    factors = (nodes.constant(np.float32(0)), nodes.constant(np.float32(LARGEST_INT8 + 1)), one)
    column = nodes.add("Unsqueeze", nodes.add("Range", *factors), nodes.constant(LAST))
    exact = nodes.add("Mul", nodes.add("Range", *odd), column)
    rounded = nodes.add("Round", nodes.add("Div", exact, nodes.constant(top)))
    flat = nodes.add("Reshape", rounded, nodes.constant(LAST))
    return nodes.add("Cast", flat, to=TensorProto.INT8)


def _unpack(nodes: Nodes, planes: Sequence[str], bits: int, axis: int) -> str:
    """Undo `quantization.pack`: uint8 below 2^bits."""
    whole = ""
    for plane, width in zip(planes, PLANES[bits], strict=True):
        part = _unpack_plane(nodes, plane, width, axis)
        if whole:
            higher = nodes.constant(np.uint8(width))
            whole = nodes.add("BitShift", whole, higher, direction="LEFT")
            whole = nodes.add("BitwiseOr", whole, part)
        else:
            whole = part
    return whole


def _unpack_plane(nodes: Nodes, plane: str, width: int, axis: int) -> str:
    if width == 8:
        return plane
    lowest = nodes.constant(np.uint8(2**width - 1))
    parts = [nodes.add("BitwiseAnd", plane, lowest)]
    for place in range(1, 8 // width):
        shift = nodes.constant(np.uint8(width * place))
        shifted = nodes.add("BitShift", plane, shift, direction="RIGHT")
        last = place == 8 // width - 1  # nothing is left above it
        parts.append(shifted if last else nodes.add("BitwiseAnd", shifted, lowest))
    return nodes.add("Concat", *parts, axis=axis)


def _part_of(name: str) -> str:
    """Return the part of the byte table that a matrix belongs to."""
    known = {
        "widen": EMBEDDING,
        "projector": PROJECTOR,
        "query_key_value": ATTENTION,
        "attention_out": ATTENTION,
        "feed_in": FEED_FORWARD,
        "feed_out": FEED_FORWARD,
    }
    return known.get(name.split(".")[-1], ADAPTERS)


def _array(parameter: torch.Tensor) -> np.ndarray:
    values: np.ndarray = parameter.detach().cpu().float().numpy()
    return values


def _float16(values: np.ndarray, name: str) -> np.ndarray:
    """Return a vector in half precision.

    Raises:
        DataError: if a number is too large for it.
    """
    if np.abs(values).max(initial=0) > LARGEST_FLOAT16:
        raise DataError(
            f"the student's weight {name} reaches {np.abs(values).max():g}, at most "
            f"{LARGEST_FLOAT16:g} fits into float16: train at a lower learning_rate"
        )
    return values.astype(np.float16)
