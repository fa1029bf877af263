import numpy as np
import pytest
from pydantic import ValidationError

from simulation.world.devices import WorldSettings, assign_tiers
from tests.tiny_world import TIERS


def test_tiers_come_in_their_shares():
    tiers = assign_tiers(20_000, TIERS, seed=1)
    assert np.mean(tiers == 0) == pytest.approx(0.4, abs=0.015)
    assert set(np.unique(tiers)) == {0, 1}


def test_a_larger_population_keeps_the_tiers_of_its_first_devices():
    few, many = assign_tiers(50, TIERS, seed=1), assign_tiers(500, TIERS, seed=1)
    np.testing.assert_array_equal(few, many[:50])


def test_shares_must_add_up_and_names_differ():
    low, high = TIERS.tiers
    with pytest.raises(ValidationError, match=r"add up to 0\.8, they must add up to 1"):
        WorldSettings(reference_step_s=1, tiers=(low, low.model_copy(update={"name": "x"})))
    with pytest.raises(ValidationError, match="tier names must differ"):
        WorldSettings(reference_step_s=1, tiers=(low, high.model_copy(update={"name": "low"})))
