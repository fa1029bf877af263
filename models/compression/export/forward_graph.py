"""The student's forward pass as an ONNX graph, node by node, in the order of `Student.forward`."""

from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from onnx import TensorProto

from models.compression.export.graph import (
    ADAPTERS,
    ATTENTION,
    CONSTANT,
    EMBEDDING,
    FEED_FORWARD,
    NORMS,
    PROJECTOR,
    SCALES,
    Graph,
)
from models.compression.export.graph_functions import (
    LAST,
    write_adapter,
    write_layer,
    write_matrix,
    write_norm,
    write_rows,
    write_steps,
)
from models.compression.quantization.few_bits import (
    FULL,
    BitPlan,
    Columns,
    Steps,
    pack,
    quantize_columns,
    quantize_rows,
)
from models.compression.student import Student
from models.errors import DataError

LARGEST_FLOAT16 = float(np.finfo(np.float16).max)

SHORTEST = 1e-12
"""A shorter vector is not made longer: that of `torch.nn.functional.normalize`."""

LAYER_MATRICES = ("query_key_value", "attention_out", "feed_in", "feed_out")
LAYER_NORMS = ("attention_norm", "feed_norm")


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


class ForwardWriter:
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
        self.places: dict[str, tuple[str, ...]] = {}
        self._mask = ""

    def write(self, readout: Readout) -> None:
        """The whole forward pass."""
        x = self.embed()
        for place in range(self._settings.depth):
            x = self.layer(x, place)
        self.read_out(x, readout)

    def embed(self) -> str:
        """Words and positions, normalised and widened: (B, T, H)."""
        graph = self.graph
        length = graph.add("Shape", "ids", start=1, end=2)
        zero, one = (graph.constant(np.array([value])) for value in (0, 1))
        positions = graph.add("Slice", self._table("positions"), zero, length, one)
        x = graph.add("Add", self._table("words", "ids"), positions)
        graph.define("norm", 3, write_norm)
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
        self.graph.define(name, len(inputs), partial(write_layer, counts, self._settings.num_heads))
        x = self.graph.call(name, *inputs)
        if not self._settings.adapter_size:
            return x
        down, up = (f"adapters.{place}.{part}" for part in ("down", "up"))
        weights = (self._dense(down), self._bias(down), self._dense(up), self._bias(up))
        self.graph.define("adapter", 5, write_adapter)
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
        before = len(graph.tensors)
        if bits == FULL:
            whole = graph.store(values, EMBEDDING)
            self._note_place(f"{name}.weight", before)
            return rows(whole)
        made = quantize_rows(values, bits)
        packed = (graph.store(plane, EMBEDDING) for plane in pack(made.integers, bits, axis=1))
        planes = [rows(plane) for plane in packed]
        # All steps are made when the graph is loaded: at run time they are only looked up.
        steps = rows(self._steps(made.steps))
        self._note_place(f"{name}.weight", before)
        groups = made.steps.codes.shape[1]
        graph.define(f"rows{bits}", len(planes) + 1, partial(write_rows, bits, groups))
        return graph.call(f"rows{bits}", *planes, steps)

    def _matrix(self, name: str) -> tuple[str, ...]:
        """Return the inputs of a product: (fp32 matrix, bias) or (int8 matrix, steps, bias)."""
        if name not in self._stored:
            values = self._weights[f"{name}.weight"].T
            before = len(self.graph.tensors)
            if self._plan[name] == FULL:
                matrix: tuple[str, ...] = (self.graph.store(values, _part_of(name)),)
            else:
                made = quantize_columns(values, self._plan[name])
                matrix = (self._int8(made, name), self._steps(made.steps))
            self._note_place(f"{name}.weight", before)
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
        graph.define(function, len(planes) + 2, partial(write_matrix, made.bits))
        return graph.call(function, *planes, multipliers, shape)

    def _dense(self, name: str) -> str:
        """Return a matrix in fp32, made when the graph is loaded."""
        matrix, *steps = self._matrix(name)[: 1 if self._plan[name] == FULL else 2]
        if not steps:
            return matrix
        return self.graph.add("Mul", self.graph.add("Cast", matrix, to=TensorProto.FLOAT), *steps)

    def _steps(self, steps: Steps) -> str:
        """Return steps from their codes."""
        self.graph.define("steps", 3, write_steps)
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
            before = len(self.graph.tensors)
            if FULL in self._plan.values():
                self._stored[name] = (self.graph.store(values, NORMS),)
            else:
                half = self.graph.store(_float16(values, name), NORMS)
                self._stored[name] = (self.graph.add("Cast", half, to=TensorProto.FLOAT),)
            self._note_place(name, before)
        return self._stored[name][0]

    def _note_place(self, name: str, before: int) -> None:
        """Keep which tensors a weight was stored in: those since there were `before` of them."""
        stored = (tensor.name for tensor in self.graph.tensors[before:])
        self.places[name] = tuple(tensor for tensor in stored if tensor[0] != CONSTANT)


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
