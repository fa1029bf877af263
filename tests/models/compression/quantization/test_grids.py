import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.compression.quantization.few_bits import PLANES
from models.compression.quantization.grids import grid_of
from models.compression.quantization.polish import rounded
from models.seeds import generator

NAMES = ("words", "layers.0.feed_in")


def drawn(seed: int, rows: int = 24, width: int = 64) -> np.ndarray:
    rng = generator(seed, "test")
    sizes = np.exp(rng.normal(size=(rows, 1)))
    return (sizes * rng.normal(size=(rows, width))).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@given(bits=st.sampled_from(sorted(PLANES)), seed=st.integers(0, 10_000))
def test_a_grid_rounds_its_own_weights_to_what_the_graph_computes(name, bits, seed):
    weight = drawn(seed)
    got = grid_of(name, torch.from_numpy(weight), bits).round(torch.from_numpy(weight)).numpy()
    expected = rounded(name, weight, bits)
    # A number half-way between two levels may go to either: 32 bits here, 64 there.
    differs = ~np.isclose(got, expected, rtol=1e-5, atol=1e-7)
    assert differs.mean() < 0.002


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", PLANES)
def test_it_rounds_moved_weights_to_the_same_levels(name, bits):
    weight = torch.from_numpy(drawn(1))
    grid = grid_of(name, weight, bits)
    once = grid.round(1.01 * weight + 0.001)
    torch.testing.assert_close(grid.round(once), once)
    assert not torch.equal(once, weight)
