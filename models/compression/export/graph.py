"""Writing an ONNX graph by hand, as small as it can be.

```
Nodes   a list of nodes under construction: the graph's own, or the body of a function
Graph   nodes + stored tensors + functions -> ModelProto
```

An exporter that traces a program writes stack traces, copies shared weights, and repeats a layer
for each pass. Here each weight is stored once, each repeated piece is an ONNX *function* that is
written once and called by name (onnxruntime puts the calls in place when it loads the graph), and
names are one or two letters. The same weights give the same bytes on any machine.

A stored tensor's name begins with the letter of the part it belongs to, so that the byte table can
be read off the finished graph.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.errors import BudgetError

OPSET = 23
"""The first with RMSNormalization."""

IR_VERSION = 11

ONNXRUNTIME_DOMAIN = "com.microsoft"
"""Operators of onnxruntime beyond the standard."""

FUNCTIONS_DOMAIN = "f"

EMBEDDING, ATTENTION, FEED_FORWARD = "embedding", "attention", "feed-forward"
ADAPTERS, PROJECTOR, NORMS = "adapters", "projector", "norms and biases"
SCALES, STRUCTURE = "quantisation scales", "graph structure"

PART_LETTERS = {
    EMBEDDING: "e",
    ATTENTION: "a",
    FEED_FORWARD: "f",
    ADAPTERS: "d",
    PROJECTOR: "p",
    NORMS: "n",
    SCALES: "s",
}
"""A stored tensor's name is the letter of its part and a number; all other tensors are `c`."""

CONSTANT = "c"

LARGEST_FP32_BYTES = 20_000
"""A stored fp32 tensor above this was forgotten by the quantisation."""


class Nodes:
    """Nodes that are being written; each call adds one and returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one result and return the result's name."""
        return self.add_many(1, operator, *inputs, domain=domain, **attributes)[0]

    def fused(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Add one of onnxruntime's own operators."""
        return self.add(operator, *inputs, domain=ONNXRUNTIME_DOMAIN, **attributes)

    def call(self, function: str, *inputs: str) -> str:
        """Call a function of this graph."""
        return self.add(function, *inputs, domain=FUNCTIONS_DOMAIN)

    def add_many(
        self, count: int, operator: str, *inputs: str, domain: str = "", **attributes: object
    ) -> tuple[str, ...]:
        """Add a node with `count` results and return their names."""
        first = sum(len(node.output) for node in self.nodes)
        names = tuple(f"t{first + place}" for place in range(count))
        self.nodes.append(
            helper.make_node(operator, list(inputs), list(names), domain=domain, **attributes)
        )
        return names

    def constant(self, values: np.ndarray | np.generic) -> str:
        """Add a small constant: in a function, which cannot see the graph's tensors."""
        return self.add("Constant", value=numpy_helper.from_array(np.asarray(values)))


class Graph(Nodes):
    """A whole graph under construction."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[TensorProto] = []
        self._functions: dict[str, onnx.FunctionProto] = {}
        self._constants: dict[bytes, str] = {}

    def store(self, values: np.ndarray | np.generic, part: str) -> str:
        """Store a tensor of a part of the student and return its name."""
        return self._store(values, PART_LETTERS[part])

    def constant(self, values: np.ndarray | np.generic) -> str:
        """Store a small constant, equal ones once."""
        content = f"{values.dtype}{values.shape}".encode() + values.tobytes()
        if content not in self._constants:
            self._constants[content] = self._store(values, CONSTANT)
        return self._constants[content]

    def define(self, name: str, num_inputs: int, write: Callable[..., str]) -> None:
        """Write a function, unless it is there.

        Args:
            name: what it is called by.
            num_inputs: how many inputs it has.
            write: is called as write(nodes, *inputs) and returns the name of the result.
        """
        if name not in self._functions:
            body = Nodes()
            inputs = [f"i{number}" for number in range(num_inputs)]
            result = write(body, *inputs)
            self._functions[name] = helper.make_function(
                FUNCTIONS_DOMAIN, name, inputs, [result], body.nodes, _opsets(body.nodes)
            )

    def finish(self, name: str, num_columns: int) -> ModelProto:
        """Return the model: inputs `ids` and `mask` (batch, tokens) int64, output the last result.

        Args:
            name: what the last node's result is called from outside.
            num_columns: it is (batch, num_columns) float32.
        """
        self.nodes[-1].output[0] = name
        axes = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info(i, TensorProto.INT64, axes) for i in ("ids", "mask")],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", num_columns])],
            self.tensors,
        )
        functions = list(self._functions.values())
        everything = [*self.nodes, *(node for made in functions for node in made.node)]
        model = helper.make_model(
            graph, opset_imports=_opsets(everything), functions=functions, ir_version=IR_VERSION
        )
        onnx.checker.check_model(model)
        return model

    def _store(self, values: np.ndarray | np.generic, letter: str) -> str:
        name = f"{letter}{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def check_tensors(model: ModelProto) -> None:
    """Raise if bytes are wasted: a forgotten fp32 table, or shared weights stored as copies.

    Raises:
        BudgetError: naming the tensors and their bytes.
    """
    large = {
        tensor.name: len(tensor.raw_data)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) > LARGEST_FP32_BYTES
    }
    if large:
        raise BudgetError(
            f"the quantisation left fp32 tensors above {LARGEST_FP32_BYTES:,} bytes: {large}"
        )
    contents = Counter(
        tensor.raw_data for tensor in model.graph.initializer if len(tensor.raw_data) > 1024
    )
    copies = sum(len(content) * (times - 1) for content, times in contents.items())
    if copies:
        raise BudgetError(f"the graph stores {copies:,} bytes twice: the passes must share weights")


def graph_parts(model: ModelProto) -> dict[str, int]:
    """Return the bytes of the serialised graph by part; they add up to all of it.

    Tensors count with their numbers; names, shapes, nodes and functions are graph structure.
    """
    letters = {letter: part for part, letter in PART_LETTERS.items()}
    parts = dict.fromkeys([*letters.values(), STRUCTURE], 0)
    for tensor in model.graph.initializer:
        parts[letters.get(tensor.name[0], STRUCTURE)] += len(tensor.raw_data)
    parts[STRUCTURE] += model.ByteSize() - sum(parts.values())
    return parts


def _opsets(nodes: list[NodeProto]) -> list[onnx.OperatorSetIdProto]:
    others = sorted({node.domain for node in nodes} - {""})
    return [helper.make_opsetid("", OPSET), *(helper.make_opsetid(name, 1) for name in others)]
