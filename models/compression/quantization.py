"""From fp32 to int8: a quarter of the bytes, the same neighbours.

    fold     Transpose(weight) becomes a weight, else it is no constant and stays fp32
    quantise word and position tables: one scale each; matrices: one scale per output channel;
             activations: a scale per tensor at run time (dynamic: safe with padding)
    check    no fp32 tensor above 20 KB is left, no tensor is stored twice

The weights are int8 and not uint8, which has no fast kernel on common CPUs. Norms and biases stay
fp32: they are 1 % of the bytes.

onnxruntime documentation, "Quantize ONNX models".
"""

import logging
import tempfile
from collections import Counter
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from models.compression.export import PART_LETTERS, SCALES, STRUCTURE, strip
from models.errors import BudgetError

LARGEST_FP32_BYTES = 20_000
"""A stored fp32 tensor above this was forgotten by the quantisation."""


def quantize(model: ModelProto) -> ModelProto:
    """Return the graph with int8 weights.

    Args:
        model: fp32, from `export.export_graph`.

    Raises:
        BudgetError: if a large fp32 tensor is left or one is stored twice.
    """
    with tempfile.TemporaryDirectory(prefix="pocketfleet-") as name:
        raw, folded, small = (Path(name) / f"{step}.onnx" for step in ("raw", "folded", "small"))
        onnx.save(model, raw)
        quant_pre_process(raw, folded, skip_symbolic_shape=True)
        _quietly_quantize(folded, small)
        quantized = onnx.load(small)
    strip(quantized)
    _pack_tensors(quantized)
    check_tensors(quantized)
    return quantized


def check_tensors(model: ModelProto) -> None:
    """Raise if bytes are wasted: a forgotten fp32 table, or shared weights unrolled into copies.

    Raises:
        BudgetError: naming the tensors and their bytes.
    """
    large = {
        tensor.name: tensor_bytes(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor_bytes(tensor) > LARGEST_FP32_BYTES
    }
    if large:
        raise BudgetError(
            f"the quantisation left fp32 tensors above {LARGEST_FP32_BYTES:,} bytes: {large}"
        )
    contents = Counter(
        tensor.raw_data for tensor in model.graph.initializer if tensor_bytes(tensor) > 1024
    )
    copies = sum(len(content) * (times - 1) for content, times in contents.items())
    if copies:
        raise BudgetError(f"the graph stores {copies:,} bytes twice: the passes must share weights")


def graph_parts(model: ModelProto) -> dict[str, int]:
    """Return the bytes of the serialised graph by part; they add up to all of it.

    Tensors count with their numbers; names, shapes and nodes are graph structure.
    """
    letters = {letter: part for part, letter in PART_LETTERS.items()}
    parts = dict.fromkeys([*letters.values(), SCALES, STRUCTURE], 0)
    for tensor in model.graph.initializer:
        name = tensor.name
        if name.endswith(("_scale", "_zero_point")):
            part = SCALES
        else:
            part = letters.get(name[0], STRUCTURE)
        parts[part] += tensor_bytes(tensor)
    parts[STRUCTURE] += model.ByteSize() - sum(parts.values())
    return parts


def tensor_bytes(tensor: TensorProto) -> int:
    """Return the bytes of a stored tensor's numbers."""
    return len(tensor.raw_data)


def _pack_tensors(model: ModelProto) -> None:
    """Store every tensor as raw bytes; onnxruntime writes its scales as lists of numbers."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def _quietly_quantize(source: Path, target: Path) -> None:
    """Quantise without onnxruntime's advice, on the root logger, to do what was just done."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        root.setLevel(level)
