import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.world import costs
from simulation.world.costs import Cost
from simulation.world.network import Network, NetworkSettings
from tests.tiny_world import TIERS

LOW, HIGH = TIERS.tiers  # a tenth of the measuring machine's speed and all of it; 2 W, 12 Wh


def test_computing_takes_the_measured_time_over_the_speed():
    assert costs.encode_cost(TIERS, LOW) == Cost(pytest.approx(0.01), pytest.approx(0.02))
    assert costs.encode_cost(TIERS, HIGH) == Cost(pytest.approx(0.001), pytest.approx(0.002))
    assert costs.rank_cost(TIERS, LOW).seconds == pytest.approx(0.001)
    assert costs.train_cost(TIERS, LOW, steps=3).seconds == pytest.approx(3 * 0.01 / 0.1)


def test_bytes_take_their_time_and_the_radio_its_joules():
    # 1 MB is 8 Mbit: at 5 Mbit/s down and 1 Mbit/s up; a joule a megabyte.
    assert costs.download_cost(TIERS, LOW, 1e6) == Cost(pytest.approx(1.6), pytest.approx(1.0))
    assert costs.upload_cost(TIERS, LOW, 5e5) == Cost(pytest.approx(4.0), pytest.approx(0.5))


def test_a_request_and_a_round_are_the_sums_of_their_parts():
    assert costs.request_cost(TIERS, LOW).seconds == pytest.approx(0.011)
    whole = costs.round_cost(TIERS, LOW, bytes_down=1e6, bytes_up=5e5, steps=2)
    assert whole.seconds == pytest.approx(1.6 + 0.2 + 4.0)
    assert whole.joules == pytest.approx(1.0 + 0.4 + 0.5)


def test_a_share_of_the_battery():
    assert Cost(1.0, 43.2).battery_share(LOW) == pytest.approx(0.001)  # 12 Wh are 43,200 J


@given(st.floats(0.0, 1e9))
def test_a_tier_that_cannot_hold_the_package_cannot_serve_it(serving_bytes):
    assert costs.can_hold(LOW, serving_bytes) == (serving_bytes <= LOW.memory_mb * 1e6)


def test_a_tier_may_have_exactly_the_memory():
    assert costs.can_hold(LOW, LOW.memory_mb * 1e6)


def test_the_median_phone_is_the_median_of_its_tier():
    """Spread and losses, which bound the fast half of the phones, move no median."""
    spread = NetworkSettings(spread=0.8, jitter=0.3, opening_round_trips=2)
    lossy = HIGH.link.model_copy(update={"loss": 0.001})
    tier = HIGH.model_copy(update={"link": lossy})
    world = TIERS.model_copy(update={"network": spread, "tiers": (tier,)})
    ids = np.arange(20_000)
    drawn = Network(spread, (lossy,), 1).download_s(ids, np.zeros_like(ids), 1e6, occasion=0)
    median = costs.download_cost(world, tier, 1e6).seconds
    assert median == pytest.approx(float(np.median(drawn)), rel=0.03)


@given(st.floats(0.01, 10), st.integers(1, 20))
def test_twice_as_fast_is_half_the_time_and_half_the_energy(speed, steps):
    slow = costs.train_cost(TIERS, LOW.model_copy(update={"speed": speed}), steps)
    fast = costs.train_cost(TIERS, LOW.model_copy(update={"speed": 2 * speed}), steps)
    assert slow.seconds == pytest.approx(2 * fast.seconds)
    assert slow.joules == pytest.approx(2 * fast.joules)
