"""The only source of randomness: every draw has an address.

A generator is derived from (seed, purpose, address...), for instance
`generator(7, "private-text", round_number, device_id)`. Nobody shares a generator with anybody, so
shuffling devices, changing the number of nodes or the engine changes no draw.

`purpose` is hashed with SHA-256 (Python's own `hash` is salted per process), and the numbers are
mixed by NumPy's `SeedSequence` [1]. Where millions of devices need a number or two each, a
generator for each would be too dear: `uniforms` mixes whole arrays of addresses at once [2].

[1] M. E. O'Neill, "Developing a seed_seq alternative", 2015; numpy.random.SeedSequence.
[2] G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_BITS_OF_A_DOUBLE = 53


def _entropy(seed: int, purpose: str, address: tuple[int, ...]) -> list[int]:
    if seed < 0 or any(number < 0 for number in address):
        raise ValueError(f"seed and address must be >= 0, got seed={seed}, address={address}")
    digest = hashlib.sha256(purpose.encode()).digest()
    return [seed, int.from_bytes(digest[:8], "little"), *address]


def generator(seed: int, purpose: str, *address: int) -> np.random.Generator:
    """Return the NumPy generator that lives at this address.

    Args:
        seed: the run's seed, >= 0.
        purpose: what the draws are for, e.g. "cohort".
        address: further coordinates, each >= 0, e.g. round number and device id.

    Raises:
        ValueError: if the seed or a coordinate is negative.

    >>> first, again = generator(7, "cohort", 3), generator(7, "cohort", 3)
    >>> bool(first.integers(1000) == again.integers(1000))
    True
    """
    sequence = np.random.SeedSequence(_entropy(seed, purpose, address))
    return np.random.Generator(np.random.PCG64(sequence))


def integer_seed(seed: int, purpose: str, *address: int) -> int:
    """Return a 63-bit seed for a library that wants one number (torch, scikit-learn).

    Args:
        seed: the run's seed, >= 0.
        purpose: what the draws are for.
        address: further coordinates, each >= 0.
    """
    words = np.random.SeedSequence(_entropy(seed, purpose, address)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def uniforms(seed: int, purpose: str, *address: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each address, the same alone as in any company.

    Args:
        seed: the run's seed, >= 0.
        purpose: what the draws are for.
        address: coordinates >= 0, numbers or integer arrays that broadcast together.

    Returns:
        float64 of the broadcast shape; a number of 53 random bits at each place.

    Raises:
        ValueError: if the seed or a coordinate is negative.

    >>> both = uniforms(7, "plugged in", np.array([4, 9]), 2)
    >>> bool(both[1] == uniforms(7, "plugged in", 9, 2))
    True
    """
    coordinates = [np.asarray(each) for each in address]
    if any((each < 0).any() for each in coordinates):
        raise ValueError(f"an address must be >= 0, got one below it for {purpose!r}")
    sequence = np.random.SeedSequence(_entropy(seed, purpose, ()))
    state = np.asarray(sequence.generate_state(1, np.uint64)[0])
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is what is meant
        for each in coordinates:
            state = _mixed(state + _GOLDEN * (each.astype(np.uint64) + np.uint64(1)))
    bits = state >> np.uint64(64 - _BITS_OF_A_DOUBLE)
    return np.asarray(bits.astype(np.float64) * 2.0**-_BITS_OF_A_DOUBLE)


def first_of_each(drawn: NDArray[np.integer], num_places: int) -> NDArray[np.bool_]:
    """Which draws of each row hold a number that the row has not drawn before.

    Args:
        drawn: (B, n) numbers in 0 .. num_places - 1.
        num_places: how many different ones there are.

    >>> first_of_each(np.array([[4, 1, 4], [2, 2, 0]]), 5).tolist()
    [[True, True, False], [True, False, True]]
    """
    rows, width = drawn.shape
    key = (drawn + num_places * np.arange(rows)[:, None]).reshape(-1)
    places = np.arange(key.size, dtype=np.int32)
    first = np.empty(rows * num_places, dtype=np.int32)
    first[key[::-1]] = places[::-1]  # written from the end: the earliest place is what stays
    return np.asarray((first[key] == places).reshape(rows, width))


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer, on an array."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed
