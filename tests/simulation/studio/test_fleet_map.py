"""The map: every dot is one phone, and says what its counts say."""

from collections import Counter

import numpy as np

from simulation.studio.fleet_map import MARKS, DotMap, tier_counts
from tests.simulation.studio.small_studio import DEVICES, session


def test_with_a_dot_for_every_phone_the_dots_are_the_counts():
    one = session("crash-low-memory")
    one.follow(one.order("start", "go"))
    for _ in range(3):
        one.follow(one.order("advance", "on"))
    for _ in range(3):
        day = one.step()
    whole = DotMap(one.rollout, DEVICES)
    for tier, letters in zip(tier_counts(one.rollout), whole.marks(), strict=True):
        found = Counter(letters)
        assert set(found) <= set(MARKS) and len(letters) == tier.devices
        assert found["g"] + found["u"] + found["f"] == tier.holding
        assert found["c"] + found["C"] + found["F"] == tier.control
        assert found["u"] + found["f"] + found["b"] == tier.used
        assert found["f"] == tier.failed
    assert sum(tier.holding for tier in day.tiers) == day.row.holding > 0
    assert sum(tier.failed for tier in day.tiers) > 0


def test_the_release_comes_from_the_left_and_its_mirror_from_the_right():
    one = session()
    one.follow(one.order("start", "go"))
    for _ in range(3):
        one.follow(one.order("advance", "to 25 %"))
    one.step()
    for letters in DotMap(one.rollout, DEVICES).marks():
        place = np.arange(len(letters)) / len(letters)
        control = place[[each in "cCF" for each in letters]]
        waiting = place[[each == "a" for each in letters]]
        assert control.min() > 0.65 and np.quantile(waiting, 0.95) < 0.35
