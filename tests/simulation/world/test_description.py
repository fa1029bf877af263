import numpy as np
import pytest

from clients.shard import WorldManifest
from simulation.world import description
from simulation.world.availability import Availability, TimeZone
from simulation.world.costs import download_cost
from simulation.world.description import event_counts, quantile_of, transfer_seconds, week_of
from simulation.world.network import NetworkSettings
from tests.tiny_world import ALWAYS, NUM_DEVICES, SEED, TIERS, TinyWorld, build_tiny_synthetic_world

TWO_ZONES = (TimeZone(offset_h=0, share=0.25), TimeZone(offset_h=12, share=0.75))


def test_a_week_has_the_nights_of_both_time_zones():
    """Here every phone is plugged in from its own midnight to its noon, and always idle."""
    habits = ALWAYS.model_copy(update={"time_zones": TWO_ZONES})
    week = week_of(Availability(habits, SEED), 2_000)
    assert week.num_asked == 2_000
    morning = np.tile(np.repeat([1.0, 0.0], 12), 7)
    np.testing.assert_array_equal(week.by_zone[0], morning)
    np.testing.assert_array_equal(week.by_zone[1], 1.0 - morning)
    np.testing.assert_allclose(week.available[:12], 0.25, atol=0.05)
    np.testing.assert_allclose(week.available[12:24], 0.75, atol=0.05)
    np.testing.assert_array_equal(week.charging, week.available)
    np.testing.assert_array_equal(week.idle, np.ones(168))
    assert week.hours_of_a_day().shape == (24,)


def test_a_week_is_asked_of_some_devices_and_a_zone_may_be_empty(monkeypatch):
    monkeypatch.setattr(description, "ASKED_DEVICES", 50)
    zones = (TimeZone(offset_h=0, share=1 - 1e-9), TimeZone(offset_h=5, share=1e-9))
    habits = ALWAYS.model_copy(update={"time_zones": zones})
    week = week_of(Availability(habits, SEED), 10**8)
    assert week.num_asked == 50
    assert week.by_zone[1].tolist() == [0.0] * 168


@pytest.mark.parametrize("kind", ["stored", "synthetic"])
@pytest.mark.parametrize("at_a_time", [7, 1 << 20])
def test_events_are_counted_on_every_device(tmp_path, monkeypatch, tiny, kind, at_a_time):
    monkeypatch.setattr(description, "DEVICES_AT_A_TIME", at_a_time)
    world: TinyWorld = tiny
    if kind == "synthetic":
        (tmp_path / "other").mkdir()
        world = build_tiny_synthetic_world(tmp_path / "other")
    shard = world.shard()
    counts = event_counts(world.world, WorldManifest.read(world.world))
    assert counts.sum() == NUM_DEVICES
    lengths = shard.events.lengths(np.arange(NUM_DEVICES))
    for tier in range(2):
        mine = lengths[shard.tier == tier]
        np.testing.assert_array_equal(np.bincount(mine, minlength=counts.shape[1]), counts[tier])


def test_a_quantile_of_counts_is_that_of_the_counted():
    counts = np.array([3, 0, 5, 1, 0, 1])
    whole = np.repeat(np.arange(6), counts)
    for share in (0.05, 0.3, 0.31, 0.5, 0.8, 0.81, 1.0):
        wanted = np.quantile(whole, share, method="inverted_cdf")
        assert quantile_of(counts, share) == wanted, share
    assert quantile_of(np.zeros(4, np.int64), 0.5) == 0


def test_transfers_spread_around_the_median_phone():
    spread = NetworkSettings(spread=0.5, jitter=0.3, opening_round_trips=2)
    world = TIERS.model_copy(update={"network": spread})
    for index, tier in enumerate(world.tiers):
        median, slow = transfer_seconds(world, SEED, index, 1e6, "down")
        assert median == pytest.approx(download_cost(world, tier, 1e6).seconds, rel=0.05)
        assert slow > 1.5 * median
    down, up = (transfer_seconds(world, SEED, 0, 1e6, way)[0] for way in ("down", "up"))
    assert up > 4 * down  # a fifth of the rate


def test_a_tier_that_hardly_anybody_has_still_has_a_time(monkeypatch):
    rare = TIERS.tiers[0].model_copy(update={"name": "rare", "share": 1e-9})
    world = TIERS.model_copy(update={"tiers": (TIERS.tiers[1], rare)})
    monkeypatch.setattr(description, "ASKED_DEVICES", 100)
    median, slow = transfer_seconds(world, SEED, 1, 1e6, "up")
    assert median == slow > 0
