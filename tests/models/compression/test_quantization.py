import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from models.compression.export import EMBEDDING, PROJECTOR, SCALES
from models.compression.quantization import check_tensors, graph_parts, quantize
from models.compression.student import StudentSettings, graph_bytes_without_words
from models.encoder import open_session, run_graph
from models.errors import BudgetError
from tests.models.compression.conftest import TEXTS, WORDS
from tests.models.conftest import TINY


@pytest.fixture(scope="module")
def small(graph):
    return quantize(graph)


def copy_with(model, *tensors):
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.graph.initializer.extend(tensors)
    return copied


def test_int8_gives_nearly_the_same_vectors(graph, small):
    full, short = (open_session(model.SerializeToString()) for model in (graph, small))
    for text in TEXTS:
        ids = np.asarray([text], np.int64)
        assert (run_graph(full, ids) * run_graph(short, ids)).sum() > 0.99


def test_every_matrix_and_table_is_8_bit(small):
    for tensor in small.graph.initializer:
        if len(tensor.dims) > 1:
            assert tensor.data_type in (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT64)


def test_rounding_error_is_bounded_by_half_a_step(graph, small):
    """Each number of the word table is off by at most half of the table's scale."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    original = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    tables = [n for n in original if n[0] == "e" and original[n].shape == (WORDS, 24)]
    assert len(tables) == 1
    scale, zero = (tensors[f"{tables[0]}_{end}"] for end in ("scale", "zero_point"))
    restored = (tensors[f"{tables[0]}_quantized"].astype(np.float32) - zero) * scale
    assert np.abs(restored - original[tables[0]]).max() <= scale / 2 + 1e-6


def test_parts_add_up_to_the_graph(small):
    parts = graph_parts(small)
    assert sum(parts.values()) == len(small.SerializeToString())
    assert min(parts.values()) > 0
    shape = TINY["student"]
    assert parts[PROJECTOR] == shape["hidden_size"] * shape["vector_size"]
    assert parts[EMBEDDING] >= WORDS * shape["embedding_size"]
    assert parts[SCALES] > 0


def test_twice_the_same_bytes(graph, small):
    assert quantize(graph).SerializeToString() == small.SerializeToString()


def test_a_forgotten_table_is_found(small):
    table = numpy_helper.from_array(np.zeros((100, 64), np.float32), "e99")
    with pytest.raises(BudgetError, match=r"left fp32 tensors.*e99.*25600"):
        check_tensors(copy_with(small, table))


def test_a_copied_weight_is_found(small):
    pair = [numpy_helper.from_array(np.ones((64, 64), np.int8), name) for name in ("a1", "a2")]
    with pytest.raises(BudgetError, match="4,096 bytes twice"):
        check_tensors(copy_with(small, *pair))


def test_bytes_are_foreseen(small):
    """What the vocabulary is counted out by: never too low, and little is wasted."""
    shape = StudentSettings.model_validate(TINY["student"])
    actual = small.ByteSize() - WORDS * shape.embedding_size
    assert actual <= graph_bytes_without_words(shape) <= actual + 1_000
