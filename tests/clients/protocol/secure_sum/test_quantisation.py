import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import hadamard

from clients.protocol.secure_sum.quantisation import Address, Quantiser
from clients.protocol.secure_sum.rotation import padded_width, rotate, rotate_back, walsh_hadamard

AT = Address(seed=7, round_number=3)
CLIP = 0.5

any_number = st.one_of(
    st.floats(-10, 10, width=32),
    st.sampled_from([0.0, CLIP, -CLIP, 1e30, -1e-30, np.inf, -np.inf, np.nan]),
)


@given(
    rows=st.integers(1, 12).flatmap(lambda dim: arrays(np.float32, (3, dim), elements=any_number)),
    levels=st.sampled_from([1, 2, 7, 1000, 1 << 20]),
    rotated=st.booleans(),
)
def test_what_a_device_sends_is_bounded_whatever_was_in_it(rows, levels: int, rotated: bool):
    quantiser = Quantiser(rows.shape[1], levels, rotated)
    sent = quantiser.encode(rows, np.array([4, 5, 6]), CLIP, AT)
    assert sent.shape == (3, quantiser.width)
    squared = (sent * sent).sum(axis=1)
    assert squared.max() <= quantiser.norm_bound_squared
    assert squared.max() <= (levels + np.sqrt(quantiser.width)) ** 2
    assert np.abs(sent).sum(axis=1).max() <= quantiser.l1_bound
    assert np.abs(sent).max() <= quantiser.largest_number <= levels
    broken = ~np.isfinite(rows).all(axis=1)
    assert not rotated or not sent[broken].any()


def test_the_norm_bound_is_nearly_tight():
    """Many numbers between two steps: rounding lengthens such a vector most."""
    levels, dim = 20, 4096
    quantiser = Quantiser(dim, levels, rotated=False)
    worst = np.full((50, dim), CLIP / np.sqrt(dim))  # 20 / 64 of a step each
    sent = quantiser.encode(worst, np.arange(50), CLIP, AT)
    squared = (sent * sent).sum(axis=1)
    assert 0.6 * quantiser.norm_bound_squared < squared.max() <= quantiser.norm_bound_squared
    assert squared.max() > levels**2  # without the bound C alone would be claimed, and be wrong


def test_a_draw_that_is_too_long_is_drawn_again():
    class Tight(Quantiser):
        norm_bound_squared = 9  # far below what rounding makes of these numbers

    row = np.full((1, 64), CLIP / 8)
    sent = Tight(64, 8, rotated=False)._rounded(
        Quantiser(64, 4, rotated=False).clipped(row, CLIP)[0], np.random.default_rng(1)
    )
    assert int(sent @ sent) <= 9


@pytest.mark.parametrize("rotated", [False, True])
def test_rounding_is_unbiased(rotated: bool):
    rng = np.random.default_rng(2)
    row = rng.normal(0, 0.1, (1, 6))
    quantiser = Quantiser(6, 3, rotated)
    draws = 4_000
    total = quantiser.encode(row.repeat(draws, axis=0), np.arange(draws), CLIP, AT).sum(axis=0)
    mean = quantiser.decode(total, CLIP, AT) / draws
    expected = row[0] * min(1.0, CLIP / np.linalg.norm(row))
    error = 5 * (CLIP / 3) * np.sqrt(quantiser.width) / 2 / np.sqrt(draws)
    assert np.abs(mean - expected).max() < error


@settings(max_examples=30)
@given(
    arrays(np.float64, (9, 5), elements=st.floats(-1, 1)), st.sampled_from([1, 10, 1000, 1 << 20])
)
def test_a_sum_is_within_a_step_for_each_device(rows, levels: int):
    quantiser = Quantiser(5, levels, rotated=False)
    sent = quantiser.encode(rows, np.arange(9), CLIP, AT)
    exact = (quantiser.clipped(rows, CLIP) * CLIP / levels).sum(axis=0)
    found = quantiser.decode(sent.sum(axis=0), CLIP, AT)
    assert np.abs(found - exact).max() <= 9 * CLIP / levels * (1 + 1e-9)


def test_a_device_rounds_the_same_alone_and_in_company():
    rows = np.random.default_rng(3).normal(size=(4, 10))
    for rotated in (False, True):
        quantiser = Quantiser(10, 50, rotated)
        together = quantiser.encode(rows, np.arange(4), CLIP, AT)
        alone = quantiser.encode(rows[2:3], np.array([2]), CLIP, AT)
        np.testing.assert_array_equal(together[2], alone[0])
        later = quantiser.encode(rows, np.arange(4), CLIP, Address(7, 4))
        assert (later != together).any()


@given(st.integers(1, 40))
def test_a_rotation_keeps_norms_and_can_be_undone(dim: int):
    rows = np.random.default_rng(dim).normal(size=(3, dim))
    turned = rotate(rows, 7, 2)
    assert turned.shape == (3, padded_width(dim))
    norms = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), norms, rtol=1e-12)
    np.testing.assert_allclose(rotate_back(turned, dim, 7, 2), rows, atol=1e-12)


def test_the_transform_is_the_product_with_the_matrix():
    rows = np.random.default_rng(4).normal(size=(2, 256))
    np.testing.assert_allclose(walsh_hadamard(rows), rows @ hadamard(256), atol=1e-10)


def test_a_rotation_makes_the_largest_number_of_a_device_small():
    dim, levels = 4096, 10_000
    plain, turned = Quantiser(dim, levels, rotated=False), Quantiser(dim, levels, rotated=True)
    assert plain.largest_number == levels
    assert turned.largest_number < levels / 10
    spike = np.zeros((1, dim))
    spike[0, 17] = CLIP
    sent = turned.encode(spike, np.array([0]), CLIP, AT)
    back = turned.decode(sent[0], CLIP, AT)
    assert abs(back[17] - CLIP) < 0.01 * CLIP
