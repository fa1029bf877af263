"""From a bundle back to torch: a shipped encoder as a student that can learn on.

    encoder.onnx --stored tensors--> integers and steps --dequantise--> weights of a `Student`

The manifest names the shape and the bits. The weights are those that the graph computes with, so
the revived student gives the vectors of the bundle, but for the rounding of activations. It is
where every cross-distillation of a task begins: nothing but the bundle is needed.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from pydantic import ValidationError

from models.bundle import GRAPH, VOCABULARY, EncoderBundle
from models.compression.export.encoder_graph import tensor_places
from models.compression.quantization.few_bits import (
    FULL,
    PLANES,
    ROW_TABLES,
    BitPlan,
    Columns,
    Rows,
    Steps,
    unpack,
)
from models.compression.student import Student, StudentSettings, build_student
from models.errors import DataError
from models.wordpiece import vocabulary_from_bytes


def student_from_bundle(folder: Path) -> Student:
    """Return the encoder of a bundle as a student in evaluation mode.

    Args:
        folder: a bundle whose graph gives vectors.

    Raises:
        DataError: if the bundle is damaged, of a task, its manifest does not fit its graph, or a
            weight is not a finite number.
    """
    bundle = EncoderBundle.open(folder)
    settings, plan = _shape_of(bundle)
    graph = onnx.load_model_from_string(bundle.read(GRAPH)).graph
    if [value.name for value in graph.output] != ["vector"]:
        raise DataError(f"bundle {folder} gives no vectors but a task's answer: take a general one")
    words = vocabulary_from_bytes(bundle.read(VOCABULARY))
    student = build_student(settings, len(words), seed=0)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = dict(student.named_parameters())
    for name, tensors in tensor_places(student, plan).items():
        if not set(tensors) <= set(stored):
            raise _misfit(folder)
        values = _values(name, [stored[tensor] for tensor in tensors], plan)
        if values.shape != tuple(weights[name].shape):
            raise _misfit(folder)
        if not np.isfinite(values).all():
            raise DataError(
                f"bundle {folder}: weight {name} has NaN or infinite values: get the bundle again, "
                "or make it again with `pocketfleet compress`"
            )
        with torch.no_grad():
            weights[name].copy_(torch.from_numpy(np.array(values, np.float32)))
    student.eval()
    return student


def _shape_of(bundle: EncoderBundle) -> tuple[StudentSettings, BitPlan]:
    origin = bundle.manifest["origin"]
    try:
        plan = {str(name): int(bits) for name, bits in origin["bits"].items()}
        return StudentSettings.model_validate(origin["student"]), plan
    except (KeyError, TypeError, AttributeError, ValueError, ValidationError) as error:
        raise DataError(
            f"bundle {bundle.folder} does not say what shape it has: make it again with this "
            "version of `pocketfleet compress`"
        ) from error


def _values(name: str, stored: list[np.ndarray], plan: BitPlan) -> np.ndarray:
    """Return a weight as torch holds it, from what the graph stores of it."""
    module = name.removesuffix(".weight")
    if module not in plan:
        return stored[0]  # a norm or a bias
    bits, is_table = plan[module], module in ROW_TABLES
    if bits == FULL:
        return stored[0] if is_table else stored[0].T
    count = len(PLANES[bits])
    *multipliers, codes, slope, start = stored[count:]
    integers = unpack(stored[:count], bits, axis=1 if is_table else 0)
    steps = Steps(codes, np.float32(slope), np.float32(start))
    if is_table:
        return Rows(bits, integers, steps).values()
    factors = multipliers[0][:, 0, :] if multipliers else None
    return Columns(bits, integers, steps, factors).values().T


def _misfit(folder: Path) -> DataError:
    return DataError(f"bundle {folder}: its graph is not of the shape that its manifest names")
