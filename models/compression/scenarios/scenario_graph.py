"""An encoder's graph that takes adapters from outside: one graph for all scenarios.

```
ids, mask --------> layer -> (+) -> layer -> (+) -> mean over places ---> readout -> "vector"
down, down_bias, up, up_bias  ^---------------^            |
        optional, of size 0 if not fed                     +------------------------> "pooled"
```

ONNX allows an input that has a stored default [1]. Here the defaults are adapters of size 0: no
bytes, no work, no change, so the bundle is still the plain encoder to everybody who feeds ids and
mask alone. All places' adapters come in four arrays; a place takes its own by number.

Sizes are free: scenarios with bottlenecks of different widths run on the same graph.

[1] ONNX IR specification, "Graphs": initializers that share a name with an input are its defaults.
"""

from collections.abc import Callable, Iterable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from models.compression.export.graph import FUNCTIONS_DOMAIN, Nodes
from models.compression.student import StudentSettings
from models.scenarios_serving import ADAPTER_INPUTS, POOLED_OUTPUT

_ADAPTER, _POOL = "bend", "pool"
"""Short names, for a bundle may be full to the last kilobyte."""

_PLACE = "c_{}"
"""Begins as small constants do in `graph`, so that the byte table counts it as structure."""


def add_scenario_inputs(model: ModelProto, settings: StudentSettings) -> ModelProto:
    """Return a copy of a graph with optional adapters after each layer, and a second output.

    Guarantee: without adapters its vectors are those of `model`, bit by bit.

    Args:
        model: from `export.export_graph`, of any bits.
        settings: of the student that it was written from.

    Raises:
        ValueError: if the graph is not as `export` writes it (a bug).
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    ends = _ends_of_places(graph.node)
    if len(ends) != settings.depth:
        raise ValueError(f"the graph has {len(ends)} layers, its student {settings.depth}")
    if ends:
        last = _adapt(made, ends)
        _add_optional_inputs(made, settings)
    else:  # a bag of words: what is read out is what the embedding's LayerNorm gives
        last = next(node.output[0] for node in graph.node if _calls(node, "norm"))
    _add_pooled_output(made, last, settings.hidden_size)
    checker.check_model(made)
    return made


def _calls(node: NodeProto, function: str) -> bool:
    return bool(node.domain == FUNCTIONS_DOMAIN and node.op_type == function)


def _ends_of_places(nodes: Iterable[NodeProto]) -> list[int]:
    """Return the numbers of the nodes that end a place: a layer, or the student's own adapter."""
    ends: list[int] = []
    for number, node in enumerate(nodes):
        if node.domain == FUNCTIONS_DOMAIN and node.op_type.startswith("layer"):
            ends.append(number)
        elif _calls(node, "adapter"):
            ends[-1] = number
    return ends


def _adapt(model: ModelProto, ends: list[int]) -> str:
    """Call an adapter after the nodes of these numbers; return what the last one gives."""
    graph = model.graph
    nodes: list[NodeProto] = []
    renamed: dict[str, str] = {}
    for number, node in enumerate(graph.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(node)
        if number in ends:
            which = _PLACE.format(ends.index(number))
            adapted = f"{which}x"
            inputs = [node.output[0], which, *ADAPTER_INPUTS]
            nodes.append(helper.make_node(_ADAPTER, inputs, [adapted], domain=FUNCTIONS_DOMAIN))
            renamed[node.output[0]] = adapted
    written = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(written)
    for place in range(len(ends)):
        which_place = np.asarray(place, np.int64)
        graph.initializer.append(numpy_helper.from_array(which_place, _PLACE.format(place)))
    _add_function(model, _ADAPTER, 2 + len(ADAPTER_INPUTS), _adapter)
    return _PLACE.format(len(ends) - 1) + "x"


def _add_optional_inputs(model: ModelProto, settings: StudentSettings) -> None:
    """Declare the four arrays, free in A, with defaults of A = 0."""
    P, H = settings.depth, settings.hidden_size
    shapes: list[tuple[list[int | str], tuple[int, ...]]] = [
        ([P, H, "A"], (P, H, 0)),
        ([P, "A"], (P, 0)),
        ([P, "A", H], (P, 0, H)),
        ([P, "H"], (P, 1)),  # one zero for all H
    ]
    for name, (declared, default) in zip(ADAPTER_INPUTS, shapes, strict=True):
        zeros = numpy_helper.from_array(np.zeros(default, np.float32), name)
        model.graph.initializer.append(zeros)
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, declared)
        model.graph.input.append(value)


def _add_pooled_output(model: ModelProto, states: str, width: int) -> None:
    """Give out the mean of some states; the readout itself may do with their sum."""
    pool = helper.make_node(_POOL, [states, "mask"], [POOLED_OUTPUT], domain=FUNCTIONS_DOMAIN)
    model.graph.node.append(pool)
    _add_function(model, _POOL, 2, _pool)
    shape = ["batch", width]
    output = helper.make_tensor_value_info(POOLED_OUTPUT, TensorProto.FLOAT, shape)
    model.graph.output.append(output)


def _add_function(model: ModelProto, name: str, num_inputs: int, write: Callable[..., str]) -> None:
    """Append a function; `write(nodes, *inputs)` returns the name of its result."""
    body = Nodes()
    inputs = [f"i{number}" for number in range(num_inputs)]
    result = write(body, *inputs)
    opsets = [opset for opset in model.opset_import if opset.domain == ""]
    model.functions.append(
        helper.make_function(FUNCTIONS_DOMAIN, name, inputs, [result], body.nodes, opsets)
    )


def _adapter(body: Nodes, x: str, place: str, *stacks: str) -> str:
    """Return x + up(gelu(down(x))), (B, T, H), with the weights of one place."""
    down, down_bias, up, up_bias = (body.add("Gather", stack, place, axis=0) for stack in stacks)
    inside = body.add("Gelu", body.add("Add", body.add("MatMul", x, down), down_bias))
    return body.add("Add", x, body.add("Add", body.add("MatMul", inside, up), up_bias))


def _pool(body: Nodes, x: str, mask: str) -> str:
    """Return the mean over the real places: (B, T, H) and (B, T) to (B, H)."""
    one, last = (body.constant(np.array([axis])) for axis in (1, -1))
    places = body.add("Unsqueeze", body.add("Cast", mask, to=TensorProto.FLOAT), one)
    mean = body.add("Div", body.add("MatMul", places, x), body.add("ReduceSum", places, last))
    return body.add("Squeeze", mean, one)
