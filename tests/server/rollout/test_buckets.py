"""Buckets: uniform, sticky, independent across salts; stages only grow."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from server.rollout.buckets import bucket, buckets
from server.rollout.eligibility import Attributes
from server.rollout.membership import CONTROL, NEITHER, TREATED, Membership, window
from tests.server.rollout.made_up import TIERS, plan

SALTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
EVERYBODY = np.arange(20_000)


def attributes(num: int, **changes: object) -> Attributes:
    columns = {
        "tier_names": TIERS,
        "tier": np.arange(num) % 3,
        "system_names": ("android", "ios"),
        "system": np.arange(num) % 2,
        "region_names": ("eu", "us"),
        "region": np.zeros(num, dtype=int),
        "app_version": np.full(num, 2_014_000),
        "free_memory_mb": np.full(num, 500.0),
        "internal": np.zeros(num, dtype=bool),
    }
    return Attributes(**(columns | changes))


@given(SALTS)
@settings(max_examples=25, deadline=None)
def test_buckets_are_uniform(salt: str):
    counts, _ = np.histogram(buckets(salt, EVERYBODY), bins=50, range=(0, 1))
    assert chisquare(counts).pvalue > 1e-6  # 25 salts: a fair hash fails once in 40,000 runs


@given(SALTS, st.lists(st.integers(0, 10**12), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_bucket_is_the_same_alone_and_in_any_company(salt: str, device_ids: list[int]):
    found = buckets(salt, np.array(device_ids))
    assert found.tolist() == [bucket(salt, device) for device in device_ids]
    assert ((found >= 0) & (found < 1)).all()


@given(SALTS, SALTS)
@settings(max_examples=25, deadline=None)
def test_buckets_of_two_salts_are_independent(one: str, two: str):
    if one == two:
        return
    places = [np.floor(10 * buckets(salt, EVERYBODY)).astype(int) for salt in (one, two)]
    table = np.bincount(10 * places[0] + places[1], minlength=100)
    assert chisquare(table).pvalue > 1e-6


def test_neighbours_in_one_digest_are_independent_too():
    places = np.floor(10 * buckets("salt", np.arange(80_000))).astype(int)
    table = np.bincount(10 * places[0::2] + places[1::2], minlength=100)
    assert chisquare(table).pvalue > 1e-4


def test_buckets_are_pinned():
    """Phones find their own: another version of the program must find the same ones."""
    assert bucket("release-7", 0) == pytest.approx(PINNED[0], abs=1e-15)
    assert bucket("release-7", 8_399_999) == pytest.approx(PINNED[1], abs=1e-15)
    with pytest.raises(ValueError, match="must be >= 0"):
        buckets("x", np.array([-1]))
    assert len(buckets("x", np.array([], dtype=int))) == 0


PINNED = (0.28686714230203725, 0.34620680551764216)


@given(SALTS, st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_stage_keeps_the_members_of_all_before_it(salt: str, shares: list[float]):
    stages = [
        {"name": f"s{n}", "share": share, "min_days": 0, "min_devices": 0}
        for n, share in enumerate(sorted(shares))
    ]
    if stages[0]["share"] > 0.5:
        stages[0]["share"] = 0.5
    if salt in ("holdout-2026", "recommender-layer") or stages[1]["share"] <= stages[0]["share"]:
        return
    chosen = plan(stages=stages, salt=salt)
    members = Membership.of(chosen, np.arange(3000), attributes(3000))
    admitted = [members.admitted(stage) for stage in range(len(stages))]
    arms = [members.arm(stage) for stage in range(len(stages))]
    for stage, (one, two) in enumerate(itertools.pairwise(admitted)):
        assert not (one & ~two).any()
        if window(chosen, stage) == window(chosen, stage + 1):  # nobody changes arms in a window
            inside = arms[stage] != NEITHER
            assert (arms[stage][inside] == arms[stage + 1][inside]).all()
    for mask, arm in zip(admitted, arms, strict=True):
        assert mask[arm == TREATED].all() and not mask[arm == CONTROL].any()
        assert not (mask & members.is_held_out).any()


def test_arms_have_the_shares_that_the_plan_says():
    chosen = plan()
    num = 200_000
    members = Membership.of(chosen, np.arange(num), attributes(num))
    outside = num * 0.95
    for stage, share in enumerate((0.0, 0.01, 0.05, 0.25, 0.5)):
        arm = members.arm(stage)
        for side in (CONTROL, TREATED):
            assert abs((arm == side).sum() - share * outside) < 5 * np.sqrt(share * outside + 1)
        assert (members.admitted(stage) == (arm == TREATED)).all()
    last = members.arm(5)
    assert (members.admitted(5) == ~members.is_held_out).all()
    assert abs((last == TREATED).sum() - 0.5 * outside) < 5 * np.sqrt(0.5 * outside)
    assert abs((last == CONTROL).sum() - 0.5 * 0.05 * num) < 5 * np.sqrt(0.025 * num)
    assert members.is_held_out[last == CONTROL].all()


def test_internal_devices_are_first_and_in_no_arm():
    internal = np.zeros(1000, dtype=bool)
    internal[:30] = True
    members = Membership.of(plan(), np.arange(1000), attributes(1000, internal=internal))
    assert (members.admitted(0) == (internal & ~members.is_held_out)).all()
    assert all((members.arm(stage)[:30] == NEITHER).all() for stage in range(6))


def test_lanes_of_one_layer_have_no_device_in_common():
    lanes = [{"layer": "recommender-layer", "first": a, "end": b} for a, b in ((0, 0.4), (0.4, 1))]
    open_to = [
        Membership.of(plan(lane=lane), np.arange(5000), attributes(5000)).is_open for lane in lanes
    ]
    assert not (open_to[0] & open_to[1]).any() and (open_to[0] | open_to[1]).all()
    assert abs(open_to[0].mean() - 0.4) < 0.05
