"""Real users behind the devices: clicks are those of the ranks, whatever the blocks and workers."""

import numpy as np
import pytest

from models.errors import DataError
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import CONTROL, TREATED, Membership
from simulation.experiments.rollout.real_users import RealUsers
from simulation.experiments.rollout.rollout_outlook import outlook
from simulation.experiments.rollout.scenarios import load_scenario, with_releases
from simulation.experiments.rollout.virtual_app import COLUMNS, VirtualApp
from simulation.experiments.rollout.virtual_fleet import VirtualFleet
from simulation.reporting.rollout_readings import before
from tests.simulation.experiments.rollout.small_fleet import APP, PLAN, WORLD, state

MODEL = APP.click_model
PEOPLE = RealUsers(
    names=("old", "new"),
    events=np.array([20, 60, 100, 140, 30]),
    ranks=np.array([[0.0, 3.5, 40.0, 9.0, 2.0], [1.0, 0.0, 5.0, 10.0, 400.0]]),
    candidates=np.full(5, 500),
)
DEVICES = 8000


def fleet(people: RealUsers = PEOPLE, **how: int) -> VirtualFleet:
    return VirtualFleet.build(DEVICES, APP, WORLD, 1, people=people, **how)


FLEET = fleet()
MEMBERS = Membership.of(PLAN, np.arange(DEVICES), FLEET.attributes())


def lived(days: int = 6, scenario: str = "healthy", **how: int) -> RolloutEvidence:
    one = VirtualApp(FLEET, MEMBERS, load_scenario(scenario), **how)
    total = RolloutEvidence.nothing(PLAN, COLUMNS, 3)
    for day in range(days):
        total = total + one.day(day, state())[0]
    return total


def test_the_wanted_item_is_clicked_when_its_place_is_looked_at():
    """Ranks from 0; a half rank is a tie, and stands at the better place; place 11 is outside."""
    old, new = PEOPLE.listed(MODEL)
    assert old == pytest.approx([1, 1 / 4, 0, 1 / 10, 1 / 3])
    assert new == pytest.approx([1 / 2, 1, 1 / 6, 0, 0])
    users, is_new = np.array([0, 0, 3]), np.array([False, True, True])
    assert PEOPLE.click_chance(MODEL, users, is_new) == pytest.approx([1, 1 / 2, 0])
    at_random = sum(1 / place for place in range(1, 11)) / 500
    assert PEOPLE.click_chance(MODEL, users, is_new, 1.0) == pytest.approx([at_random] * 3)
    half = PEOPLE.click_chance(MODEL, users[:1], False, np.array([0.5]))
    assert half == pytest.approx([(1 + at_random) / 2])
    assert PEOPLE.hit_rates(MODEL) == (4 / 5, 3 / 5)
    assert PEOPLE.clicks_per_list(MODEL)[0] == pytest.approx((20 + 15 + 14 + 10) / 350)


def test_sums_of_clicks_are_the_mean_of_the_click_model_in_both_arms():
    means = lived(10).rows.pooled(1).sums
    for arm, expected in zip((CONTROL, TREATED), PEOPLE.clicks_per_list(MODEL), strict=True):
        assert means[arm, 0] / means[arm, 1] == pytest.approx(expected, rel=0.04)


def test_active_users_open_the_app_more_often_and_each_user_has_its_share_of_devices():
    users = PEOPLE.of_devices(1, np.arange(DEVICES))
    assert np.bincount(users) / DEVICES == pytest.approx([0.2] * 5, abs=0.015)
    assert FLEET.rate[users == 3] == pytest.approx(0.6 * 140 / 70)
    assert FLEET.clicks_before[users == 2].sum() == 0  # its item is in no list
    first = users == 0
    assert (FLEET.clicks_before[first] == FLEET.requests_before[first]).all()  # on the first place


def test_size_of_blocks_and_workers_change_not_one_bit_with_real_users():
    whole = lived(3, "garbage-vectors")
    assert lived(3, "garbage-vectors", block=1111, workers=3).digest() == whole.digest()
    again = fleet(workers=3, block=1111)
    for name in ("rate", "requests_before", "clicks_before"):
        assert (getattr(again, name) == getattr(FLEET, name)).all()


def test_what_is_known_before_says_what_the_releases_do():
    known = outlook(FLEET, MEMBERS)
    assert known.users is not None and known.users.change == pytest.approx(
        (10 + 60 + 100 / 6) / (20 + 15 + 14 + 10) - 1
    )
    assert "5 real users. 'new' in place of 'old' puts the held-out item of 60.0 %" in before(known)
    assert known.mean == pytest.approx(known.users.clicks_old, rel=0.04)


def test_a_title_names_both_releases_and_fewer_clicks_are_a_harm():
    better = with_releases(load_scenario("healthy"), ("static", "federated"), 0.1, 0.2)
    assert (better.title, better.harm) == ("federated in place of static, on real users", "")
    worse = with_releases(load_scenario("slow-old-tiers"), ("a" * 90, "b" * 90), 0.2, 0.1)
    assert worse.harm == "latency" and len(worse.title) == 120
    assert with_releases(load_scenario("healthy"), ("a", "b"), 0.2, 0.1).harm == "clicks"


def test_a_run_without_users_is_refused():
    with pytest.raises(DataError, match="no user has training events and a held-out item"):
        RealUsers(("a", "b"), np.zeros(0, int), np.zeros((2, 0)), np.zeros(0, int))


def test_the_digest_is_of_names_and_ranks():
    ranks = PEOPLE.ranks.copy()
    ranks[1, 2] += 1
    other = RealUsers(PEOPLE.names, PEOPLE.events, ranks, PEOPLE.candidates)
    assert other.digest() != PEOPLE.digest() == fleet().people.digest()
