"""The scenario library: what it says, whom it hits, and what the rule makes of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from models.errors import SettingsError
from simulation.experiments.rollout.app_settings import load_app
from simulation.experiments.rollout.scenarios import (
    NEW,
    OLD,
    Effect,
    Scenario,
    load_scenario,
    own_scenarios,
)
from tests.simulation.experiments.rollout.small_fleet import fleet, rolled_out

TIERS, REGIONS = ("low", "mid"), ("UTC-5", "UTC-6", "UTC-8")


def one(**effect: object) -> Scenario:
    return Scenario(name="mine", title="mine", harm="", effects=(Effect(**effect),))


def test_all_scenarios_of_the_issue_are_there_and_fit_the_fleet():
    assert own_scenarios() == [
        "crash-low-memory",
        "garbage-vectors",
        "healthy",
        "poisoned-update",
        "quality-2",
        "regional-outage",
        "slow-adoption",
        "slow-old-tiers",
    ]
    for name in own_scenarios():
        scenario = load_scenario(name)
        assert scenario.name == name
        found = scenario.strengths(5, fleet().tier_names, fleet().region_names)
        changed = any((each != each.flat[0]).any() or each.flat[0] not in (0, 1)
                      for each in found.values())  # fmt: skip
        assert changed == (name != "healthy")


def test_an_effect_hits_its_arm_tier_region_and_days_only():
    scenario = one(what="latency", factor=2, tiers=["low"], regions=["UTC-6"], first_day=2)
    assert (scenario.strengths(1, TIERS, REGIONS)["latency"] == 1).all()
    found = scenario.strengths(2, TIERS, REGIONS)["latency"]
    assert found[NEW, 0, 1] == 2 and found.sum() == 12 + 1
    both = one(what="check in", factor=0.5, arms="both").strengths(0, TIERS, REGIONS)["check in"]
    assert (both == 0.5).all()
    grown = one(what="clicks", growth=-0.1, first_day=3).strengths(4, TIERS, REGIONS)["clicks"]
    assert grown[NEW, 0, 0] == pytest.approx(0.81) and (grown[OLD] == 1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"what": "clicks", "plus": 0.1},
        {"what": "crash", "factor": 2},
        {"what": "crash", "share": 0.1},
        {"what": "random lists"},
        {"what": "report", "factor": 2},
        {"what": "clicks", "factor": 0.5, "first_day": 4, "last_day": 3},
        {"what": "colour"},
    ],
)
def test_an_effect_that_says_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Effect(**wrong)


def test_names_are_checked(tmp_path):
    with pytest.raises(SettingsError, match=r"tiers 'lower', the fleet has low, mid: name"):
        one(what="clicks", factor=0.5, tiers=["lower"]).strengths(0, TIERS, REGIONS)
    with pytest.raises(SettingsError, match="no scenario 'fire': choose one of crash-low-memory"):
        load_scenario("fire")
    with pytest.raises(SettingsError, match="cannot read the scenario"):
        load_scenario(str(tmp_path / "none.toml"))
    (tmp_path / "mine.toml").write_text('name = "x"\ntitle = "x"\nharm = ""\neffects = 3\n')
    with pytest.raises(SettingsError, match=r"mine\.toml: effects"):
        load_scenario(str(tmp_path / "mine.toml"))
    with pytest.raises(SettingsError, match=r"random_attraction is 0\.5"):
        load_app(["click_model.random_attraction=0.5"])
    with pytest.raises(SettingsError, match="365,000 requests of a device, 65,535 can be counted"):
        load_app(
            [
                "operator.most_days=365",
                "activity.most_sessions=50",
                "activity.requests_per_session=20",
            ]
        )


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        ("crash-low-memory", ("crashes", "out of memory", "internal")),
        ("garbage-vectors", ("click rate",)),
        ("slow-old-tiers", ("latency p95", "battery")),
        ("poisoned-update", ("click rate",)),
    ],
)
def test_a_bad_release_is_caught_on_a_small_fleet(scenario, why):
    rows, decisions = rolled_out(scenario)
    stop = next(each for each in decisions if each.action in ("halt", "roll back"))
    assert stop.by == "rule" and any(word in stop.reason for word in why)
    hit = rows[stop.day - 1].hit / 20_000
    assert hit < (0.2 if scenario == "poisoned-update" else 0.05)
    assert rows[-1].status == "rolled back" or len(rows) == 16


@pytest.mark.parametrize("scenario", ["healthy", "slow-adoption", "regional-outage"])
def test_nothing_stops_a_release_that_does_no_harm(scenario):
    for seed in (1, 2):
        _, decisions = rolled_out(scenario, seed=seed)
        assert {each.action for each in decisions} == {"start", "advance", "hold"}


def test_poison_grows_and_crashes_show_in_their_tier():
    _, decisions = rolled_out("crash-low-memory")
    stop = next(each for each in decisions if each.action in ("halt", "roll back"))
    if stop.findings:
        assert stop.findings[0].tier in ("low", "all")
        assert stop.findings[0].treated > 3 * stop.findings[0].control
    treated = [row.clicks_treated for row in rolled_out("poisoned-update")[0]][8:]
    assert np.diff([each for each in treated if each is not None]).mean() < 0
