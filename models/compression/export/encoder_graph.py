"""From torch to one small ONNX graph that gives the same vectors.

```
ids --> words + positions -> norm -> widen
        layer(x, mask, weights)              a call per pass; its weights and nodes are there once
mask -> mean over the real places -> readout -> "vector"
```

The graph is written straight from the student's weights (see `graph`, `graph_functions`); a
`BitPlan` says how each one is stored (see `few_bits`). What a weight becomes:

    32         fp32 MatMul, fused Attention
    8          dynamic int8: DynamicQuantizeMatMul, QAttention; activations get a step per tensor,
               measured at run time [1]
    below 8    packed in the file, an int8 matrix as soon as the graph is loaded

The small matrices (widening, adapters, readout) are multiplied in fp32 whatever their bits: there
int8 saves next to no time, and rounding their inputs costs quality. Norms and biases are 1 % of the
bytes: float16, or fp32 if any weight is. A LayerNorm is written as x - mean, RMSNormalization, + b:
that takes onnxruntime half to a quarter of the time of LayerNormalization or its fused
SkipLayerNormalization. `python -m benchmarks.encoder_graph` measures this and the other choices.

[1] onnxruntime documentation, "Quantize ONNX models", dynamic quantization.
"""

from collections.abc import Sequence

import numpy as np
import torch
from onnx import ModelProto

from models.compression.export.forward_graph import ForwardWriter, Readout, vector_readout
from models.compression.export.graph import (
    ADAPTERS,
    ATTENTION,
    EMBEDDING,
    FEED_FORWARD,
    NORMS,
    PROJECTOR,
    SCALES,
    STRUCTURE,
    check_tensors,
    graph_parts,
)
from models.compression.pretraining.batches import pad
from models.compression.quantization.few_bits import FULL, BitPlan, check_plan, num_groups
from models.compression.student import Student, StudentSettings, build_student
from models.encoder import open_session

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
    "tensor_places",
    "vector_readout",
]

LARGEST_BATCH = 64

PARITY_TOLERANCE = 1e-4
"""Largest difference of a number of a unit vector between torch and the fp32 graph."""

LENGTH_PREFIX_BYTES = 32
"""Lengths and shapes are written in 1 to 5 bytes: what they may grow by with the word table."""


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
    writer = ForwardWriter(student, plan, readout)
    writer.write(readout)
    model = writer.graph.finish(readout.name, len(readout.weight))
    if FULL not in plan.values():
        check_tensors(model)
    return model


def tensor_places(student: Student, plan: BitPlan) -> dict[str, tuple[str, ...]]:
    """Return which stored tensors of a student's graph hold each of its weights, by their names.

    They depend on shape, number of words and plan alone, so any student of the same stands for it.
    """
    writer = ForwardWriter(student, plan, vector_readout(student))
    writer.write(vector_readout(student))
    return writer.places


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
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():  # equal weights of an untrained student would be found as copies
        for parameter in student.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=noise))
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
