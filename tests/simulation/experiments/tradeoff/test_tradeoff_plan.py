"""Plans of trade-offs: those of the product, and those that are wrong."""

from pathlib import Path

import pytest

from models.errors import SettingsError
from simulation.experiments.tradeoff.tradeoff_plan import load_tradeoff, own_plans
from simulation.settings import load_settings

PLAN = """
preset = "quickstart"
evaluated = 0
overrides = ["federation.schedule.sampling=poisson", "federation.schedule.over_selection=1"]
[attacks]
devices = 5
sum_of = 3
canaries = 8
local_rounds = 1
confidence = 0.95
guess_shares = [0.5]
[[arms]]
name = "none"
title = "no privacy"
overrides = []
[[arms]]
name = "{second}"
title = "noise"
overrides = ["federation.privacy.mechanism={mechanism}", "federation.privacy.target_epsilon=8"]
"""


def written(folder: Path, second: str = "central", mechanism: str = "central") -> str:
    path = folder / "plan.toml"
    path.write_text(PLAN.format(second=second, mechanism=mechanism))
    return str(path)


@pytest.mark.parametrize("name", own_plans())
def test_every_arm_of_the_products_plans_is_a_run(name: str):
    plan = load_tradeoff(name)
    promised = [
        load_settings(plan.preset, [*plan.overrides, *arm.overrides]).federation.privacy
        for arm in plan.arms
    ]
    assert not promised[0].is_private
    assert {each.mechanism for each in promised} >= {"none", "local", "central", "distributed"}


def test_overrides_are_the_plans_or_those_of_all_arms(tmp_path: Path):
    plan = load_tradeoff(written(tmp_path), ["attacks.devices=7", "federation.rounds=3"])
    assert plan.attacks.devices == 7
    assert plan.overrides[-1] == "federation.rounds=3"


def test_an_unknown_plan_is_named_with_those_there_are():
    with pytest.raises(SettingsError, match=r"no trade-off 'ml': choose one of .*ml-100k"):
        load_tradeoff("ml")


def test_two_arms_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="names of their own"):
        load_tradeoff(written(tmp_path, second="none"))


def test_an_arm_that_cannot_be_run_is_refused_before_anything_is(tmp_path: Path):
    with pytest.raises(SettingsError, match="mechanism"):
        load_tradeoff(written(tmp_path, mechanism="magic"))
