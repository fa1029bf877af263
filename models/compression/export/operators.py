"""Which operators a graph needs, for an onnxruntime that is built with no others.

```
graph and its functions --> (domain, version, operator) --> ai.onnx;13;Gather,MatMul,Slice
                                                            com.microsoft;1;QAttention
```

A phone's onnxruntime shrinks to a fraction when it is built from source for these operators alone:
`./build.sh --include_ops_by_config required_operators.config` [1]. Building it is not our work; the
list is.

The list is for a quantised graph as a file; fp32 graphs are fused further when they are loaded.
Converted to the `.ort` format a graph needs fewer operators, for unpacked weights are then in the
file, and it is larger: below 8 bits nothing is gained by that.

[1] onnxruntime documentation, "Reduced operator config file".
"""

from collections import defaultdict
from collections.abc import Iterable

import onnx
from onnx import ModelProto, NodeProto

from models.compression.export.graph import FUNCTIONS_DOMAIN, OPSET

STANDARD_DOMAIN = "ai.onnx"


def required_operators(model: ModelProto) -> str:
    """Return the operators of a graph in the format of `required_operators.config`.

    Args:
        model: from `export.export_graph`.
    """
    bodies = (node for function in model.functions for node in function.node)
    by_opset: dict[tuple[str, int], set[str]] = defaultdict(set)
    for node in (*model.graph.node, *bodies):
        if node.domain != FUNCTIONS_DOMAIN and node.op_type != "Constant":
            by_opset[_opset_of(node)].add(node.op_type)
    return "".join(_lines(by_opset.items()))


def _opset_of(node: NodeProto) -> tuple[str, int]:
    """Return an operator's domain and the version since which it is as it is."""
    if node.domain:
        return node.domain, 1
    schema = onnx.defs.get_schema(node.op_type, OPSET, "")
    return STANDARD_DOMAIN, schema.since_version


def _lines(opsets: Iterable[tuple[tuple[str, int], set[str]]]) -> Iterable[str]:
    for (domain, version), operators in sorted(opsets):
        yield f"{domain};{version};{','.join(sorted(operators))}\n"
