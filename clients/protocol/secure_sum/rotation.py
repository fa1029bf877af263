"""A random rotation that spreads an update evenly over its numbers [1].

    y = H D x / sqrt(n)     D: random signs, the same for all devices of a round; H: Walsh-Hadamard

The rotation keeps every L2 norm, and turns any x into one whose numbers are all about ||x|| /
sqrt(n). So each can be cut off at a few times that, and the sum of a cohort fits into fewer bits.
It works on a power of two of numbers: an update is filled up with zeros, and sent with them.

[1] A. T. Suresh et al., "Distributed Mean Estimation with Limited Communication", ICML 2017.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from models.seeds import generator

FloatArray = NDArray[np.float64]

IN_ONE_PRODUCT = 64
"""Neighbouring numbers that are added by a matrix product: short strides are slow."""


def padded_width(dim: int) -> int:
    """The least power of two that holds this many numbers.

    >>> [padded_width(dim) for dim in (1, 5, 8)]
    [1, 8, 8]
    """
    return 1 << (dim - 1).bit_length()


def rotate(rows: FloatArray, seed: int, round_number: int) -> FloatArray:
    """Rotate rows (B, dim) to (B, padded_width(dim)).

    Args:
        rows: one update each.
        seed: the run's seed; the signs are public.
        round_number: the rest of the address of the signs.
    """
    width = padded_width(rows.shape[1])
    filled = np.zeros((len(rows), width))
    filled[:, : rows.shape[1]] = rows
    turned = walsh_hadamard(filled * _signs(width, seed, round_number))
    return np.asarray(turned / np.sqrt(width))


def rotate_back(rows: FloatArray, dim: int, seed: int, round_number: int) -> FloatArray:
    """Undo `rotate`: (B, padded_width(dim)) to (B, dim)."""
    width = rows.shape[1]
    turned = walsh_hadamard(rows) / np.sqrt(width)
    return np.asarray((turned * _signs(width, seed, round_number))[:, :dim])


def walsh_hadamard(rows: FloatArray) -> FloatArray:
    """The Walsh-Hadamard transform of each row (B, n), n a power of two, without the 1 / sqrt(n).

    >>> walsh_hadamard(np.array([[1.0, 0.0, 0.0, 2.0]])).tolist()
    [[3.0, -1.0, -1.0, 3.0]]
    """
    count, width = rows.shape
    half = min(width, IN_ONE_PRODUCT)
    turned = np.array(rows.reshape(-1, half) @ hadamard(half))
    while half < width:
        pairs = turned.reshape(count, width // (2 * half), 2, half)
        sums = pairs[:, :, 0] + pairs[:, :, 1]
        np.subtract(pairs[:, :, 0], pairs[:, :, 1], out=pairs[:, :, 1])
        pairs[:, :, 0] = sums
        half *= 2
    return turned.reshape(count, width)


def _signs(width: int, seed: int, round_number: int) -> FloatArray:
    heads = generator(seed, "rotation", round_number).integers(0, 2, size=width)
    return np.asarray(1.0 - 2.0 * heads)
