import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.seeds import generator, integer_seed, uniforms


def test_an_address_gives_the_same_draws_in_another_process():
    """Python salts `hash` in each process; an address must not depend on that."""
    code = "from models.seeds import generator; print(generator(3, 'x', 1, 2).integers(1 << 40))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == generator(3, "x", 1, 2).integers(1 << 40)


def test_different_addresses_give_different_draws():
    addresses = [(3, "x", 1, 2), (4, "x", 1, 2), (3, "y", 1, 2), (3, "x", 2, 1), (3, "x", 1)]
    drawn = {int(generator(*address).integers(1 << 60)) for address in addresses}
    assert len(drawn) == len(addresses)
    assert len({integer_seed(*address) for address in addresses}) == len(addresses)
    assert all(0 <= integer_seed(*address) < 1 << 63 for address in addresses)


def test_a_negative_coordinate_is_refused():
    with pytest.raises(ValueError, match="must be >= 0"):
        generator(1, "x", -1)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=20), st.integers(0, 1 << 20))
def test_a_uniform_is_the_same_alone_as_in_company(devices, day):
    together = uniforms(3, "x", np.array(devices), day)
    alone = [float(uniforms(3, "x", device, day)) for device in devices]
    assert together.tolist() == alone
    assert all(0 <= number < 1 for number in alone)


def test_addresses_broadcast():
    grid = uniforms(3, "x", np.arange(4)[:, None], np.arange(3))
    assert grid.shape == (4, 3)
    assert grid[2, 1] == uniforms(3, "x", 2, 1)
    assert uniforms(3, "x", np.arange(0)).shape == (0,)


def test_uniforms_are_uniform_and_coordinates_do_not_know_each_other():
    """200,000 draws: each tenth has its share, and neighbours are not alike."""
    drawn = uniforms(3, "x", np.arange(2_000)[:, None], np.arange(100))
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    assert np.abs(counts / drawn.size - 0.1).max() < 0.004  # six standard errors
    for axis in (0, 1):
        left, right = drawn.take(range(99), axis), drawn.take(range(1, 100), axis)
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.02
    swapped = uniforms(3, "x", np.arange(100)[:, None], np.arange(100))
    assert len(np.unique(swapped)) == swapped.size  # (1, 2) is not (2, 1)


def test_seed_and_purpose_are_part_of_a_uniforms_address():
    drawn = {float(uniforms(*where)) for where in ((3, "x", 1), (4, "x", 1), (3, "y", 1), (3, "x"))}
    assert len(drawn) == 4
    with pytest.raises(ValueError, match="must be >= 0"):
        uniforms(3, "x", np.array([1, -1]))
