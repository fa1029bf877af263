"""Many looks at once: mismatched samples, and slices read afterwards."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc
from scipy.stats import false_discovery_control


def sample_ratio_p(
    exposed: NDArray[np.integer] | NDArray[np.floating],
    admitted: NDArray[np.integer] | NDArray[np.floating],
) -> float:
    """Return the p-value of a sample-ratio mismatch: chi-square of the arms' exposed devices.

    A device that could not load, or did not report, is missing on one side only; what is left is
    no longer a random half, and no metric of it can be trusted [1].

    Args:
        exposed: (arms,) devices that have used what they were given.
        admitted: (arms,) devices that could have: their shares are what is expected.

    Returns:
        1 where nothing can be told: an arm without admitted devices, or nobody exposed.

    [1] A. Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments",
        KDD 2019.

    >>> round(sample_ratio_p(np.array([5000, 4700]), np.array([10_000, 10_000])), 4)
    0.0023
    """
    total = float(exposed.sum())
    if total <= 0 or (np.asarray(admitted) <= 0).any():
        return 1.0
    expected = total * np.asarray(admitted, dtype=np.float64) / float(admitted.sum())
    statistic = float(((exposed - expected) ** 2 / expected).sum())
    return float(chdtrc(len(expected) - 1, statistic))


def discoveries(p_values: Sequence[float], rate: float) -> tuple[bool, ...]:
    """Say which slices differ, with at most this share of false ones among them on average.

    Benjamini and Yekutieli (2001), valid however slices overlap. For reading only: no decision
    rests on it, and it is for one look that was fixed beforehand.

    Args:
        p_values: of the slices, two-sided.
        rate: expected share of false discoveries.

    >>> discoveries([0.0001, 0.02, 0.9], 0.05)
    (True, False, False)
    """
    if not p_values:
        return ()
    adjusted = false_discovery_control(np.asarray(p_values), method="by")
    return tuple(bool(p <= rate) for p in adjusted)
