"""What stands between an update and its attacker: clipping, noise, company, masks.

Runs of an attacker's own take the product's noise; where a single vector or round is attacked at
several levels, noise comes from here, `gaussian`. A masked input is an element of a finite ring
plus a mask that is uniform in it, so it is uniform whatever the update was; that is all an attacker
sees of one phone under secure aggregation, and `masked` draws it.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from clients.privacy.clipping import clip_factors
from models.seeds import generator

RING_BITS = 32


def gaussian(size: int, std: float, seed: int, purpose: str, *address: int) -> NDArray[np.float64]:
    """Noise of an attack, (size,), at an address of its own.

    Args:
        size: how many numbers.
        std: standard deviation of each; 0 gives zeros.
        seed: the run's seed.
        purpose: what the noise is for.
        address: round and device, or the like.
    """
    if std == 0.0:
        return np.zeros(size)
    return std * generator(seed, purpose, *address).standard_normal(size)


def clipped(rows: NDArray[np.floating], clip_norm: float) -> NDArray[np.float64]:
    """Updates (B, P), each as short as the product lets it be."""
    whole = rows.astype(np.float64)
    norms = torch.from_numpy(np.linalg.norm(whole, axis=1))
    return np.asarray(whole * clip_factors(norms, clip_norm).numpy()[:, None])


def masked(size: int, seed: int, *address: int) -> NDArray[np.float64]:
    """What a phone sends under secure aggregation, read as signed numbers: (size,), uniform."""
    rng = generator(seed, "a masked input", *address)
    half = 2 ** (RING_BITS - 1)
    return rng.integers(-half, half, size=size).astype(np.float64)
