import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.protocol.secure_sum.ring import RING_BITS, Ring
from models.errors import EngineError

bits = st.sampled_from(RING_BITS)


@given(bits, st.lists(st.integers(-(2**40), 2**40), max_size=20))
def test_a_sum_that_fits_comes_back_whatever_wraps_on_the_way(size: int, values: list[int]):
    ring = Ring(size)
    total = ring.wrap(np.zeros(1, np.int64))
    for value in values:
        total = ring.add(total, ring.wrap(np.array([value])))
    expected = (sum(values) + ring.largest + 1) % 2**size - ring.largest - 1
    assert ring.centred(total).tolist() == [expected]
    assert ring.subtract(total, total).tolist() == [0]


@given(bits, st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_elements_survive_the_wire(size: int, values: list[int]):
    ring = Ring(size)
    elements = ring.wrap(np.array(values, dtype=np.int64))
    packed = ring.pack(elements)
    assert len(packed) == len(values) * size // 8
    np.testing.assert_array_equal(ring.unpack(packed), elements)


@pytest.mark.parametrize("size", RING_BITS)
def test_the_boundary_of_a_ring_is_exact(size: int):
    ring = Ring(size)
    inside = np.array([ring.largest, -ring.largest - 1])
    assert ring.centred(ring.wrap(inside)).tolist() == inside.tolist()
    assert ring.centred(ring.wrap(inside + np.array([1, -1]))).tolist() == inside[::-1].tolist()


def test_half_a_number_and_an_odd_ring_are_refused():
    with pytest.raises(EngineError, match="7 bytes hold no whole number of 24-bit"):
        Ring(24).unpack(bytes(7))
    with pytest.raises(EngineError, match="ring of 20 bits"):
        Ring(20)
