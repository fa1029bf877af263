"""The only source of randomness: every draw has an address.

A generator is derived from (seed, purpose, address...), for instance
`generator(7, "private-text", round_number, device_id)`. Nobody shares a generator with anybody, so
shuffling devices, changing the number of nodes or the engine changes no draw.

`purpose` is hashed with SHA-256 (Python's own `hash` is salted per process), and the numbers are
mixed by NumPy's `SeedSequence` [1].

[1] M. E. O'Neill, "Developing a seed_seq alternative", 2015; numpy.random.SeedSequence.
"""

import hashlib

import numpy as np


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
