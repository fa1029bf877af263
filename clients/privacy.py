"""What a phone does to its update before anybody sees it.

Formal guarantee of `clip`: every row leaves with an L2 norm of at most `clip_norm`, up to float32
rounding (a relative 1e-6), whatever was in it; a row that is not finite leaves as zeros. So one
device moves a sum by at most `clip_norm`. The whole update is measured, id residuals included, not
one tensor at a time.
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


def clip(updates: Tensor, clip_norm: float) -> tuple[Tensor, Tensor]:
    """Scale each device's update down to the norm allowed.

    Args:
        updates: (B, P), one row per device.
        clip_norm: largest L2 norm, > 0.

    Returns:
        the clipped updates (B, P), and the norms before clipping (B,). A zero update stays zero.

    >>> rows, norms = clip(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 1.0)
    >>> [round(float(x), 2) for x in rows[0]], norms.tolist()
    ([0.6, 0.8], [5.0, 0.0])
    """
    norms = torch.linalg.vector_norm(updates, dim=1)
    finite = torch.isfinite(norms).unsqueeze(1)
    return torch.where(finite, updates, 0.0) * clip_factors(norms, clip_norm).unsqueeze(1), norms
