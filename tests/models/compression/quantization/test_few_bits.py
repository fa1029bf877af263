import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.compression.quantization.few_bits import (
    GROUP,
    PLANES,
    check_plan,
    encode_steps,
    highest,
    middle,
    num_groups,
    pack,
    plan_bits,
    quantize_columns,
    quantize_rows,
    uniform,
    weight_names,
)
from models.compression.student import StudentSettings, build_student
from models.errors import SettingsError
from tests.models.conftest import TINY

SHAPE = StudentSettings.model_validate(TINY["student"])
FEW_BITS = sorted(set(PLANES) - {8})
ROUNDING = 1 + 1e-4
"""Steps are float32, and their logarithms too."""


def matrices():
    """Weights of any size, with rows of zeros and with outliers."""
    numbers = st.floats(-(2.0**99), 2.0**99, width=32) | st.floats(-1, 1, width=32)
    shapes = st.tuples(st.integers(1, 6), st.sampled_from([8, 24, 64, 72]))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=numbers))


def ordinary(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(max_examples=40)
@given(matrices())
def test_8_bits_are_off_by_at_most_half_a_step_of_the_row(table):
    made = quantize_rows(table, 8)
    steps = made.steps.values().astype(np.float64)
    assert (np.abs(made.values() - table.astype(np.float64)) <= steps / 2 * ROUNDING).all()
    assert made.integers.dtype == np.int8
    assert made.integers.min() >= -127


@settings(max_examples=40)
@given(matrices())
def test_8_bit_matrices_are_off_by_at_most_half_a_step_of_the_channel(matrix):
    made = quantize_columns(matrix.T, 8)
    steps = made.steps.values().astype(np.float64)
    error = np.abs(made.values() - matrix.T.astype(np.float64))
    assert (error <= steps / 2 * ROUNDING).all()
    np.testing.assert_array_equal(made.int8(), made.integers)


@settings(max_examples=40)
@given(matrices(), st.sampled_from(FEW_BITS))
def test_few_bits_are_off_by_at_most_a_step_of_the_group(table, bits):
    made = quantize_rows(table, bits)
    assert made.integers.max() < 2**bits
    steps = made.steps.values().astype(np.float64)
    spread = np.repeat(steps, table.shape[1] // steps.shape[1], axis=1)
    assert (np.abs(made.values() - table.astype(np.float64)) <= spread * ROUNDING).all()


@settings(max_examples=40)
@given(matrices(), st.sampled_from(FEW_BITS))
def test_few_bit_matrices_are_off_by_at_most_a_level_and_half_a_step(matrix, bits):
    made = quantize_columns(matrix.T, bits)
    steps = made.steps.values().astype(np.float64)
    level = np.repeat(2 / highest(bits) * made.multipliers.astype(np.float64), _group(made), axis=0)
    error = np.abs(made.values() - matrix.T.astype(np.float64))
    assert (error <= steps * (level + 0.5) * ROUNDING).all()
    assert np.abs(made.int8().astype(int)).max() <= 127


def _group(made):
    return len(made.integers) // len(made.multipliers)


@pytest.mark.parametrize("bits", PLANES)
def test_more_bits_more_exact(bits):
    table = ordinary((50, 64))
    rows, columns = (
        np.square(f(table, bits).values() - table).mean() for f in (quantize_rows, quantize_columns)
    )
    bound = 0.0084 * 4.0 ** (4 - bits)  # a bit is worth a factor of 4
    bound *= 1.3 if bits >= 6 else 1  # 8 bits have no groups; at 6 the step of int8 begins to show
    assert rows < bound
    assert columns < bound


def test_one_outlier_spoils_only_its_group():
    table = ordinary((1, 4 * GROUP))
    table[0, 0] = 100
    error = np.abs(quantize_rows(table, 4).values() - table)[0]
    assert error[:GROUP].max() > 1
    assert error[GROUP:].max() < 0.5


@settings(max_examples=40)
@given(arrays.arrays(np.float64, 20, elements=st.floats(0, 1e30)))
def test_steps_are_rounded_up_and_not_far(needed):
    made = encode_steps(needed)
    values = made.values().astype(np.float64)
    assert (values * ROUNDING >= needed).all()
    within = needed > max(needed.max() / 2**15, 1e-29)
    assert (values[within] <= needed[within] * 2 ** (16 / 255) * ROUNDING).all()


def test_steps_of_one_size_are_exact():
    made = encode_steps(np.full(5, 0.25))
    np.testing.assert_allclose(made.values(), 0.25, rtol=1e-6)
    assert not encode_steps(np.zeros(3)).codes.any()


@settings(max_examples=40)
@given(
    st.sampled_from(FEW_BITS),
    st.integers(1, 4).flatmap(
        lambda n: arrays.arrays(np.uint8, (n, 16), elements=st.integers(0, 255))
    ),
)
def test_packing_loses_nothing_and_fills_the_bytes(bits, values):
    integers = values & (2**bits - 1)
    planes = pack(integers, bits, axis=1)
    assert sum(plane.nbytes for plane in planes) == integers.size * bits // 8
    unpacked = np.zeros_like(integers)
    for plane, width in zip(planes, PLANES[bits], strict=True):
        parts = [plane >> (width * place) & (2**width - 1) for place in range(8 // width)]
        unpacked = (unpacked << width) | np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(unpacked, integers)


def test_groups_are_as_near_to_32_as_divides():
    assert num_groups(128, 4) == 4
    assert num_groups(312, 4) == 312 // 26
    assert num_groups(74, 4) == 2
    assert num_groups(24, 3) == 1
    assert num_groups(1248, 8) == 1
    assert middle(4) == 7.5


def test_a_plan_names_every_weight_of_the_student():
    for shape in (
        SHAPE,
        SHAPE.model_copy(update={"layers": 2, "adapter_size": 8}),
        SHAPE.model_copy(update={"layers": 0, "hidden_size": 24}),
    ):
        student = build_student(shape, 10, seed=0)
        tables = [n for n, p in student.named_parameters() if p.ndim == 2]
        assert [f"{name}.weight" for name in weight_names(shape)] == tables
        check_plan(shape, uniform(student, 4))


def test_embedding_and_matrices_apart():
    plan = plan_bits(SHAPE, 4, 8)
    assert plan["words"] == plan["positions"] == 4
    assert {bits for name, bits in plan.items() if name not in ("words", "positions")} == {8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": 7}, "gives words 7 bits: take one of"),
        ({"pooler": 8}, r"\['pooler'\] too many"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        check_plan(SHAPE, {**plan_bits(SHAPE, 8, 8), **change})


def test_a_width_that_fills_no_bytes_is_refused():
    odd = SHAPE.model_copy(update={"embedding_size": 27})
    check_plan(odd, plan_bits(odd, 8, 8))
    with pytest.raises(SettingsError, match="words is 27 wide, not a multiple of 2: 4 bits"):
        check_plan(odd, plan_bits(odd, 4, 8))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PLANES)))
def test_same_weights_same_bytes(seed, bits):
    table = ordinary((4, 32), seed)
    first, second = (quantize_rows(table.copy(), bits) for _ in range(2))
    assert first.integers.tobytes() == second.integers.tobytes()
    assert first.steps.codes.tobytes() == second.steps.codes.tobytes()
