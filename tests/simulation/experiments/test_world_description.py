"""From a run folder with a world to the numbers of its page."""

import json
from pathlib import Path

import numpy as np
import pytest

from clients.device_package import DevicePackage
from models.errors import DataError
from models.histories import Histories
from simulation.experiments import phone_load, world_description
from simulation.experiments.fidelity_summary import growing_places, summarize
from simulation.experiments.world_description import describe_world
from simulation.reporting.world_model import WorldReport
from simulation.run_folder import RunFolder, running
from simulation.settings import Settings, load_settings
from simulation.world.fidelity import People, compare_people
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, TinyWorld, build_tiny_synthetic_world
from tests.tiny_world import made_up_split as made_up

PRESET = load_settings("quickstart")


def renamed(settings: Settings) -> Settings:
    """The preset's world with as many tiers as the tiny one has."""
    tiers = [
        tier.model_copy(update={"name": name, "share": 0.5})
        for name, tier in zip(("low", "high"), settings.world.tiers[1:], strict=True)
    ]
    world = settings.world.model_copy(update={"tiers": tuple(tiers)})
    return settings.model_copy(update={"world": world})


def run_folder(world: TinyWorld, settings: Settings) -> RunFolder:
    """Make the folder of a tiny world a run."""
    (world.folder / "run.json").touch()  # it holds files already
    with running(world.folder, "world build", settings, "pocketfleet world build") as run:
        return run


@pytest.fixture
def described(tiny: TinyWorld) -> WorldReport:
    return describe_world(run_folder(tiny, renamed(PRESET)), Path("no-cache"))


def test_a_world_of_real_users_is_described_without_any_data(described: WorldReport):
    assert (described.kind, described.num_devices, described.num_items) == (
        "stored",
        NUM_DEVICES,
        NUM_ITEMS,
    )
    assert described.fidelity is None and "real users" in described.fidelity_note
    assert sum(tier.num_devices for tier in described.tiers) == NUM_DEVICES
    assert described.activity[0].points[-1][1] == 1.0
    assert max(tier.events_most for tier in described.tiers) <= 20
    assert described.week.num_asked == NUM_DEVICES
    assert 0 < described.week.worst_hour < described.week.best_hour < 1
    assert {row.what for row in described.transfers} == {
        "package, down",
        "parameters, down",
        "update, up",
    }


def test_actions_add_up_to_requests_and_rounds(described: WorldReport):
    for tier in ("low", "high"):
        found = {row.action: row for row in described.actions if row.tier == tier}
        request = found["a request: both"]
        parts = found["encode a text"], found["rank the catalogue"]
        assert request.seconds == pytest.approx(sum(part.seconds for part in parts))
        assert request.joules == pytest.approx(sum(part.joules for part in parts))
        whole = found["a round: all three"]
        trips = found["download parameters"], found["train one step"], found["upload an update"]
        assert whole.seconds == pytest.approx(sum(part.seconds for part in trips))
        assert 0 < whole.battery_share < 0.01


def test_a_run_without_a_package_counts_with_what_one_may_have(tiny: TinyWorld, described):
    assert described.package_bytes == 4_000_000 and "may have" in described.package_note
    assert described.serving_mb == PRESET.world.reference.serving_mb
    text_dim = np.load(tiny.phones / "item_text.npy").shape[1]
    dim, heads = PRESET.recommender.dim, PRESET.recommender.num_heads
    at_least = 4 * (2 * text_dim * dim + NUM_ITEMS * (dim + 1) + heads * dim * dim)
    assert at_least < described.update_bytes < 1.1 * at_least


def test_a_run_with_a_package_is_measured(tiny: TinyWorld, monkeypatch):
    run = run_folder(tiny, renamed(PRESET))
    run.package.mkdir()
    (run.phones / "catalogue.json").write_text(json.dumps(["a film"]))
    package = DevicePackage(run.package, NUM_ITEMS, NUM_ITEMS, {"bundle": 1_700_000})
    monkeypatch.setattr(DevicePackage, "open", classmethod(lambda cls, folder: package))
    memory = {"imported": 10_000_000, "peak": 210_000_000}
    monkeypatch.setattr(phone_load, "memory_of_serving", lambda *paths: memory)
    found = describe_world(run, Path("no-cache"))
    assert (found.package_bytes, found.package_note) == (1_700_000, "the package of this run")
    assert found.serving_mb == 200 and "measured now" in found.serving_note
    # 120 and 300 MB: the first tier cannot hold the package, so it cannot serve it.
    assert [tier.can_serve for tier in found.tiers] == [False, True]


def test_tiers_that_are_not_those_of_the_settings_are_one_clear_line(tiny: TinyWorld):
    run = run_folder(tiny, PRESET)
    with pytest.raises(DataError, match=r"has the tiers \['low', 'high'\].*build the world again"):
        describe_world(run, Path("no-cache"))


def test_synthetic_devices_are_compared_with_the_users_of_the_run(tmp_path, monkeypatch):
    run = run_folder(build_tiny_synthetic_world(tmp_path), renamed(PRESET))
    monkeypatch.setattr(world_description, "prepare_data", lambda *arguments: made_up())
    found = describe_world(run, tmp_path).fidelity
    assert found is not None
    assert (found.num_users, found.num_devices) == (NUM_DEVICES, NUM_DEVICES)
    assert [aspect.name for aspect in found.aspects][-1] == "hour of the week"
    assert len(found.not_captured) == 5
    without = describe_world(run, tmp_path, fidelity=False)
    assert without.fidelity is None and without.fidelity_note == "Left out, as asked."


def test_other_data_than_the_world_was_fitted_on_is_refused(tmp_path, monkeypatch):
    run = run_folder(build_tiny_synthetic_world(tmp_path), renamed(PRESET))
    parts = made_up()
    parts.interactions.items.drop(index=59, inplace=True)
    monkeypatch.setattr(world_description, "prepare_data", lambda *arguments: parts)
    with pytest.raises(DataError, match=r"the data has 59 items, the world 60.*--no-fidelity"):
        describe_world(run, tmp_path)


# --- curves ---------------------------------------------------------------------------------------
def people(count: int, timed: bool = True) -> People:
    rng = np.random.default_rng(count)
    items = [rng.choice(30, int(rng.integers(2, 12)), replace=False) for _ in range(count)]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in items])])
    hours = rng.integers(0, 168, offsets[-1]).astype(np.uint8)
    histories = Histories(offsets, np.concatenate(items).astype(np.int32))
    return People(histories, hours if timed else None)


def test_curves_are_sums_that_end_at_everybody():
    shown = summarize(compare_people(people(40), people(60), 30, 0))
    for curves in (shown.lengths, shown.popularity, shown.entropies):
        assert [curve.label for curve in curves] == ["real users", "synthetic devices"]
        for curve in curves:
            heights = [y for _, y in curve.points]
            assert heights == sorted(heights) and len(curve.points) <= 48
        assert curves[0].points[-1][1] == pytest.approx(1.0)
    assert len(shown.hours[0].points) == 168
    level = shown.lifts[0].points
    assert len(level) == 12 and all(x == y for x, y in level)
    assert shown.aspects[3].higher_is_closer and not shown.aspects[0].higher_is_closer


def test_people_without_times_have_no_curve_of_hours():
    shown = summarize(compare_people(people(40, timed=False), people(60), 30, 0))
    assert shown.hours == () and "hour of the week" not in {each.name for each in shown.aspects}


def test_places_grow_and_end_where_they_should():
    assert growing_places(1).tolist() == [1, 2]
    places = growing_places(5_000)
    assert places[0] == 1 and places[-1] == 5_000 and len(places) <= 48
    assert (np.diff(places) > 0).all()
