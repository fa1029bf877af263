import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.scenarios_serving import LARGEST_FILE_BYTES, POOLED, STACK, ScenarioWeights, gelu


def weights(P=2, H=8, A=3, n=4, place=STACK, labels=(), seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return ScenarioWeights(
        place=place,
        down=draw(P, H, A),
        down_bias=draw(P, A),
        up=draw(P, A, H),
        up_bias=draw(P, H),
        head=draw(n, H) if n else None,
        head_bias=draw(n) if n else None,
        centre=draw(H) if n else None,
        labels=labels,
        encoder="ab" * 32,
    )


@settings(max_examples=25)
@given(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(0, 6), st.integers(0, 99)
)
def test_a_file_gives_back_what_was_written(P, H, A, n, seed):
    made = weights(P, H, A, n, seed=seed)
    content = made.to_bytes()
    back = ScenarioWeights.from_bytes(content)
    assert content == made.to_bytes() == back.to_bytes()
    assert (back.place, back.labels, back.encoder) == (made.place, made.labels, made.encoder)
    # A number is off by at most half a step of its row, a row being as long as the encoder is wide.
    for name, axis in (("down", 1), ("up", 2), *([("head", 1)] if n else [])):
        before, after = getattr(made, name), getattr(back, name)
        steps = np.abs(before).max(axis=axis, keepdims=True) / 127
        assert (np.abs(before - after) <= steps * 0.501).all()
    np.testing.assert_allclose(back.up_bias, made.up_bias, rtol=1e-3)


def test_a_scenario_is_some_kilobytes():
    one = weights(P=4, H=256, A=8, n=0)
    numbers = 2 * 4 * 8 * 256
    assert len(one.to_bytes()) < 1.25 * numbers + 3_000
    assert (one.width, one.places) == (256, 4)


def test_the_adapter_after_the_pooling_by_hand():
    made = weights(P=1, H=2, A=1, n=1, place=POOLED)
    pooled = np.asarray([[1.0, -2.0]], np.float32)
    apart = pooled[0] - made.centre
    inside = float(apart @ made.down[0, :, 0] + made.down_bias[0, 0])
    inside *= 0.5 * (1 + math.erf(inside / math.sqrt(2)))
    moved = apart + inside * made.up[0, 0] + made.up_bias[0]
    expected = moved @ made.head[0] + made.head_bias[0]
    assert made.read(pooled).item() == pytest.approx(expected, rel=1e-5)
    assert made.inputs() == {}


def test_gelu_keeps_the_shape():
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    assert gelu(x).shape == (3, 4)
    assert gelu(x).dtype == np.float32


def changed(**arrays):
    with np.load(io.BytesIO(weights().to_bytes())) as stored:
        values = dict(stored)
    values |= arrays
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in values.items() if array is not None})
    return file.getvalue()


def meta(**changes):
    values = {"format": "pocketfleet-scenario/1", "place": STACK, "encoder": "ab", "labels": []}
    return np.frombuffer(json.dumps({**values, **changes}).encode(), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an"),
        (b"PK\x03\x04 cut short", "not an"),
        (weights().to_bytes()[:-100], "not an"),
        (changed(up=None), "damaged"),
        (changed(up=np.zeros((2, 3, 8), np.float32)), "damaged"),
        (changed(down_bias=np.zeros((2, 9), np.float16)), "adapters have shapes"),
        (changed(head_bias=np.zeros(9, np.float16)), "head has shapes"),
        (changed(up_bias=np.full((2, 8), np.nan, np.float16)), "up_bias has NaN"),
        (changed(up_bias=np.array(["a"])), "up_bias has NaN, infinite or no numbers"),
        (changed(meta=meta(format="other")), "format is 'other'"),
        (changed(meta=meta(place="roof")), "place is 'roof'"),
        (changed(meta=meta(place=POOLED)), "'pooled' with 2 adapters"),
        (changed(meta=meta(labels=["one"])), "1 labels for 4 answers"),
        (changed(meta=np.zeros(3, np.uint8)), "damaged"),
        (changed(more=np.zeros(LARGEST_FILE_BYTES, np.int8)), "at most 1,000,000"),
    ],
)
def test_damaged_files_are_refused(content, message):
    with pytest.raises(DataError, match=message):
        ScenarioWeights.from_bytes(content)


def test_a_pickle_is_never_read():
    class Loud:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was read",))

    file = io.BytesIO()
    np.savez(file, meta=np.array([Loud()], dtype=object))
    with pytest.raises(DataError, match="not an"):
        ScenarioWeights.from_bytes(file.getvalue())


def test_no_torch_on_the_phone():
    code = "import sys, models.scenarios_serving; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
