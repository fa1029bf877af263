"""Mismatched samples and slices: false alarms by simulation."""

import numpy as np

from models.seeds import generator
from models.statistics.families import discoveries, sample_ratio_p


def test_a_fair_sample_is_called_mismatched_as_often_as_it_should():
    rng = generator(5, "srm")
    admitted = np.array([30_000, 10_000])
    p = [sample_ratio_p(rng.binomial(admitted, 0.6), admitted) for _ in range(4000)]
    # Exposed devices are binomial, not multinomial: chi-square errs on the safe side.
    assert (np.array(p) < 0.05).mean() <= 0.06


def test_missing_devices_on_one_side_are_seen():
    admitted = np.array([20_000, 20_000])
    assert sample_ratio_p(np.array([12_000, 11_200]), admitted) < 1e-6
    assert sample_ratio_p(np.array([0, 0]), admitted) == 1.0
    assert sample_ratio_p(np.array([5, 0]), np.array([9, 0])) == 1.0


def test_false_discoveries_among_slices_stay_below_the_rate():
    """20 slices, 10 of them different: share of false ones among those named, on average."""
    rng = generator(6, "slices")
    shares = []
    for _ in range(500):
        z = rng.normal(np.repeat([0.0, 3.5], 10), 1.0)
        p = 2 * (1 - np.vectorize(_phi)(np.abs(z)))
        named = np.array(discoveries(p.tolist(), 0.1))
        shares.append(named[:10].sum() / max(1, named.sum()))
    assert np.mean(shares) <= 0.1
    assert discoveries([], 0.1) == ()


def _phi(z: float) -> float:
    from math import erf, sqrt

    return 0.5 * (1 + erf(z / sqrt(2)))
