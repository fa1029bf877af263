"""The studio: its clock stops where somebody should look, and nothing is told that is not kept."""

import pytest

from models.errors import DataError, SettingsError
from simulation.experiments.rollout.scenarios import load_scenario
from simulation.studio.driver import Studio
from simulation.studio.rollout_setup import load_setup
from simulation.studio.store import Store
from tests.simulation.experiments.rollout.small_fleet import WORLD
from tests.simulation.studio.small_studio import opened, setup, start, wait_for


def test_it_plays_until_the_rule_stops_the_release_and_goes_on_after_a_restart(tmp_path):
    studio = opened(tmp_path)
    with pytest.raises(SettingsError, match="start the rollout first"):
        studio.play(True)
    start(studio)
    studio.inject("crashes", load_scenario("crash-low-memory").effects)
    studio.order("advance", "no time to lose")
    studio.order("advance", "none at all")
    studio.order("advance", "to 25 %")
    studio.play(True, 20.0)
    wait_for(lambda: not studio.snapshot["clock"]["playing"])
    told = studio.snapshot
    assert told["now"]["status"] == "rolled back"
    assert "the rule decided" in told["clock"]["stopped"]
    assert told["live"]["headline"] == "Rolled back"
    studio.close()

    again = opened(tmp_path)  # lives through the days again, and checks them
    same = ("rollout", "setup", "now", "days", "decisions", "faults", "live", "before")
    assert {name: again.snapshot[name] for name in same} == {name: told[name] for name in same}
    again.begin(setup("quality-2"))
    wait_for(lambda: again.snapshot["phase"]["name"] == "ready" and again.snapshot["rollout"] == 2)
    assert again.snapshot["now"] == {**again.snapshot["now"], "status": "draft", "day": 0}
    assert again.snapshot["days"] == [] and not again.snapshot["problem"]
    again.close()


def test_an_order_for_what_is_no_more_is_refused(tmp_path):
    studio = opened(tmp_path)
    start(studio)
    studio.order("advance", "to 1 %", ("running", 0))
    with pytest.raises(SettingsError, match="the rollout has moved on"):
        studio.order("advance", "clicked twice", ("running", 0))
    assert studio.snapshot["now"]["stage"] == 1
    studio.close()


def test_a_day_that_cannot_be_kept_is_not_told_and_lived_again(tmp_path, monkeypatch):
    studio = opened(tmp_path)
    start(studio)
    studio.step()
    whole = Store.add_day

    def full(*_: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr(Store, "add_day", full)
    with pytest.raises(DataError, match="the disk is full"):
        studio.step()
    wait_for(lambda: studio.snapshot["phase"]["name"] == "ready")
    assert studio.snapshot["now"]["day"] == 1
    monkeypatch.setattr(Store, "add_day", whole)
    studio.step()
    assert studio.snapshot["now"]["day"] == 2
    studio.close()


def test_a_rollout_that_does_not_fit_is_told_and_the_one_before_stays(tmp_path):
    studio = opened(tmp_path)
    scenario = load_scenario("crash-low-memory")
    effects = (scenario.effects[0].model_copy(update={"tiers": ("tablet",)}),)
    wrong = setup().model_copy(
        update={"scenario": scenario.model_copy(update={"effects": effects})}
    )
    studio.begin(wrong)
    wait_for(lambda: bool(studio.snapshot["problem"]))
    assert "tablet" in studio.snapshot["problem"] and studio.snapshot["rollout"] == 1
    start(studio)
    studio.step()
    assert studio.snapshot["now"]["day"] == 1
    studio.close()


def test_an_empty_studio_says_so(tmp_path):
    studio = Studio(Store.open(tmp_path))
    assert studio.snapshot["phase"]["name"] == "empty"
    with pytest.raises(SettingsError, match="there is no rollout yet"):
        studio.step()
    studio.close()


def test_a_setup_has_the_world_of_the_default_job_and_names_what_is_wrong():
    found = load_setup("healthy", "standard", 5000, 1, ["world.joules_per_mb=3", "ship.alpha=0.1"])
    assert found.world == WORLD.model_copy(update={"joules_per_mb": 3.0})
    assert found.plan.ship.alpha == 0.1
    for override, what in (("colour=1", "colour"), ("world.joules_per_mb=-1", "greater than 0")):
        with pytest.raises(SettingsError, match=what):
            load_setup("healthy", "standard", 5000, 1, [override])
