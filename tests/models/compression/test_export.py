import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from models.compression.export import (
    PART_LETTERS,
    check_parity,
    export_graph,
    share_equal_tensors,
)
from models.compression.student import StudentSettings, build_student
from models.encoder import open_session, run_graph
from models.errors import DataError
from tests.models.compression.conftest import TEXTS, WORDS
from tests.models.conftest import TINY


def test_graph_equals_torch_padded_and_alone(student, graph):
    assert check_parity(student, graph, TEXTS) < 1e-5
    session = open_session(graph.SerializeToString())
    for text in TEXTS:
        with torch.no_grad():
            ids = torch.tensor([text])
            expected = student(ids, torch.ones_like(ids)).numpy()
        np.testing.assert_allclose(run_graph(session, ids.numpy()), expected, atol=1e-5)


def test_another_model_is_found_out(student, graph):
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    weight = next(t for t in other.graph.initializer if t.name.startswith("a"))
    changed = numpy_helper.to_array(weight) + 0.05
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    with pytest.raises(RuntimeError, match="differs from torch"):
        check_parity(student, other, TEXTS)


def test_no_notes_and_no_paths_are_left(graph):
    content = graph.SerializeToString()
    for trace in (b".py", b"site-packages", b"torch", b"stack_trace", b"albert"):
        assert trace not in content
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert not graph.graph.value_info


def test_every_weight_is_stored_once_and_named_by_its_part(student, graph):
    by_letter = dict.fromkeys(PART_LETTERS.values(), 0)
    for tensor in graph.graph.initializer:
        if tensor.name[0] in by_letter:
            by_letter[tensor.name[0]] += int(np.prod(tensor.dims))
    weights = {name: p.numel() for name, p in student.named_parameters()}
    assert by_letter["p"] == student.projector.weight.numel()
    assert by_letter["f"] == sum(
        n for name, n in weights.items() if "ffn" in name and name.endswith("weight")
    )
    # Equal vectors (fresh LayerNorms are ones, and here all differ) are not shared.
    assert sum(by_letter.values()) == sum(weights.values())


def test_equal_tensors_are_stored_once():
    values = numpy_helper.from_array(np.arange(4, dtype=np.float32), "x")
    twin = numpy_helper.from_array(np.arange(4, dtype=np.float32), "y")
    integers = numpy_helper.from_array(np.arange(4, dtype=np.float32).view(np.int32), "z")
    nodes = [helper.make_node("Add", ["x", "y"], ["sum"])]
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4])
    made = helper.make_graph(nodes, "g", [], [out], [values, twin, integers])
    share_equal_tensors(made)
    assert [tensor.name for tensor in made.initializer] == ["x", "z"]
    assert list(made.node[0].input) == ["x", "x"]


def test_weights_that_are_no_numbers_are_refused():
    broken = build_student(StudentSettings.model_validate(TINY["student"]), WORDS, seed=1)
    with torch.no_grad():
        broken.projector.weight[0, 0] = float("inf")
    with pytest.raises(DataError, match=r"projector\.weight has NaN"):
        export_graph(broken)
