"""Plans that cannot be: one clear message each, and nothing is done."""

import numpy as np
import pytest
from pydantic import ValidationError

from models.errors import SettingsError
from server.rollout.eligibility import (
    check_together,
    eligible,
    fitting_tiers,
    version_number,
)
from server.rollout.settings import Rule
from tests.server.rollout.made_up import plan, tree
from tests.server.rollout.test_buckets import attributes


def rule(**changes: object) -> Rule:
    nothing = {
        "tiers": (),
        "systems": (),
        "regions": (),
        "min_app_version": "",
        "min_free_memory_mb": 0,
    }
    return Rule.model_validate(nothing | changes)


def shrinking(content):
    content["stages"][3]["share"] = 0.02


def negative_margin(content):
    content["guardrails"][0]["margin"] = -0.01


def no_margin_to_ship(content):
    content["ship"]["metric"]["margin"] = 0


def unknown_key(content):
    content["guardrails"][0]["margins"] = 0.1


def same_salts(content):
    content["holdout"]["salt"] = content["salt"]


def nothing_measured(content):
    content["stages"] = [content["stages"][0], content["stages"][-1]]


def empty_lane(content):
    content["lane"] |= {"first": 0.5, "end": 0.5}


def twice(content):
    content["guardrails"].append(content["guardrails"][0])


def all_may_be_lost(content):
    content["guardrails"][0]["margin"] = 1.0


def lower_latency_is_worse(content):
    content["guardrails"][1]["worse"] = "lower"


def edges_fall(content):
    content["evidence"]["edges_ms"] = [1, 3, 2, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shrinking, "'25 %' admits 0.02 after '5 %' with 0.05: a stage only grows"),
        (negative_margin, "greater than or equal to 0"),
        (no_margin_to_ship, "no number of devices shows that nothing at all was lost"),
        (unknown_key, "Extra inputs are not permitted"),
        (same_salts, "must differ"),
        (nothing_measured, "none has a share above 0 and up to 0.5"),
        (empty_lane, "is empty"),
        (twice, "guardrails have names of their own"),
        (all_may_be_lost, "take a margin below 1"),
        (lower_latency_is_worse, 'worse must be "higher"'),
        (edges_fall, "must be above 0 and rise"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change, message):
    content = tree()
    change(content)
    with pytest.raises(ValidationError, match=message) as raised:
        plan(**content)
    assert len(raised.value.errors()) == 1


def test_the_plan_that_comes_with_the_product_is_one():
    assert [stage.share for stage in plan().stages] == [0, 0.01, 0.05, 0.25, 0.5, 1]
    assert plan().last_measured == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tiers": ("flagship",)}, "rule.tiers names 'flagship', the fleet has low, mid, high"),
        ({"regions": ("moon",)}, "rule.regions names 'moon'"),
        ({"min_free_memory_mb": 1e6}, "admits none of 90 devices"),
        ({"min_app_version": "3.0.0", "tiers": ("low",)}, r"tiers: 30; min_app_version: 0"),
    ],
)
def test_a_rule_that_fits_no_device_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        eligible(rule(**changes), attributes(90))


def test_every_condition_is_asked():
    chosen = rule(tiers=("low", "high"), systems=("android",), min_app_version="2.9.0")
    found = eligible(chosen, attributes(90))
    assert found.tolist() == [n % 3 in (0, 2) and n % 2 == 0 for n in range(90)]


def test_who_does_not_say_is_not_eligible():
    silent = attributes(
        4,
        tier=np.array([-1, 0, 0, 0]),
        region=np.array([0, -1, 0, 0]),
        free_memory_mb=np.array([9.0, 9.0, np.nan, 9.0]),
        app_version=np.array([5, 5, 5, -1]),
    )
    assert eligible(rule(), silent).all()  # nothing was asked
    assert eligible(rule(tiers=("low",)), silent).tolist() == [False, True, True, True]
    assert eligible(rule(regions=("eu",)), silent).tolist() == [True, False, True, True]
    assert eligible(rule(min_free_memory_mb=1), silent).tolist() == [True, True, False, True]
    assert eligible(rule(min_app_version="0.0.1"), silent).tolist() == [True, True, True, False]


def test_a_release_that_fits_no_tier_is_refused():
    memory = {"low": 100.0, "mid": 300.0, "high": 900.0}
    assert fitting_tiers(300, memory) == ("mid", "high")
    with pytest.raises(SettingsError, match="wants 1000 MB of memory and fits no tier"):
        fitting_tiers(1000, memory)


def test_versions_sort_as_versions():
    names = ["0.9.9", "1.0.0", "1.9.0", "1.10.0", "2.0.0"]
    numbers = [version_number(name) for name in names]
    assert numbers == sorted(numbers)


def test_two_rollouts_on_one_slot_are_refused():
    other = {"name": "other", "salt": "other-1"}
    apart = {"slot": "encoder", "lane": {"layer": "encoders", "first": 0, "end": 1}}
    check_together([plan(), plan(**other, **apart)])
    with pytest.raises(SettingsError, match="'standard' and 'other' both fill slot 'recommender'"):
        check_together([plan(), plan(**other)])
    with pytest.raises(SettingsError, match="overlap in layer 'recommender-layer'"):
        check_together([plan(), plan(**other, slot="encoder")])
    with pytest.raises(SettingsError, match="share the salt 'standard-1'"):
        check_together([plan(), plan(**(other | apart | {"salt": "standard-1"}))])
