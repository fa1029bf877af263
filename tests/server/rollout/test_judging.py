"""The ship decision, by simulation: how often it passes, and whom."""

from dataclasses import replace

import numpy as np
import pytest

from models.seeds import generator
from models.statistics.moments import Moments
from server.rollout.decisions import Look, draft
from server.rollout.evidence import RolloutEvidence
from server.rollout.settings import RolloutPlan
from server.rollout.shipping import information, look, shortfall
from tests.server.rollout.made_up import COLUMNS, nothing, plan

RUNS, LOOKS, DEVICES, MARGIN = 100, 4, 750, 0.2


def shipping() -> RolloutPlan:
    """A plan that asks for no loss of more than a fifth, in four looks, without CUPED."""
    ship = plan().ship.model_dump()
    ship |= {"looks": LOOKS}
    ship["metric"] |= {"margin": MARGIN, "before": "", "before_per": ""}
    return plan(ship=ship)


def clicked(of: RolloutPlan, clicks: np.ndarray, devices: int) -> RolloutEvidence:
    """One request a device: the sums are those of its click."""
    sums = np.zeros((2, 3, len(COLUMNS)))
    sums[:, 0, 0], sums[:, 0, 1] = clicks, devices
    products = np.zeros((2, 3, len(COLUMNS), len(COLUMNS)))
    products[:, 0, 0, 0] = products[:, 0, 0, 1] = products[:, 0, 1, 0] = clicks
    products[:, 0, 1, 1] = devices
    count = np.zeros((2, 3))
    count[:, 0] = devices
    return replace(nothing(of), rows=Moments(COLUMNS, count, sums, products))


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(0.10 * (1 - MARGIN), 0.0, 0.07), (0.10, 0.65, 0.95)]
)
def test_a_release_at_the_margin_seldom_ships_and_one_that_changes_nothing_does(rate, low, high):
    """At the margin: at most alpha / 2 = 0.025; unchanged: the power asked for, 0.8."""
    chosen, shipped = shipping(), 0
    rng = generator(21, "ship", int(rate * 1000))
    for _ in range(RUNS):
        clicks, looks = np.zeros(2), []
        for number in range(1, LOOKS + 1):
            clicks += rng.binomial(DEVICES, (0.10, rate))
            seen = look(chosen, clicked(chosen, clicks, DEVICES * number), looks)
            looks += [seen] if seen else []
            if looks and looks[-1].is_shown:
                shipped += 1
                break
    assert low <= shipped / RUNS <= high


def test_nothing_is_looked_at_without_devices_or_clicks():
    chosen = shipping()
    assert look(chosen, nothing(chosen), []) is None
    assert look(chosen, clicked(chosen, np.zeros(2), 1000), []) is None


def test_the_last_look_is_taken_however_little_was_missing():
    chosen = shipping()
    most = clicked(chosen, np.array([60_000, 60_000]), 600_000)
    seen = look(chosen, most, [])
    assert seen is not None and seen.fraction == 1.0 and seen.is_shown
    almost = seen.model_copy(update={"fraction": 0.9995})
    assert look(chosen, most, [almost]) is not None
    assert look(chosen, most, [seen]) is None


def test_what_is_missing_is_said_in_one_line():
    """1,000 devices an arm of click rate 0.1: all the information is that of 2 p (1 - p) / n."""
    chosen = shipping()
    seen = clicked(chosen, np.array([100, 100]), 1000)
    assert shortfall(chosen, nothing(chosen), []).startswith("too little to look")
    found = information(chosen, seen)
    assert found is not None and found.devices == 1000
    assert found.needed == pytest.approx(1000 / found.fraction, abs=1)
    seen.admitted[:, 0] = found.needed + 5
    told = shortfall(chosen, seen, [look(chosen, seen, [])])
    assert "not shown to be within the margin of 20 % after 1 look: z " in told
    assert told.endswith(f"for {found.needed:,} devices in each arm, 1,000 have used it")
    seen.admitted[:, 0] = 1200
    assert shortfall(chosen, seen, [look(chosen, seen, [])]).endswith("and the stage has 1,200")
    last = look(chosen, clicked(chosen, np.array([9000, 9000]), 90_000), [])
    assert shortfall(chosen, seen, [last, last]).endswith("last look, an operator decides")


def test_when_all_looks_are_taken_in_vain_the_state_says_so():
    used = Look(fraction=1.0, z=1.0, bound=2.0)
    state = draft(1).model_copy(update={"looks": (used,)})
    assert state.is_spent and not draft(1).is_spent
    assert not state.model_copy(update={"is_shown": True}).is_spent
    half = used.model_copy(update={"fraction": 0.5})
    assert not state.model_copy(update={"looks": (half,)}).is_spent
