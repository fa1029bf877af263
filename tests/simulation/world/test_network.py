import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.world.network import LinkSettings, Network, NetworkSettings, highest_bits_per_s

SLOW = LinkSettings(down_mbit_per_s=4, up_mbit_per_s=1, round_trip_ms=80, loss=0.0)
FAST = LinkSettings(down_mbit_per_s=40, up_mbit_per_s=10, round_trip_ms=20, loss=0.0)
STILL = NetworkSettings(spread=0, jitter=0, opening_round_trips=2)
IDS, TIER = np.arange(2), np.array([0, 1])


def test_bytes_travel_at_the_rate_of_the_tier():
    network = Network(STILL, (SLOW, FAST), 0)
    # 1 MB is 8 Mbit, after two round trips to open the connection.
    np.testing.assert_allclose(network.download_s(IDS, TIER, 1e6, 3), [2.16, 0.24])
    np.testing.assert_allclose(network.upload_s(IDS, TIER, 1e6, 3), [8.16, 0.84])


def test_losses_bound_the_rate():
    lossy = SLOW.model_copy(update={"loss": 0.05})
    bound = highest_bits_per_s(np.array([0.08]), np.array([0.05]))[0]
    assert bound < 1e6
    seconds = Network(STILL, (lossy,), 0).download_s(IDS[:1], TIER[:1], 1e6, 0)
    assert seconds[0] == pytest.approx(0.16 + 8e6 / bound)


def test_half_of_the_phones_are_slower_than_the_median():
    network = Network(NetworkSettings(spread=0.8, jitter=0.3, opening_round_trips=0), (SLOW,), 0)
    ids = np.arange(20_000)
    seconds = network.download_s(ids, np.zeros_like(ids), 1e6, 1)
    assert np.mean(seconds > 2.0) == pytest.approx(0.5, abs=0.02)
    again = network.download_s(ids, np.zeros_like(ids), 1e6, 2)
    likeness = np.corrcoef(np.log(seconds), np.log(again))[0, 1]
    assert likeness == pytest.approx(0.8**2 / (0.8**2 + 0.3**2), abs=0.03)  # the phone stays


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12), st.integers(0, 99))
def test_a_phone_is_the_same_in_any_company(devices, occasion):
    network = Network(NetworkSettings(spread=1, jitter=1, opening_round_trips=2), (SLOW, FAST), 5)
    ids = np.array(devices)
    together = network.upload_s(ids, ids % 2, 1e5, occasion)
    alone = [
        network.upload_s(ids[k : k + 1], ids[k : k + 1] % 2, 1e5, occasion) for k in range(len(ids))
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))
