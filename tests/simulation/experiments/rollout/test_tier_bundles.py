"""A bundle for each tier: which size a tier gets, what it changes, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import models
from models.errors import DataError, SettingsError
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import TREATED
from simulation.experiments.rollout.app_settings import AppSettings, load_app
from simulation.experiments.rollout.scenarios import NEW, OLD, load_scenario
from simulation.experiments.rollout.tier_bundles import (
    SizeCost,
    bundle_overrides,
    check_bundles,
    measured_sizes,
    put_bundles,
    write_sizes,
)
from simulation.experiments.rollout.virtual_app import COLUMNS, VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from tests.simulation.experiments.rollout.small_fleet import APP, PLAN, WORLD, members, state

TIERS = ("low", "mid", "high")
SIZES = [
    SizeCost("0.5MB", 500_000, 10.0, 0.0001),
    SizeCost("1.91MB", 1_900_000, 18.0, 0.0004),
    SizeCost("4.0MB", 3_990_000, 30.0, 0.0008),
]
PRETRAINED = Path(models.__file__).parent / "pretrained" / "ei-bert-en"


def with_bundles(**changes: object) -> AppSettings:
    asked = [f"delivery.bundles.{key}={value}" for key, value in changes.items()]
    return load_app([*bundle_overrides(SIZES, APP, WORLD, TIERS), *asked])[0]


def test_each_tier_gets_the_largest_size_that_its_memory_holds():
    """Low has 40 MB: 32 MB are served with 1.91 MB, 12 MB more are too much."""
    bundles = with_bundles().delivery.bundles
    assert [bundles[tier].size for tier in TIERS] == ["1.91MB", "4.0MB", "4.0MB"]
    assert bundles["low"].latency == 1.0 and bundles["low"].memory_mb == 32.0
    assert bundles["mid"].latency == pytest.approx((0.08 + 0.34 * 2) / 0.42, abs=1e-4)
    assert bundles["mid"].memory_mb == 44.0
    assert bundles["high"].release_bytes == 3_068_369 - 1_908_480 + 3_990_000
    assert bundles["high"].clicks == 1.0
    asked = load_app(
        [*bundle_overrides(SIZES, APP, WORLD, TIERS), "delivery.bundles.low.clicks=0.9"]
    )
    assert asked[0].delivery.bundles["low"].clicks == 0.9


def test_a_tier_that_no_bundle_fits_is_refused_before_the_start():
    large = [SizeCost("9MB", 9_000_000, 18.0, 0.001), SizeCost("8MB", 8_000_000, 40.0, 0.001)]
    with pytest.raises(SettingsError, match=r"no size fits tier 'low': the smallest wants 10\.0"):
        small = WORLD.model_copy(
            update={"tiers": (WORLD.tiers[0].model_copy(update={"memory_mb": 9.0}),)}
        )
        bundle_overrides(large, APP, small, TIERS)
    app = with_bundles()
    check_bundles(PLAN, app, WORLD)
    high = app.delivery.bundles["high"]

    def changed(bundles: dict) -> AppSettings:
        delivery = app.delivery.model_copy(update={"bundles": bundles})
        return app.model_copy(update={"delivery": delivery})

    with pytest.raises(SettingsError, match="has none for tier 'low': add one, or leave the tier"):
        check_bundles(PLAN, changed({"high": high}), WORLD)
    only = PLAN.model_copy(update={"rule": PLAN.rule.model_copy(update={"tiers": ("high",)})})
    check_bundles(only, changed({"high": high}), WORLD)
    with pytest.raises(SettingsError, match=r"wants 44 MB of memory and fits no tier \(low 40\)"):
        check_bundles(PLAN, changed(dict.fromkeys(TIERS, high)), WORLD)
    with pytest.raises(SettingsError, match="names tier 'tablet', the fleet has low, mid, high"):
        check_bundles(PLAN, changed(dict.fromkeys((*TIERS, "tablet"), high)), WORLD)


def test_a_bundle_changes_the_new_release_on_its_tier_only():
    strengths = load_scenario("healthy").strengths(0, TIERS, ("UTC-5",))
    app = load_app([*bundle_overrides(SIZES, APP, WORLD, TIERS), "delivery.bundles.mid.clicks=0.5"])
    put_bundles(strengths, app[0].delivery, TIERS)
    assert strengths["clicks"][NEW].ravel().tolist() == [1, 0.5, 1]
    assert (strengths["clicks"][OLD] == 1).all() and (strengths["latency"][OLD] == 1).all()
    assert strengths["latency"][NEW, 1, 0] == strengths["joules"][NEW, 1, 0] > 1.5


def test_phones_fetch_the_bytes_of_their_tier_and_get_its_clicks():
    app = load_app([*bundle_overrides(SIZES, APP, WORLD, TIERS), "delivery.bundles.low.clicks=0"])
    fleet = VirtualFleet.build(3000, app[0], WORLD, 1)
    one = VirtualApp(fleet, members(), load_scenario("healthy"))
    total, fetched = RolloutEvidence.nothing(PLAN, COLUMNS, 3), 0
    for day in range(5):
        change, tally = one.day(day, state())
        total, fetched = total + change, fetched + tally.fetched_bytes
    held = np.bincount(fleet.tier[one.holds], minlength=3)
    sizes = [app[0].delivery.bundles[tier].release_bytes for tier in TIERS]
    assert fetched == held @ np.array(sizes) > 0
    clicks = total.rows.sums[TREATED, :, 0]
    assert clicks[0] == 0 and clicks[1] > 0  # the low tier's bundle is worth nothing


def test_a_folder_that_is_no_elastic_run_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="holds no finished elastic run"):
        measured_sizes(tmp_path)


@pytest.mark.slow
def test_sizes_are_measured_in_processes_of_their_own(tmp_path):
    shutil.copytree(PRETRAINED, tmp_path / "sizes" / "a", ignore=shutil.ignore_patterns("*.md"))
    rows = [{"name": "a", "bundle": "sizes/a"}]
    (tmp_path / "report.json").write_text(json.dumps({"sizes": rows}))
    (size,) = measured_sizes(tmp_path)
    assert size.num_bytes == 1_908_480 and 1 < size.memory_mb < 200
    assert 1e-5 < size.encode_s < 0.5
    kept = tmp_path / "kept.json"
    write_sizes([size], kept)
    assert measured_sizes(tmp_path, kept) == [size]  # to the last digit: it was not measured again
    write_sizes([replace(size, sha256="another", encode_s=7.0)], kept)
    assert measured_sizes(tmp_path, kept)[0].encode_s < 0.5
