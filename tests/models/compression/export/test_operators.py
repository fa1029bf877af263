import onnx
import onnxruntime
import pytest
from onnxruntime.tools.reduced_build_config_parser import parse_config

from models.compression.export.encoder_graph import export_graph
from models.compression.export.operators import required_operators
from models.compression.quantization.few_bits import uniform
from models.compression.student import StudentSettings, build_student
from tests.models.conftest import TINY


@pytest.mark.parametrize("bits", [8, 4])
def test_the_list_covers_what_onnxruntime_runs(bits, tmp_path):
    student = build_student(StudentSettings.model_validate(TINY["student"]), 30, seed=1)
    graph = export_graph(student, uniform(student, bits))
    config = tmp_path / "required_operators.config"
    config.write_text(required_operators(graph))
    needed, _ = parse_config(str(config))  # as onnxruntime's own build reads it

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(graph.SerializeToString(), options)
    loaded = onnx.load(options.optimized_model_filepath)
    listed = {
        (domain, operator)
        for domain, versions in needed.items()
        for operators in versions.values()
        for operator in operators
    }
    for node in loaded.graph.node:
        assert (node.domain or "ai.onnx", node.op_type) in listed


def test_versions_are_those_of_the_standard():
    student = build_student(StudentSettings.model_validate(TINY["student"]), 30, seed=1)
    lines = required_operators(export_graph(student, uniform(student, 8))).splitlines()
    assert "com.microsoft;1;DynamicQuantizeMatMul,QAttention" in lines
    assert "ai.onnx;11;DynamicQuantizeLinear" in lines
    assert any(line.startswith("ai.onnx;23;") and "RMSNormalization" in line for line in lines)
    assert len(lines) == len({line.rpartition(";")[0] for line in lines})
