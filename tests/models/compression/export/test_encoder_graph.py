import collections
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, write_bundle
from models.compression.export.encoder_graph import (
    ADAPTERS,
    ATTENTION,
    EMBEDDING,
    FEED_FORWARD,
    LENGTH_PREFIX_BYTES,
    NORMS,
    PROJECTOR,
    SCALES,
    Readout,
    bytes_per_word,
    check_parity,
    export_graph,
    graph_bytes_without_words,
    graph_parts,
)
from models.compression.quantization.few_bits import (
    PLANES,
    plan_bits,
    quantize_columns,
    uniform,
    weight_names,
)
from models.compression.quantization.polish import fake_quantized
from models.compression.student import StudentSettings, build_student
from models.encoder import open_session, run_graph
from models.errors import BudgetError, DataError
from tests.models.conftest import TINY

WORDS = 30
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3], [2, *range(5, 18), 3]]
SHAPES = {
    "albert": {},
    "bert": {"layers": 2, "passes": 1, "embedding_size": 32},
    "minialbert": {"adapter_size": 8, "passes": 3},
    "two layers, twice": {"layers": 2},
    "static": {"layers": 0, "embedding_size": 32, "passes": 1},
}


def shaped(**changes):
    return StudentSettings.model_validate({**TINY["student"], **changes})


def trained(shape, words=WORDS):
    """A student whose weights all differ, as after training."""
    student = build_student(shape, words, seed=1).eval()
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return student


def vectors(model, texts=TEXTS):
    """Each text by itself, as on a phone."""
    session = open_session(model.SerializeToString())
    return np.concatenate([run_graph(session, np.asarray([ids])) for ids in texts])


@pytest.fixture(scope="module")
def student():
    return trained(shaped())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_graph_equals_torch_padded_and_alone(shape):
    student = trained(shaped(**shape))
    graph = export_graph(student, uniform(student, 32))
    assert check_parity(student, graph, TEXTS) < 1e-5
    with torch.no_grad():
        alone = [student(torch.tensor([t]), torch.ones(1, len(t), dtype=int)) for t in TEXTS]
    np.testing.assert_allclose(vectors(graph), torch.cat(alone).numpy(), atol=1e-5)


@settings(max_examples=15)
@given(
    st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=12), min_size=1, max_size=6),
    st.integers(0, 4),
    st.integers(0, WORDS - 1),
)
def test_batch_and_padding_change_nothing_in_fp32(texts, more_padding, pad_id):
    student = trained(shaped())
    graph = export_graph(student, uniform(student, 32))
    longest = max(map(len, texts)) + more_padding
    ids = np.full((len(texts), longest), pad_id)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    session = open_session(graph.SerializeToString())
    together = session.run(["vector"], {"ids": ids, "mask": mask})[0]
    np.testing.assert_allclose(together, vectors(graph, texts), atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_int8_gives_nearly_the_same_vectors(shape):
    student = trained(shaped(**shape))
    full, small = (vectors(export_graph(student, uniform(student, bits))) for bits in (32, 8))
    assert (full * small).sum(axis=1).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(small, axis=1), 1, atol=1e-5)


def test_fewer_bits_fewer_bytes_and_less_likeness():
    student = trained(shaped(), words=600)
    full = vectors(export_graph(student, uniform(student, 32)))
    figures = []
    for bits in (2, 4, 8):
        graph = export_graph(student, uniform(student, bits))
        figures.append((graph.ByteSize(), (vectors(graph) * full).sum(axis=1).mean()))
    assert sorted(figures) == figures
    assert figures[1][1] > 0.95


@settings(max_examples=25)
@given(st.sampled_from(sorted(SHAPES)), st.integers(1, WORDS), st.data())
def test_byte_table_is_the_files_for_any_parts_and_bits(name, words, data):
    """Whatever a student is made of and however its weights are rounded, no byte goes uncounted."""
    student = trained(shaped(**SHAPES[name]), words)
    bits = st.sampled_from([32, *PLANES])
    plan = {weight: data.draw(bits, weight) for weight in weight_names(student.settings)}
    graph = export_graph(student, plan)
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: b"word\n" * words,
        TOKENIZER: b"{}",
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        bundle = write_bundle(
            folder,
            files,
            graph_parts=graph_parts(graph),
            vector_size=student.settings.vector_size,
            origin={"bits": plan},
            budget_bytes=200_000,
        )
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    table = {row.part: row.num_bytes for row in bundle.byte_table()}
    beside = ("vocabulary", "tokenizer settings", "manifest")
    assert sum(table.values()) == sum(sizes.values()) == bundle.num_bytes
    assert sum(size for part, size in table.items() if part not in beside) == sizes[GRAPH]
    # The words' numbers are there, at the bits that the plan gives them.
    assert table[EMBEDDING] >= words * student.settings.embedding_size * plan["words"] // 8


def test_another_model_is_found_out(student):
    other = export_graph(student, uniform(student, 32))
    weight = next(t for t in other.graph.initializer if t.name.startswith("a"))
    changed = numpy_helper.to_array(weight) + 0.05
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    with pytest.raises(RuntimeError, match="differs from torch"):
        check_parity(student, other, TEXTS)


def test_same_weights_same_bytes(student):
    for bits in (32, 8, 4):
        first, second = (
            export_graph(made, uniform(made, bits)).SerializeToString()
            for made in (student, trained(shaped()))
        )
        assert first == second


def test_a_pass_costs_a_call_and_no_weights():
    sizes = []
    for passes in (1, 2, 3):
        student = trained(shaped(passes=passes))
        graph = export_graph(student, uniform(student, 8))
        assert sum(node.op_type.startswith("layer") for node in graph.graph.node) == passes
        assert sum(f.name.startswith("layer") for f in graph.functions) == 1
        sizes.append(graph.ByteSize())
    assert sizes[1] - sizes[0] < 150
    assert sizes[2] - sizes[1] < 150


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_weight_is_stored_once_and_counted_in_its_part(shape):
    student = trained(shaped(**shape))
    weights = collections.Counter()
    for name, parameter in student.named_parameters():
        part = NORMS if parameter.ndim == 1 else EMBEDDING
        for word, known in (
            ("layers", FEED_FORWARD),
            ("query", ATTENTION),
            ("attention_out", ATTENTION),
            ("adapters", ADAPTERS),
            ("projector", PROJECTOR),
        ):
            part = known if word in name and parameter.ndim == 2 else part
        weights[part] += parameter.numel()
    full = graph_parts(export_graph(student, uniform(student, 32)))
    small = graph_parts(export_graph(student, uniform(student, 8)))
    for part, count in weights.items():
        assert full[part] == 4 * count
        assert small[part] == count * (2 if part == NORMS else 1)
    assert full[SCALES] == 0
    # A step per row and per output channel, and two numbers per weight for all its steps.
    rows = WORDS + student.settings.max_tokens
    channels = sum(
        len(p) for n, p in student.named_parameters() if p.ndim == 2 and "words" not in n
    )
    channels -= student.settings.max_tokens
    tables = sum(p.ndim == 2 for p in student.parameters())
    assert small[SCALES] == rows + channels + 8 * tables


@pytest.mark.parametrize("bits", [32, 8, 6, 5, 4, 3])
def test_bytes_are_foreseen(bits):
    """What the vocabulary is counted out by: never too low, and almost nothing is wasted."""
    shape = shaped(max_tokens=8)
    for words in (1, 500):
        graph = export_graph(trained(shape, words), plan_bits(shape, bits, bits))
        assert sum(graph_parts(graph).values()) == len(graph.SerializeToString())
        actual = graph.ByteSize() - words * bytes_per_word(shape, bits)
        counted = graph_bytes_without_words(shape, plan_bits(shape, bits, bits))
        assert actual <= counted <= actual + LENGTH_PREFIX_BYTES


def test_an_unlike_plan_is_foreseen_too():
    shape = shaped(adapter_size=8)
    plan = {**plan_bits(shape, 4, 8), "layers.0.feed_in": 4, "adapters.0.up": 6, "projector": 32}
    graph = export_graph(trained(shape), plan)
    counted = graph_bytes_without_words(shape, plan) + WORDS * bytes_per_word(shape, 4)
    assert 0 <= counted - graph.ByteSize() <= LENGTH_PREFIX_BYTES
    full = vectors(export_graph(trained(shape), plan_bits(shape, 32, 32)))
    assert (vectors(graph) * full).sum(axis=1).min() > 0.97


def test_packed_matrices_are_int8_constants_once_loaded(tmp_path):
    """4 bits in the file, the speed of int8: nothing is left to unpack at run time."""
    student = trained(shaped())
    plan = plan_bits(student.settings, 32, 4)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    graph = export_graph(student, plan).SerializeToString()
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(options.optimized_model_filepath)
    operators = collections.Counter(node.op_type for node in loaded.graph.node)
    assert operators["DynamicQuantizeMatMul"] == 6  # 3 in each of 2 passes
    assert operators["QAttention"] == 2
    assert not {"BitShift", "BitwiseAnd", "Round", "Exp"} & set(operators)
    constants = [numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer]
    for name in ("query_key_value", "attention_out", "feed_in", "feed_out"):
        weight = student.get_parameter(f"layers.0.{name}.weight").detach().numpy()
        expected = quantize_columns(weight.T, 4)
        assert any(np.array_equal(values, expected.int8()) for values in constants)
        steps = expected.steps.values()
        assert any(v.shape == steps.shape and np.allclose(v, steps, rtol=1e-5) for v in constants)


@pytest.mark.parametrize("bits", PLANES)
def test_graph_computes_the_rounded_values(bits):
    """Without layers no activation is rounded: torch with the rounded weights gives the same."""
    student = trained(shaped(**SHAPES["static"]))
    plan = uniform(student, bits)
    with torch.no_grad():
        for norm in (student.norm.weight, student.norm.bias):
            norm.copy_(norm.half())  # as the graph stores it
        with fake_quantized(student, plan):
            expected = [student(torch.tensor([t]), torch.ones(1, len(t), dtype=int)) for t in TEXTS]
    got = vectors(export_graph(student, plan))
    np.testing.assert_allclose(got, torch.cat(expected).numpy(), atol=2e-6)


def test_a_task_reads_logits(student):
    rng = np.random.default_rng(0)
    head = Readout("logits", rng.normal(size=(5, 32)).astype(np.float32), np.ones(5, "f"), False)
    ids, mask = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), torch.tensor([[1] * 4, [1, 1, 1, 0]])
    with torch.no_grad():
        expected = student.pool(ids, mask).numpy() @ head.weight.T + head.bias
    feeds = {"ids": ids.numpy(), "mask": mask.numpy()}
    for bits, tolerance in ((32, 1e-4), (8, 0.3)):
        graph = export_graph(student, uniform(student, bits), head)
        got = open_session(graph.SerializeToString()).run(["logits"], feeds)[0]
        np.testing.assert_allclose(got, expected, atol=tolerance)
    assert graph_parts(graph)[PROJECTOR] == 5 * 32


def test_every_matrix_and_table_is_8_bit_and_nothing_names_this_machine(student):
    graph = export_graph(student, uniform(student, 8))
    for tensor in graph.graph.initializer:
        if len(tensor.dims) > 1:
            assert tensor.data_type in (TensorProto.INT8, TensorProto.UINT8)
    for trace in (b".py", b"site-packages", b"torch", b"models"):
        assert trace not in graph.SerializeToString()
    assert not graph.producer_name


def test_onnxruntime_has_nothing_to_complain_about(student, capfd):
    for bits in (32, 8, 4):
        vectors(export_graph(student, uniform(student, bits)))
    assert capfd.readouterr().err == ""


def test_weights_that_are_no_numbers_are_refused(student):
    broken = trained(shaped())
    with torch.no_grad():
        broken.projector.weight[0, 0] = float("inf")
    with pytest.raises(DataError, match=r"projector\.weight has NaN or infinite values: train"):
        export_graph(broken, uniform(broken, 8))
    head = Readout("logits", np.full((2, 32), np.nan, np.float32), None, False)
    with pytest.raises(DataError, match=r"projector\.weight has NaN"):
        export_graph(student, uniform(student, 8), head)


def test_a_bias_too_large_for_half_precision_is_refused():
    broken = trained(shaped())
    with torch.no_grad():
        broken.layers[0].feed_in.bias[3] = 1e6
    export_graph(broken, uniform(broken, 32))
    with pytest.raises(DataError, match=r"layers\.0\.feed_in\.bias reaches 1e\+06, at most 65504"):
        export_graph(broken, uniform(broken, 8))


def test_equal_layers_are_refused_as_a_waste():
    twins = trained(shaped(layers=2))
    twins.layers[1].load_state_dict(twins.layers[0].state_dict())
    with pytest.raises(BudgetError, match="bytes twice"):
        export_graph(twins, uniform(twins, 8))
