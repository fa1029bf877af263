import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from models.compression.export.graph import (
    ATTENTION,
    EMBEDDING,
    NORMS,
    PART_LETTERS,
    STRUCTURE,
    Graph,
    check_tensors,
    graph_parts,
)
from models.encoder import open_session
from models.errors import BudgetError


def add_rows(nodes, x, y):
    """A function of two inputs with a constant inside."""
    return nodes.add("Add", nodes.add("Add", x, y), nodes.constant(np.float32(1)))


def small_graph():
    """(table[ids] + bias + 1) + bias + 1, summed over the places."""
    graph = Graph()
    table = graph.store(np.arange(12, dtype=np.float32).reshape(4, 3), EMBEDDING)
    bias = graph.store(np.float32([1, 2, 3]), NORMS)
    x = graph.add("Gather", table, "ids")
    for _ in range(2):
        graph.define("f1", 2, add_rows)
        x = graph.call("f1", x, bias)
    axis = graph.constant(np.array([1]))
    assert graph.constant(np.array([1])) == axis
    graph.add("ReduceSum", x, axis, keepdims=0)
    return graph.finish("total", 3)


def copy_with(model, *tensors):
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.graph.initializer.extend(tensors)
    return copied


def test_a_graph_computes_what_was_written():
    session = open_session(small_graph().SerializeToString())
    ids = np.array([[0, 2], [3, 3]])
    table, bias = np.arange(12).reshape(4, 3), np.array([1, 2, 3])
    (got,) = session.run(["total"], {"ids": ids, "mask": np.ones_like(ids)})
    np.testing.assert_allclose(got, (table[ids] + 2 * (bias + 1)).sum(axis=1))


def test_a_function_is_written_once_and_called_often():
    model = small_graph()
    assert [function.name for function in model.functions] == ["f1"]
    assert [node.op_type for node in model.graph.node] == ["Gather", "f1", "f1", "ReduceSum"]


def test_parts_add_up_to_the_graph():
    model = small_graph()
    parts = graph_parts(model)
    assert sum(parts.values()) == len(model.SerializeToString())
    assert parts[EMBEDDING] == 48
    assert parts[NORMS] == 12
    assert parts[ATTENTION] == 0
    assert parts[STRUCTURE] > 0


TENSORS = st.tuples(
    st.sampled_from(sorted(PART_LETTERS)),
    st.sampled_from([np.int8, np.uint8, np.float16, np.float32]),
    st.lists(st.integers(0, 40), max_size=3),
)


@given(st.lists(TENSORS, max_size=8))
def test_parts_add_up_whatever_is_stored(tensors):
    graph = Graph()
    expected = dict.fromkeys(PART_LETTERS, 0)
    for part, kind, shape in tensors:
        values = np.ones(shape, kind)
        graph.store(values, part)
        expected[part] += values.nbytes
    graph.add("Cast", "ids", to=TensorProto.FLOAT)
    model = graph.finish("total", 3)
    parts = graph_parts(model)
    assert {part: parts[part] for part in expected} == expected
    assert sum(parts.values()) == len(model.SerializeToString())
    assert parts[STRUCTURE] > 0


def test_a_forgotten_table_is_found():
    table = numpy_helper.from_array(np.zeros((100, 64), np.float32), "e99")
    with pytest.raises(BudgetError, match=r"left fp32 tensors.*e99.*25600"):
        check_tensors(copy_with(small_graph(), table))


def test_a_copied_weight_is_found():
    pair = [numpy_helper.from_array(np.ones((64, 64), np.int8), name) for name in ("a1", "a2")]
    with pytest.raises(BudgetError, match="4,096 bytes twice"):
        check_tensors(copy_with(small_graph(), *pair))


def test_small_tensors_may_be_equal_or_fp32():
    check_tensors(small_graph())
    pair = [numpy_helper.from_array(np.ones(8, np.float32), name) for name in ("n8", "n9")]
    check_tensors(copy_with(small_graph(), *pair))
    assert pair[0].data_type == TensorProto.FLOAT
