"""A tiny student and its exported graph: exporting takes seconds, so it is done once."""

import pytest
import torch
from onnx import ModelProto

from models.compression.export.encoder_graph import export_graph
from models.compression.quantization.few_bits import uniform
from models.compression.student import Student, StudentSettings, build_student
from tests.models.conftest import TINY

WORDS = 30
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3], [2, *range(5, 18), 3]]


@pytest.fixture(scope="session")
def student() -> Student:
    """A student whose weights all differ, as after training."""
    made = build_student(StudentSettings.model_validate(TINY["student"]), WORDS, seed=1).eval()
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return made


@pytest.fixture(scope="session")
def graph(student: Student) -> ModelProto:
    """Its fp32 graph."""
    return export_graph(student, uniform(student, 32))
