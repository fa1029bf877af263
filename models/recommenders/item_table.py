"""The item vectors that three of the methods share, and nothing beside them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.parameters import Layout
from models.recommenders.method import ITEMS, Shared
from models.seeds import generator


def item_layout(dim: int, num_items: int) -> Layout:
    """Item vectors, (N, dim)."""
    return Layout((ITEMS,), ((num_items, dim),))


def normal_items(scale: float, dim: int, num_items: int, seed: int) -> Shared:
    """Item vectors from N(0, scale^2)."""
    rng = generator(seed, "start of items")
    values = scale * rng.standard_normal((num_items, dim), np.float32)
    return {ITEMS: torch.from_numpy(values.astype(np.float32))}


def nothing_personal(seed: int, device_ids: NDArray[np.integer]) -> Tensor:
    """No parameter stays on a phone: what is its own follows from its history; (B, 0)."""
    return torch.empty(len(device_ids), 0)
