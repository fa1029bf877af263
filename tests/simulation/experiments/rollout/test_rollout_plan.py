"""Plans of rollouts are read, overridden, and refused with one clear line."""

import pytest

from models.errors import SettingsError
from simulation.experiments.rollout.rollout_plan import load_rollout, own_plans
from tests.server.rollout.made_up import PRESET


def test_the_plan_of_the_product_is_read_and_overridden():
    plan, others = load_rollout("standard", ["holdout.share=0.1", "federation.rounds=3"])
    assert plan.holdout.share == 0.1 and others == ["federation.rounds=3"]
    assert own_plans() == ["standard"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["holdout.share=0.9"], "holdout.share = 0.9: input should be less than or equal to 0.5"),
        (["holdout.shares=0.1"], "holdout.shares: extra inputs are not permitted"),
        (["ship.metric.margin=-1"], r"ship.metric.margin = -1: .*greater than or equal to 0"),
        (["ship.metric.margin=0"], "no number of devices shows that nothing at all was lost"),
        (["lane.end=0"], "lane"),
    ],
)
def test_a_wrong_value_is_one_clear_line(overrides, message):
    with pytest.raises(SettingsError, match=message) as raised:
        load_rollout("standard", overrides)
    assert len(str(raised.value).splitlines()) == 1


def test_a_plan_whose_stages_shrink_is_one_clear_line(tmp_path):
    content = PRESET.read_text().replace("share = 0.25", "share = 0.02")
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(
        SettingsError, match=r"'25 %' admits 0\.02 after '5 %' with 0\.05"
    ) as raised:
        load_rollout(str(tmp_path / "mine.toml"))
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(SettingsError, match="no rollout plan 'fast': choose one of standard"):
        load_rollout("fast")
