import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulation.world.availability import Availability, HabitSettings, TimeZone

HERE = TimeZone(offset_h=0, share=1)
NIGHTLY = {
    "time_zones": (HERE,),
    "night_share": 1.0,
    "night_start_h": 23.0,
    "night_start_sd_h": 0.0,
    "night_jitter_h": 0.0,
    "night_hours": 7.0,
    "night_hours_sd": 0.0,
    "weekend_shift_h": 0.0,
    "day_share": 0.0,
    "day_hours": 5.0,
    "idle_at_night": 1.0,
    "idle_by_day": 1.0,
    "home_network": 1.0,
    "day_network": 0.0,
}
SOME = {
    **NIGHTLY,
    "night_share": 0.6,
    "night_start_sd_h": 1.5,
    "night_jitter_h": 0.7,
    "night_hours_sd": 1.2,
    "weekend_shift_h": 0.7,
    "day_share": 0.8,
    "idle_at_night": 0.95,
    "idle_by_day": 0.65,
    "home_network": 0.8,
    "day_network": 0.75,
}
IDS = np.arange(3_000)


def world(**changes) -> Availability:
    return Availability(HabitSettings(**{**NIGHTLY, **changes}), 0)


def share_by_hour(availability: Availability, days: int = 7) -> np.ndarray:
    """(days, 24) share of the phones that are available at each whole hour, UTC."""
    hours = range(24 * days)
    shares = [availability.available(IDS, 3600.0 * hour).mean() for hour in hours]
    return np.reshape(shares, (days, 24))


def test_without_any_spread_all_are_there_from_eleven_to_six():
    expected = [1.0] * 6 + [0.0] * 17 + [1.0]
    assert share_by_hour(world()).tolist() == [expected] * 7


def test_the_weekend_begins_later():
    shares = share_by_hour(world(weekend_shift_h=2.0))
    late = [0.0] * 1 + [1.0] * 7 + [0.0] * 16  # the night from 1 to 8
    assert shares[5].tolist() == late  # Saturday: after Friday's night, before its own
    assert shares[6].tolist() == [0.0] + [1.0] * 7 + [0.0] * 15 + [1.0]  # Sunday
    assert shares[4].tolist() == [1.0] * 6 + [0.0] * 18  # Friday


def test_time_zones_shift_the_night():
    there = world(time_zones=(TimeZone(offset_h=-6, share=1),))
    assert np.flatnonzero(share_by_hour(there)[1]).tolist() == list(range(5, 12))
    both = world(time_zones=(TimeZone(offset_h=0, share=0.3), TimeZone(offset_h=12, share=0.7)))
    shares = share_by_hour(both)[1]
    assert shares[2] == pytest.approx(0.3, abs=0.03)
    assert shares[14] == pytest.approx(0.7, abs=0.03)


def test_each_condition_is_needed():
    for name in ("night_share", "idle_at_night", "home_network"):
        shares = share_by_hour(world(**{name: 0.5}))
        assert shares[1, 2] == pytest.approx(0.5, abs=0.04), name


def test_a_home_without_network_has_none_on_any_day():
    availability = world(home_network=0.5)
    nights = [availability.available(IDS, 3600.0 * (24 * day + 2)) for day in range(3)]
    np.testing.assert_array_equal(nights[0], nights[1])
    np.testing.assert_array_equal(nights[0], nights[2])


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=12),
    st.floats(0, 60 * 86_400, allow_nan=False),
)
def test_a_pure_function_of_device_and_time(devices, time_s):
    availability = Availability(HabitSettings(**SOME), 3)
    ids = np.array(devices)
    together = availability.available(ids, time_s)
    at_its_time = availability.available(ids, np.full(len(ids), time_s))
    alone = [bool(availability.available(ids[k : k + 1], time_s)[0]) for k in range(len(ids))]
    assert together.tolist() == at_its_time.tolist() == alone


def test_shares_of_zones_add_up():
    with pytest.raises(ValidationError, match=r"add up to 0\.5, they must add up to 1"):
        HabitSettings(**{**NIGHTLY, "time_zones": (TimeZone(offset_h=0, share=0.5),)})
