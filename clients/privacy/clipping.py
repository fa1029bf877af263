"""Clipping: no device moves a sum by more than it may.

Formal guarantee, of `clip_factors` in `clients.local_training.sum_of_clipped`: each device's update
enters a sum with an L2 norm of at most `clip_norm`, up to float32 rounding (a relative 1e-5),
whatever was in it; one that is not finite enters as zeros. So one device moves a sum by at most
`clip_norm`. The whole update is measured, id residuals included, not one tensor at a time.
"""

import torch
from torch import Tensor


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """What each device's update is multiplied with, so that its norm is the one allowed at most.

    Args:
        norms: (B,) L2 norms of whole updates.
        clip_norm: largest L2 norm, > 0.

    Returns:
        (B,) in [0, 1]; 1 for an update that is short enough, 0 for one that is not finite.

    >>> clip_factors(torch.tensor([5.0, 0.0, float("nan")]), 1.0).tolist()
    [0.20000000298023224, 1.0, 0.0]
    """
    # A number by a tensor is taken as the number times 1 / tensor: 27.5 / 27.5 is not quite 1.
    factors = torch.where(norms <= clip_norm, 1.0, clip_norm / norms)
    return torch.where(torch.isfinite(norms), factors, 0.0)
