import json
import shutil

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from models.bundle import EncoderBundle
from models.compression.export.encoder_graph import export_graph, tensor_places
from models.compression.export.revival import _values, student_from_bundle
from models.compression.pretraining.batches import pad
from models.compression.quantization.few_bits import plan_bits
from models.compression.quantization.polish import rounded
from models.compression.student import StudentSettings, build_student
from models.encoder import Encoder
from models.errors import DataError
from tests.models.conftest import TINY


def test_a_revived_student_gives_the_vectors_of_its_bundle(compressed, tiny_corpus):
    folder = compressed[0].folder
    student, encoder = student_from_bundle(folder), Encoder.load(folder)
    texts = tiny_corpus.item_texts
    ids = [encoder._tokenizer.encode(text).ids for text in texts]
    with torch.no_grad():
        revived = student(*pad(ids)).numpy()
    assert (revived * encoder.encode(texts)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (4, 6), (4, 4), (32, 32)], ids=str)
@pytest.mark.parametrize(
    "change", [{}, {"layers": 0, "hidden_size": 24}, {"layers": 2, "adapter_size": 8}], ids=str
)
def test_every_weight_comes_back_as_the_graph_computes_it(bits, change):
    shape = {**TINY["student"], "vector_size": 16, **change}
    student = build_student(StudentSettings.model_validate(shape), 40, seed=1)
    with torch.no_grad():
        for number, parameter in enumerate(student.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(number)))
    plan = plan_bits(student.settings, *bits)
    graph = export_graph(student, plan).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = dict(student.named_parameters())
    places = tensor_places(build_student(student.settings, 40, seed=2), plan)
    assert set(places) == set(weights)
    for name, tensors in places.items():
        got = _values(name, [stored[tensor] for tensor in tensors], plan)
        module, values = name.removesuffix(".weight"), weights[name].detach().numpy()
        if module in plan and plan[module] != 32:
            values = rounded(module, values, plan[module])
        np.testing.assert_allclose(got, values, rtol=1e-3, atol=1e-6)


def test_a_manifest_without_a_shape_is_refused(compressed, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(compressed[0].folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["origin"]["student"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    EncoderBundle.open(folder)
    with pytest.raises(DataError, match="does not say what shape it has"):
        student_from_bundle(folder)


def test_a_manifest_of_another_shape_is_refused(compressed, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(compressed[0].folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["origin"]["student"]["intermediate_size"] *= 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="not of the shape"):
        student_from_bundle(folder)


def test_a_weight_that_is_no_number_is_refused(broken_bundle):
    with pytest.raises(DataError, match=r"weight \S+ has NaN or infinite values: get the bundle"):
        student_from_bundle(broken_bundle)
