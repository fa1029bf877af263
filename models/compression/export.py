"""From torch to one small ONNX graph that gives the same vectors.

    student --torch.onnx (dynamo)--> graph of 0.6 MB of notes --strip--> the notes go
                                                              --name---> e1, a4, f2: part + number

The exporter writes stack traces and paths of this machine into the graph (0.6 MB, more than a
quarter of the budget); stripping them makes it small, and the same anywhere. Every stored tensor is
named by the part of the student it belongs to, so the byte table can be read off the finished
graph, whatever later steps did to it.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from models.compression.distillation import pad
from models.compression.student import Student
from models.encoder import open_session
from models.errors import DataError

OPSET = 18
LARGEST_BATCH = 64

PARITY_TOLERANCE = 1e-4
"""Largest difference of a number of a unit vector between torch and the fp32 graph."""

EMBEDDING, ATTENTION, FEED_FORWARD = "embedding", "attention", "feed-forward"
PROJECTOR, NORMS = "projector", "norms and biases"
SCALES, STRUCTURE = "quantisation scales", "graph structure"

PART_LETTERS = {EMBEDDING: "e", ATTENTION: "a", FEED_FORWARD: "f", PROJECTOR: "p", NORMS: "n"}
"""A stored tensor's name is the letter of its part and a number; all other names are `c` or `t`."""


def export_graph(student: Student) -> ModelProto:
    """Export the student as an fp32 ONNX graph, stripped and with short names.

    Inputs `ids` and `mask` (batch, tokens) int64, output `vector` (batch, vector_size) float32;
    batch and tokens are free. Weights that the passes share are stored once.

    Args:
        student: trained; it is put into evaluation mode.

    Raises:
        DataError: if a weight is not a finite number.
    """
    for name, parameter in student.named_parameters():
        if not torch.isfinite(parameter).all():
            raise DataError(f"the student's weight {name} has NaN or infinite values: train again")
    length = student.settings.max_tokens
    # Two tensors, not one twice: the exporter would take ids and mask for the same input.
    ids, mask = (torch.full((2, min(8, length)), value) for value in (2, 1))
    axes = {
        0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH),
        1: torch.export.Dim("tokens", min=2, max=length),
    }
    with _quiet_exporter():
        program = torch.onnx.export(
            student.eval(),
            (ids, mask),
            dynamo=True,
            external_data=False,
            dynamic_shapes={"ids": axes, "mask": axes},
            input_names=["ids", "mask"],
            output_names=["vector"],
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no graph")
    model = onnx.load_model_from_string(program.model_proto.SerializeToString())
    strip(model)
    share_equal_tensors(model.graph)
    shorten_names(model.graph, tensor_parts(student, model.graph))
    onnx.checker.check_model(model)
    return model


def strip(model: ModelProto) -> None:
    """Remove what no runtime reads: metadata, documentation, producer, inferred shapes."""
    model.producer_name = model.producer_version = model.doc_string = model.domain = ""
    graph = model.graph
    graph.doc_string = ""
    graph.name = "encoder"
    for holder in (model, graph):
        del holder.metadata_props[:]
    del graph.value_info[:]
    for entry in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        entry.doc_string = ""
        del entry.metadata_props[:]
    for node in graph.node:
        node.name = ""


def share_equal_tensors(graph: GraphProto) -> None:
    """Store equal tensors once: the exporter folds a small weight anew for each pass."""
    first: dict[bytes, str] = {}
    names: dict[str, str] = {}
    for tensor in graph.initializer:
        kind = f"{tensor.data_type}".encode()
        content = kind + _content(numpy_helper.to_array(tensor))
        names[tensor.name] = first.setdefault(content, tensor.name)
    kept = [tensor for tensor in graph.initializer if names[tensor.name] == tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def tensor_parts(student: Student, graph: GraphProto) -> dict[str, str]:
    """Return which part each of the graph's stored weights belongs to, by its name.

    A weight is known by its content, as it is or transposed: the exporter renames those it folds.
    What is no weight of the student (shapes, small constants) is left out.
    """
    known: dict[bytes, str] = {}
    for name, parameter in student.named_parameters():
        values = parameter.detach().numpy()
        for version in (values, values.T):
            known[_content(version)] = _part_of(name, values.ndim)
    found = {}
    for tensor in graph.initializer:
        content = _content(numpy_helper.to_array(tensor))
        if content in known:
            found[tensor.name] = known[content]
    return found


def shorten_names(graph: GraphProto, parts: dict[str, str]) -> None:
    """Rename everything inside the graph in one or a few letters; inputs and outputs stay.

    The transposed copy of a weight keeps the weight's letter, so that it is still known by it when
    the transposition is folded away.
    """
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    for number, tensor in enumerate(graph.initializer):
        letter = PART_LETTERS.get(parts.get(tensor.name, ""), "c")
        names[tensor.name] = f"{letter}{number}"
    for number, (node, output) in enumerate(_outputs(graph)):
        turned = node.op_type == "Transpose" and node.input[0] in parts
        names.setdefault(output, names[node.input[0]] + "t" if turned else f"t{number}")
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]


def check_parity(student: Student, model: ModelProto, texts_ids: Sequence[list[int]]) -> float:
    """Compare torch and the fp32 graph on some padded texts.

    Args:
        student: what was exported.
        model: the graph.
        texts_ids: pieces of the texts; the first `LARGEST_BATCH` are compared, together.

    Returns:
        the largest absolute difference of a number of a vector.

    Raises:
        RuntimeError: if it is above `PARITY_TOLERANCE`: the exporter made another model.
    """
    ids, mask = pad(texts_ids[:LARGEST_BATCH])
    with torch.inference_mode():
        expected = student(ids, mask).numpy()
    session = open_session(model.SerializeToString())
    got = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0]
    difference = float(np.abs(expected - got).max())
    if not difference <= PARITY_TOLERANCE:  # also true for NaN
        raise RuntimeError(
            f"the exported graph differs from torch by {difference}, at most {PARITY_TOLERANCE} is "
            "rounding: the exporter of this torch version has made another model"
        )
    return difference


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide the exporter's deprecation notes and what it says of packages that it would not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _part_of(name: str, num_axes: int) -> str:
    if num_axes < 2:
        return NORMS
    if "embedding" in name:
        return EMBEDDING
    if "ffn" in name:
        return FEED_FORWARD
    return PROJECTOR if "projector" in name else ATTENTION


def _content(values: np.ndarray) -> bytes:
    return repr(values.shape).encode() + np.ascontiguousarray(values).tobytes()


def _outputs(graph: GraphProto) -> Iterator[tuple[NodeProto, str]]:
    return ((node, output) for node in graph.node for output in node.output if output)
