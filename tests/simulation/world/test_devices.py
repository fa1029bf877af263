import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulation.world.devices import WorldSettings, tiers_of
from tests.tiny_world import TIERS


def test_tiers_come_in_their_shares():
    tiers = tiers_of(np.arange(20_000), TIERS, seed=1)
    assert np.mean(tiers == 0) == pytest.approx(0.4, abs=0.015)
    assert set(np.unique(tiers)) == {0, 1}


@given(st.lists(st.integers(0, 10**9), max_size=20))
def test_the_tier_of_a_device_depends_on_its_id_alone(devices):
    together = tiers_of(np.array(devices, dtype=np.int64), TIERS, seed=1)
    alone = [int(tiers_of(np.array([device]), TIERS, seed=1)[0]) for device in devices]
    assert together.tolist() == alone


def test_shares_must_add_up_and_names_differ():
    low, high = TIERS.tiers
    tree = TIERS.model_dump()
    with pytest.raises(ValidationError, match=r"add up to 0\.8, they must add up to 1"):
        WorldSettings(**{**tree, "tiers": (low, low.model_copy(update={"name": "x"}))})
    with pytest.raises(ValidationError, match="tier names must differ"):
        WorldSettings(**{**tree, "tiers": (low, high.model_copy(update={"name": "low"}))})
