import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, write_bundle
from models.encoder import Encoder
from models.errors import DataError
from models.wordpiece import CHARACTERS_PER_TOKEN

TEXTS = ["heat (1995). crime", "old house by the river", "x", "first love story, last war story"]


@pytest.fixture(scope="module")
def encoder(compressed):
    return Encoder.load(compressed[0].folder)


def test_vectors_have_shape_type_and_length_one(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.vector_size)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_text_does_not_depend_on_its_company(encoder):
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(encoder.encode(TEXTS), alone)


def test_nothing_said_is_the_zero_vector(encoder):
    vectors = encoder.encode(["", "   \n", "heat"])
    assert not vectors[:2].any()
    assert vectors[2].any()
    assert encoder.encode([]).shape == (0, encoder.vector_size)


def test_one_text_in_place_of_a_list_is_refused(encoder):
    with pytest.raises(TypeError, match=r"encode\(\['heist film'\]\)"):
        encoder.encode("heist film")


def test_a_folder_may_be_named_by_text(compressed, encoder):
    by_text = Encoder.load(str(compressed[0].folder))
    np.testing.assert_array_equal(by_text.encode(TEXTS), encoder.encode(TEXTS))


def test_text_beyond_the_longest_is_not_read(encoder):
    full = "heat " * encoder.max_tokens
    assert encoder.num_tokens(full) == encoder.max_tokens
    np.testing.assert_array_equal(encoder.encode([full]), encoder.encode([full + "river"]))


def test_of_a_megabyte_only_the_beginning_is_split(encoder, monkeypatch):
    seen = []

    class Spy:
        def encode(self, text):
            seen.append(len(text))
            return tokenizer.encode(text)

    tokenizer = encoder._tokenizer
    monkeypatch.setattr(encoder, "_tokenizer", Spy())
    encoder.encode(["house " * 200_000])
    assert seen == [CHARACTERS_PER_TOKEN * encoder.max_tokens]


@settings(max_examples=50)
@given(st.text())
def test_any_text_gives_finite_numbers(encoder, text):
    assert np.isfinite(encoder.encode([text])).all()


def test_a_graph_that_gives_nan_is_named(broken_bundle):
    encoder = Encoder.load(broken_bundle)
    with pytest.raises(DataError, match=r"NaN or infinite numbers for 2 of 3 .* is text 1.*again"):
        encoder.encode(["", "heat", "river"])
    assert not encoder.encode([""]).any()


def test_a_graph_that_is_none_is_refused(tmp_path, compressed):
    bundle = compressed[0]
    files = {name: bundle.read(name) for name in (VOCABULARY, TOKENIZER)}
    write_bundle(
        tmp_path / "b",
        {**files, GRAPH: b"no graph"},
        graph_parts={"graph structure": 8},
        vector_size=4,
        origin={},
        budget_bytes=60_000,
    )
    with pytest.raises(DataError, match="onnxruntime cannot read"):
        Encoder.load(tmp_path / "b")


def test_serving_imports_no_torch(compressed):
    program = (
        "import sys, pathlib; from models.encoder import Encoder; "
        f"Encoder.load(pathlib.Path({str(compressed[0].folder)!r})).encode(['heat']); "
        "heavy = {'torch', 'transformers', 'onnx', 'scipy', 'pandas', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
