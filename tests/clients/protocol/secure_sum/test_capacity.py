import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.protocol.secure_sum.capacity import Load, check_fit, greatest_cohort, most_levels
from clients.protocol.secure_sum.quantisation import Address, Quantiser
from clients.protocol.secure_sum.ring import RING_BITS, Ring
from models.errors import SettingsError

PLAIN = Load(dim=10, rotated=False, devices=7, noise_steps=0.0, rounds=5)


def test_the_boundary_is_exact():
    """7 devices of 4681 levels fill a ring of 16 bits to the last number; one more level wraps."""
    ring = Ring(16)
    assert ring.largest == 7 * 4681
    check_fit(ring, PLAIN, 4681)
    with pytest.raises(SettingsError, match=r"can reach 32,774, a ring of 16 bits holds 32,767"):
        check_fit(ring, PLAIN, 4682)
    assert most_levels(ring, PLAIN) == 4681
    worst = np.zeros((7, 10))
    worst[:, 0] = 1.0
    for levels, sums in ((4681, 32767), (4682, 32774 - 65536)):
        sent = Quantiser(10, levels, rotated=False).encode(worst, np.arange(7), 1.0, Address(1, 1))
        assert ring.centred(ring.wrap(sent.sum(axis=0)))[0] == sums


def test_a_refusal_names_what_would_fit():
    with pytest.raises(SettingsError) as refused:
        check_fit(Ring(16), replace(PLAIN, devices=1000), 100)
    words = str(refused.value)
    assert "federation.secure_sum.bits = 24" in words
    fits = int(re.search(r"at most (\d+) devices", words).group(1))
    assert fits == 327
    check_fit(Ring(16), replace(PLAIN, devices=fits), 100)
    with pytest.raises(SettingsError):
        check_fit(Ring(16), replace(PLAIN, devices=fits + 1), 100)


def test_more_devices_than_a_ring_has_numbers_are_refused():
    with pytest.raises(SettingsError, match=r"with 1 levels .*bits = 24"):
        most_levels(Ring(16), replace(PLAIN, devices=40_000))


@given(
    bits=st.sampled_from(RING_BITS),
    dim=st.sampled_from([1, 100, 74_000]),
    devices=st.integers(1, 20_000),
    noise=st.sampled_from([0.0, 0.3, 2.0]),
    rotated=st.booleans(),
)
def test_as_many_levels_as_fit_and_no_more(bits, dim, devices, noise, rotated):
    ring, load = Ring(bits), Load(dim, rotated, devices, noise, 100)
    if not load.fits(ring, 1):
        assert greatest_cohort(ring, load, 1) < devices
        return
    levels = most_levels(ring, load)
    assert load.largest_sum(levels) <= ring.largest
    assert levels == 1 << 20 or load.largest_sum(levels + 1) > ring.largest


def test_noise_needs_room_too():
    ring = Ring(24)
    silent = most_levels(ring, replace(PLAIN, dim=74_000))
    assert most_levels(ring, replace(PLAIN, dim=74_000, noise_steps=2.0)) < silent / 2
