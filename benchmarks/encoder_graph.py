"""Claim: a graph written by hand is smaller and faster than one that is traced and then quantised.

    python -m benchmarks.encoder_graph

Weights are random, H = 256, E = 128, 7,500 words, one layer applied 2 and 6 times. Four tables, all
side by side in one process, one thread, in alternation, CPU milliseconds of that thread, medians:

    whole graphs   torch.onnx.export + onnxruntime's quantize_dynamic (per channel, pre-processed)
                   against `export_graph` at several plans; bytes, and bytes that are no numbers
    LayerNorm      the operators that compute it, (1, T, 256), per call
    4-bit words    `GatherBlockQuantized` against shifts and a look-up of steps
    4-bit matrices `MatMulNBits` against an int8 matrix made when the graph is loaded
"""

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.machine import describe_machine
from models.compression.export.encoder_graph import STRUCTURE, export_graph, graph_parts
from models.compression.export.graph import IR_VERSION, OPSET, Nodes
from models.compression.quantization.few_bits import FULL, plan_bits
from models.compression.student import Student, StudentSettings, build_student
from models.encoder import open_session

LENGTHS, REPEATS, WORDS, E, H = (8, 16, 32, 64), 60, 7_500, 128, 256
CHAIN = 8
"""Operators in a row, so that the time of a call is not seen."""

Feeds = dict[str, np.ndarray]


def main() -> None:
    torch.set_num_threads(1)
    print(describe_machine(), "\n")
    for passes in (2, 6):
        graphs = whole_graphs(passes)
        print(f"\n## {passes} passes\n")
        sizes = {name: sizes_of(graph) for name, graph in graphs.items()}
        table(compare(graphs, ids_and_mask), sizes)
    for title, graphs, feeds in (
        ("LayerNorm", norms(), states),
        ("4-bit words", word_tables(), ids_alone),
        ("4-bit matrices, 256 x 1024 and back", products(), states),
    ):
        print(f"\n## {title}, per call\n")
        calls = 1 if title == "4-bit words" else CHAIN
        times = compare(graphs, feeds)
        sizes = {name: f"{graph.ByteSize():,}" for name, graph in graphs.items()}
        table({name: [ms / calls for ms in row] for name, row in times.items()}, sizes)


def whole_graphs(passes: int) -> dict[str, ModelProto]:
    """The traced graph and ours."""
    shape = StudentSettings(
        embedding_size=E,
        hidden_size=H,
        intermediate_size=4 * H,
        num_heads=4,
        layers=1,
        passes=passes,
        adapter_size=0,
        max_tokens=64,
        vector_size=128,
    )
    student = build_student(shape, WORDS, seed=0).eval()
    with torch.no_grad():  # biases of zero would be left out by the tracer
        for parameter in student.parameters():
            parameter.add_(torch.linspace(-0.05, 0.05, parameter.numel()).view(parameter.shape))
    traced, quantized = trace(student)
    plans = {"32": (FULL, FULL), "8": (8, 8), "6": (6, 6), "4": (4, 4), "words 4, rest 8": (4, 8)}
    ours = {
        f"ours, {name} bits": export_graph(student, plan_bits(shape, *bits))
        for name, bits in plans.items()
    }
    return {"traced, fp32": traced, "traced, int8": quantized, **ours}


def trace(student: Student) -> tuple[ModelProto, ModelProto]:
    """The usual path, with its notes stripped: fp32 and int8."""
    axes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", min=2, max=64)}
    ids, mask = torch.full((2, 8), 2), torch.full((2, 8), 1)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            student,
            (ids, mask),
            dynamo=True,
            external_data=False,
            dynamic_shapes={"ids": axes, "mask": axes},
            input_names=["ids", "mask"],
            verbose=False,
        )
        assert program is not None
        raw, folded, small = (Path(name) / f"{step}.onnx" for step in ("raw", "folded", "small"))
        onnx.save(onnx.load_model_from_string(program.model_proto.SerializeToString()), raw)
        quant_pre_process(raw, folded, skip_symbolic_shape=True)
        quantize_dynamic(folded, small, weight_type=QuantType.QInt8, per_channel=True)
        logging.disable(logging.NOTSET)
        made = onnx.load(raw), onnx.load(small)
    for model in made:
        del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
        for entry in (*model.graph.node, *model.graph.initializer):
            del entry.metadata_props[:]
            entry.doc_string = ""
    return made


def norms() -> dict[str, ModelProto]:
    """LayerNorm of a sum, by several operators."""
    gain, bias = (np.linspace(low, 1, H).astype(np.float32) for low in (0.5, -1))
    last, small = np.array([-1]), 1e-12

    def skip(nodes: Nodes, x: str) -> str:
        weights = (nodes.constant(gain), nodes.constant(bias))
        return nodes.fused("SkipLayerNormalization", x, "x", *weights, epsilon=small)

    def standard(nodes: Nodes, x: str) -> str:
        total = nodes.add("Add", x, "x")
        weights = (nodes.constant(gain), nodes.constant(bias))
        return nodes.add("LayerNormalization", total, *weights, axis=-1, epsilon=small)

    def by_rms(nodes: Nodes, x: str) -> str:
        total = nodes.add("Add", x, "x")
        centred = nodes.add("Sub", total, nodes.add("ReduceMean", total, nodes.constant(last)))
        weight = nodes.constant(gain)
        scaled = nodes.add("RMSNormalization", centred, weight, axis=-1, epsilon=small)
        return nodes.add("Add", scaled, nodes.constant(bias))

    ways = {"SkipLayerNormalization": skip, "Add, LayerNormalization": standard, "ours": by_rms}
    return {name: chain(way) for name, way in ways.items()}


def products() -> dict[str, ModelProto]:
    """A product with (256, 1024) and back, to chain it; twice the operators of the others."""
    rng = np.random.default_rng(0)

    def by_blocks(nodes: Nodes, x: str) -> str:
        for rows, columns in ((H, 4 * H), (4 * H, H)):
            packed = rng.integers(0, 256, (columns, rows // 32, 16)).astype(np.uint8)
            scales = rng.random(columns * rows // 32).astype(np.float32) * 0.01
            inputs = (nodes.constant(packed), nodes.constant(scales))
            sizes = {"K": rows, "N": columns, "bits": 4, "block_size": 32, "accuracy_level": 4}
            x = nodes.fused("MatMulNBits", x, *inputs, **sizes)
        return x

    def by_int8(nodes: Nodes, x: str) -> str:
        for shape in ((H, 4 * H), (4 * H, H)):
            matrix = rng.integers(-127, 128, shape).astype(np.int8)
            steps = rng.random(shape[1]).astype(np.float32) * 1e-4
            inputs = (nodes.constant(matrix), nodes.constant(steps))
            x = nodes.fused("DynamicQuantizeMatMul", x, *inputs)
        return x

    ways = {"MatMulNBits": by_blocks, "DynamicQuantizeMatMul": by_int8}
    return {name: chain(way) for name, way in ways.items()}


def chain(way: Callable[[Nodes, str], str]) -> ModelProto:
    """The same operators many times over, in one graph."""
    nodes = Nodes()
    x = "x"
    for _ in range(CHAIN):
        x = way(nodes, x)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "tokens", H])
    return finished(nodes, value)


def word_tables() -> dict[str, ModelProto]:
    """Rows of a table in 4 bits: onnxruntime's operator, and what `export_graph` writes."""
    shape = StudentSettings(
        embedding_size=E,
        hidden_size=E,
        intermediate_size=8,
        num_heads=1,
        layers=0,
        passes=1,
        adapter_size=0,
        max_tokens=64,
        vector_size=2,
    )
    student = build_student(shape, WORDS, seed=0)
    written = export_graph(student, plan_bits(shape, 4, FULL))
    place = max(n for n, node in enumerate(written.graph.node) if node.op_type == "rows4")
    output = written.graph.node[place].output[0]
    del written.graph.node[place + 1 :], written.graph.output[:], written.graph.input[1:]
    written.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    used = {name for node in written.graph.node for name in node.input}
    kept = [tensor for tensor in written.graph.initializer if tensor.name in used]
    del written.graph.initializer[:]
    written.graph.initializer.extend(kept)
    return {"GatherBlockQuantized": by_blocks_of_32(), "ours": written}


def by_blocks_of_32() -> ModelProto:
    """A table in blocks of 32 with float16 scales, as onnxruntime's quantiser makes it."""
    rng = np.random.default_rng(0)
    nodes = Nodes()
    packed = rng.integers(0, 256, WORDS * E // 2).astype(np.uint8).tobytes()
    stored = helper.make_tensor("q", TensorProto.UINT4, [WORDS, E], packed, raw=True)
    scales = numpy_helper.from_array(rng.random((WORDS, E // 32)).astype(np.float16), "s")
    axes = {"gather_axis": 0, "quantize_axis": 1, "block_size": 32}
    half = nodes.fused("GatherBlockQuantized", "q", "ids", "s", **axes)
    nodes.add("Cast", half, to=TensorProto.FLOAT)
    value = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])
    model = finished(nodes, value)
    model.graph.initializer.extend([stored, scales])
    return model


def finished(nodes: Nodes, value: onnx.ValueInfoProto) -> ModelProto:
    """A model of these nodes; the last result is the output."""
    last = nodes.nodes[-1].output[0]
    output = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes.nodes, "benchmark", [value], [output])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def ids_alone(length: int) -> Feeds:
    return {"ids": np.random.default_rng(length).integers(0, WORDS, (1, length))}


def ids_and_mask(length: int) -> Feeds:
    return {**ids_alone(length), "mask": np.ones((1, length), np.int64)}


def states(length: int) -> Feeds:
    normal = np.random.default_rng(length).normal(size=(1, length, H))
    return {"x": normal.astype(np.float32)}


def compare(
    graphs: Mapping[str, ModelProto], feeds: Callable[[int], Feeds]
) -> dict[str, list[float]]:
    """Median CPU milliseconds at each length, the graphs in alternation."""
    sessions = {name: open_session(graph.SerializeToString()) for name, graph in graphs.items()}
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for length in LENGTHS:
        fed = feeds(length)
        found: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(REPEATS):
            for name, session in sessions.items():
                session.run(None, fed)
                found[name].append(run_twice(session, fed))
        for name in graphs:
            times[name].append(statistics.median(found[name]))
    return times


def run_twice(session: onnxruntime.InferenceSession, fed: Feeds) -> float:
    """CPU milliseconds of a run: a session of one thread works on the thread that calls it."""
    start = time.thread_time()
    session.run(None, fed)
    session.run(None, fed)
    return 1000 * (time.thread_time() - start) / 2


def sizes_of(graph: ModelProto) -> str:
    """Bytes, and those that are no numbers."""
    if any(node.domain == "f" for node in graph.graph.node):
        structure = graph_parts(graph)[STRUCTURE]
    else:
        structure = graph.ByteSize() - sum(len(t.raw_data) for t in graph.graph.initializer)
    return f"{graph.ByteSize():,} ({structure:,})"


def table(times: Mapping[str, list[float]], sizes: Mapping[str, str]) -> None:
    """A row per graph."""
    heads = " | ".join(f"ms at {length}" for length in LENGTHS)
    print(f"| | bytes | {heads} |\n|---|---|{'---|' * len(LENGTHS)}")
    for name, row in times.items():
        print(f"| {name} | {sizes[name]} | {' | '.join(f'{ms:.3f}' for ms in row)} |")


if __name__ == "__main__":
    main()
