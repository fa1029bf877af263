"""What a ramp could find, before it starts."""

import math

import pytest

from server.rollout.forecast import forecast
from tests.server.rollout.made_up import plan


def ahead(devices: int, adopted: float = 0.3):
    return forecast(
        plan(), eligible_devices=devices, mean=0.1, deviation=0.3, adopted_per_day=adopted
    )


def test_the_ramp_of_a_large_fleet():
    found = ahead(8_400_000)
    assert found.needed == pytest.approx(372_070, rel=1e-3)
    rows = {row.name: row for row in found.stages}
    assert rows["internal"].smallest == math.inf
    assert rows["1 %"].smallest > rows["5 %"].smallest > rows["50 %"].smallest
    assert rows["1 %"].devices == int(8_400_000 * 0.95 * 0.01 * (1 - 0.7**2))
    assert found.ship_days == 1 and found.days == rows["100 %"].days == 15


def test_a_small_fleet_never_shows_two_percent():
    found = ahead(20_000)
    assert found.ship_days is None and found.days is None


def test_slow_adoption_takes_longer():
    quick, slow = ahead(1_000_000), ahead(1_000_000, 0.05)
    assert slow.days > quick.days and slow.needed == quick.needed
