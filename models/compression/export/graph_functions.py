"""The functions of the encoder's graph: what is written once and called by name.

```
layer    attention and feed-forward net, fp32 or int8        norm     LayerNorm
adapter  x + up(gelu(down(x)))                               steps    steps from 8-bit logarithms
rows     rows of a table from their packed integers          matrix   an int8 matrix from its own
```

`write_*` are writers for `graph.Graph.define`: they add nodes to a body and return the name of the
result. `rows`, `matrix` and `steps` compute what `few_bits` says, with the same rounding.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from onnx import TensorProto

from models.compression.export.graph import Nodes
from models.compression.quantization.few_bits import LARGEST_INT8, PLANES, highest, middle
from models.compression.student import NORM_EPSILON

LAST = np.array([-1])
"""The last axis, as an operator's input."""


def write_layer(counts: Sequence[int], num_heads: int, nodes: Nodes, *inputs: str) -> str:
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


def write_norm(nodes: Nodes, x: str, gain: str, bias: str) -> str:
    """LayerNorm over the last axis, by the operators that are fastest."""
    mean = nodes.add("ReduceMean", x, nodes.constant(np.array([-1])))
    centred = nodes.add("Sub", x, mean)
    scaled = nodes.add("RMSNormalization", centred, gain, axis=-1, epsilon=NORM_EPSILON)
    return nodes.add("Add", scaled, bias)


def write_adapter(nodes: Nodes, x: str, down: str, down_bias: str, up: str, up_bias: str) -> str:
    """Return x + up(gelu(down(x)))."""
    narrow = nodes.add("Gelu", nodes.add("Add", nodes.add("MatMul", x, down), down_bias))
    return nodes.add("Add", x, nodes.add("Add", nodes.add("MatMul", narrow, up), up_bias))


def write_steps(nodes: Nodes, codes: str, slope: str, start: str) -> str:
    """exp(start + slope * code)."""
    logarithms = nodes.add("Mul", nodes.add("Cast", codes, to=TensorProto.FLOAT), slope)
    return nodes.add("Exp", nodes.add("Add", logarithms, start))


def write_rows(bits: int, groups: int, nodes: Nodes, *inputs: str) -> str:
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


def write_matrix(bits: int, nodes: Nodes, *inputs: str) -> str:
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
