"""Days of the virtual app: exposure, downloads, sums, and what must change no number."""

import numpy as np
import pytest

from models.statistics.moments import Moments
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import CONTROL, TREATED
from simulation.experiments.rollout.click_model import click_chance
from simulation.experiments.rollout.delivery import Delivery
from simulation.experiments.rollout.sessions import sessions_of
from simulation.experiments.rollout.virtual_app import COLUMNS, VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from tests.simulation.experiments.rollout.small_fleet import (
    APP,
    HALF,
    PLAN,
    WORLD,
    app,
    fleet,
    members,
    state,
)


def lived(one: VirtualApp, days: int, stage: int = HALF) -> RolloutEvidence:
    total = RolloutEvidence.nothing(PLAN, COLUMNS, 3)
    for day in range(days):
        total = total + one.day(day, state(stage=stage))[0]
    return total


@pytest.mark.parametrize("scenario", ["healthy", "regional-outage", "crash-low-memory"])
def test_size_of_blocks_and_workers_change_not_one_bit(scenario):
    whole = lived(app(scenario), 6)
    assert whole.exposed.sum() > 1500
    for how in ({"block": 97}, {"block": 500, "workers": 3}):
        assert lived(app(scenario, **how), 6).digest() == whole.digest()
    again = VirtualFleet.build(3000, APP, WORLD, 1, workers=3, block=101)
    for name in ("tier", "zone", "rate", "taste", "slow", "internal", "clicks_before"):
        assert (getattr(again, name) == getattr(fleet(), name)).all(), name


def test_a_larger_fleet_keeps_its_first_devices():
    assert (fleet(4000).rate[:3000] == fleet().rate).all()
    ids = np.array([4, 900, 2999])
    assert (sessions_of(fleet(), ids, 3) == sessions_of(fleet(4000), np.arange(4000), 3)[ids]).all()


def test_what_the_days_add_is_the_sum_of_the_rows_as_they_stand():
    """Changes by day beside the slow truth: every exposed device's row, added up once."""
    one = app()
    total = lived(one, 7)
    exposed = np.flatnonzero(one._exposed & (one._arm >= 0))
    rows = one._rows(exposed, one._arm[exposed].astype(np.int64) * 3 + one.fleet.tier[exposed])
    assert isinstance(rows, Moments)
    assert (rows.count == total.rows.count).all() and (rows.sums == total.rows.sums).all()
    assert (rows.products == total.rows.products).all()


def test_exposure_counts_from_first_use():
    one = app()
    first, tally = one.day(0, state())
    assert first.exposed.sum() == 0 and tally.downloads == one.holds.sum() > 0
    assert first.admitted.sum() > 2000
    holders = one.holds.copy()
    second, tally = one.day(1, state())
    assert 0 < second.exposed[TREATED].sum() < holders.sum()  # some did not open the app
    assert not one.used[~holders].any() and tally.first_used == one.used.sum()
    assert second.admitted.sum() == 0  # they were told of once


def test_the_control_is_exposed_as_the_treated_are():
    """A healthy release: both arms meet the same conditions, so both are as often exposed."""
    total = lived(app(devices=20_000), 5)
    share = total.exposed.sum(axis=1) / total.admitted.sum(axis=1)
    assert share[CONTROL] == pytest.approx(share[TREATED], abs=0.02) and 0.3 < share[0] < 0.9
    means = total.rows.pooled(1).sums[:, :2]
    assert means[0, 0] / means[0, 1] == pytest.approx(0.1, abs=0.01)


def test_a_halt_stops_downloads_only():
    one = app()
    for day in range(2):
        one.day(day, state())
    held, used = one.holds.copy(), int(one.used.sum())
    _, tally = one.day(2, state("halted"))
    assert tally.downloads == 0 and (one.holds == held).all()
    assert one.used.sum() == used + tally.first_used > used  # who has it goes on using it


def test_after_a_rollback_phones_go_back_when_they_check_in():
    one = app()
    for day in range(3):
        one.day(day, state())
    held = [int(one.holds.sum())]
    for day in range(3, 9):
        before = one.holds.copy()
        _, tally = one.day(day, state("rolled back"))
        held.append(int(one.holds.sum()))
        assert tally.downloads == 0 and tally.returned == held[-2] - held[-1]
        gone = np.flatnonzero(before & ~one.holds)
        assert Delivery(fleet()).checks_in(gone, day, np.ones(len(gone))).all()
    assert held[0] > held[1] > held[2] > 0 and held[-1] < held[0] / 10


def test_a_new_window_begins_with_no_evidence():
    one = app()
    lived(one, 3)
    evidence, _ = one.day(3, state(stage=HALF + 1))
    assert evidence.exposed[CONTROL].sum() == 0  # the holdout has never been asked
    assert (evidence.admitted > 0).all()
    evidence.check()


def test_sessions_are_poisson_up_to_the_cut():
    ids = np.arange(20_000)
    counts = sessions_of(fleet(20_000), ids, 5)
    rate = fleet(20_000).rate[ids]
    assert counts.mean() == pytest.approx(rate.mean(), rel=0.03)
    assert np.mean(counts == 0) == pytest.approx(np.exp(-rate).mean(), abs=0.01)
    assert counts.max() <= APP.activity.most_sessions


def test_a_click_on_a_list_is_one_on_any_of_its_positions():
    model = APP.click_model.model_copy(update={"positions": 2, "eta": 1.0, "attraction": 0.4})
    chance = click_chance(model, np.array([1.0, 0.5]))
    assert chance == pytest.approx([1 - 0.6 * 0.8, 1 - 0.8 * 0.9])
    assert click_chance(APP.click_model, fleet().taste).mean() == pytest.approx(0.1, abs=0.005)
    at_random = click_chance(APP.click_model, np.ones(1), 1.0)[0]
    half = click_chance(APP.click_model, np.ones(1), 0.5)[0]
    whole = click_chance(APP.click_model, np.ones(1))[0]
    assert at_random < whole / 3 and half == pytest.approx((at_random + whole) / 2)


def test_an_outage_reports_nothing_from_its_region():
    one = app("regional-outage")
    lived(one, 4)
    zone = fleet().region_names.index("UTC-5")
    before = one._requests.copy(), one.holds.copy()
    one.day(4, state())
    hit = fleet().zone == zone
    assert (one._requests[hit] == before[0][hit]).all() and (one.holds[hit] == before[1][hit]).all()
    assert (one._requests[~hit] != before[0][~hit]).any()


def test_internal_devices_are_counted_and_in_no_arm():
    one = app(devices=20_000)
    total = lived(one, 4, stage=0)
    inside = members(20_000).admitted(0)
    assert total.admitted.sum() == 0 and total.exposed.sum() == 0
    assert 0 < total.internal_exposed == one.used.sum() <= inside.sum()
