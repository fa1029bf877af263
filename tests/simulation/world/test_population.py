"""A synthetic population is like the users it was fitted on, and is written as a world."""

import numpy as np
import pytest

from clients.shard import DeviceShard, WorldManifest, column, private_texts
from models.errors import DataError
from models.histories import Histories
from models.seeds import generator
from server.history import History
from simulation.data.interactions import Columns
from simulation.engines.inline import run_inline
from simulation.world import population as module
from simulation.world.build import pooled_histories
from simulation.world.devices import tiers_of
from simulation.world.population import (
    FittedPopulation,
    PopulationSettings,
    build_population,
    fit_population,
    hour_of_week,
)
from tests.tiny_world import (
    NUM_DEVICES,
    NUM_ITEMS,
    POPULATION,
    SEED,
    TIERS,
    build_tiny_synthetic_world,
    federation,
    made_up_split,
)

HOUR = 3600
MONDAY = 4 * 24 * HOUR  # 1970-01-05


def made_up_pool(num_users: int = 120, num_items: int = 80) -> Histories:
    """Two crowds with films of their own, a few of which nearly everybody has seen."""
    rng = generator(SEED, "made-up pool")
    popular = 1.0 / np.arange(1, num_items + 1) ** 1.3
    chosen = []
    for user in range(num_users):
        likes = popular * np.where(np.arange(num_items) % 2 == user % 2, 1.0, 0.05)
        wanted = int(rng.integers(3, 26))
        chosen.append(rng.choice(num_items, wanted, replace=False, p=likes / likes.sum()))
    lengths = [len(items) for items in chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(offsets, np.concatenate(chosen).astype(np.int32))


def fit(pool: Histories, times_s: np.ndarray | None = None, **changes: float) -> FittedPopulation:
    settings = PopulationSettings(
        **{
            "devices": 500,
            "topics": 4,
            "iterations": 20,
            "tastes": 480,
            "activity_spread": 0.1,
            "corrections": 5,
            "correction_devices": 2_000,
            **changes,
        }
    )
    times_s = np.full(len(pool.items), MONDAY) if times_s is None else times_s
    return fit_population(pool, times_s, 80, settings, SEED)


def shares(pool: Histories) -> np.ndarray:
    return np.bincount(pool.items, minlength=80) / len(pool.items)


def histories_of(fitted: FittedPopulation, num_devices: int = 2_000) -> Histories:
    events = fitted.events(num_devices, 0.1, SEED)
    return events.cut(np.arange(num_devices))[0]


# --- what it is like ------------------------------------------------------------------------------
def test_popularity_follows_the_source_better_when_it_is_corrected():
    pool = made_up_pool()
    wrong = [
        np.abs(shares(histories_of(fit(pool, corrections=rounds))) - shares(pool)).sum() / 2
        for rounds in (0, 5)
    ]
    assert wrong[1] < 0.6 * wrong[0]
    assert wrong[1] < 0.05


def test_people_are_as_active_as_in_the_source():
    pool = made_up_pool()
    real, synthetic = pool.lengths(), histories_of(fit(pool)).lengths()
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(synthetic, share) == pytest.approx(np.quantile(real, share), abs=1.5)


def test_tastes_keep_the_two_crowds_apart():
    pool = made_up_pool()

    def lean(histories: Histories) -> np.ndarray:
        """The share of each user's items that are odd."""
        users = np.repeat(np.arange(histories.num_users), histories.lengths())
        return np.bincount(users, histories.items % 2) / histories.lengths()

    synthetic = lean(histories_of(fit(pool)))
    assert np.std(synthetic) > 0.7 * np.std(lean(pool))  # with one topic: a third of it


def test_hours_are_those_of_the_source():
    pool = made_up_pool()
    odd = np.repeat(np.arange(pool.num_users), pool.lengths()) % 2
    times_s = MONDAY + HOUR * np.where(odd, 20, 30)
    fitted = fit(pool, times_s)
    events = fitted.events(400, 0.1, SEED)
    assert {*np.unique(events.hours(np.arange(400)))} == {20, 30}
    tastes = fitted.model.taste_of(np.arange(400), SEED)
    owner_is_odd = tastes % pool.num_users % 2 == 1
    first = np.cumsum(events.lengths(np.arange(400))) - events.lengths(np.arange(400))
    np.testing.assert_array_equal(events.hours(np.arange(400))[first] == 20, owner_is_odd)


def test_a_source_without_times_gives_a_population_without_hours():
    pool = made_up_pool(20)
    fitted = fit(pool, np.full(len(pool.items), -1))
    with pytest.raises(DataError, match="without times"):
        fitted.events(5, 0.1, SEED).hours(np.arange(5))


def test_the_week_begins_on_monday():
    assert hour_of_week(np.array([MONDAY, MONDAY - 1, MONDAY + 25 * HOUR])).tolist() == [0, 167, 25]


def test_what_real_users_held_out_is_never_looked_at():
    """With other held-out items everywhere the population is the same, to the bit."""
    parts = made_up_split()
    times_s = parts.train[Columns.TIME_S].to_numpy()
    fitted = fit_population(pooled_histories(parts), times_s, NUM_ITEMS, POPULATION, SEED)
    parts.held_out[:] = (parts.held_out + 7) % NUM_ITEMS
    again = fit_population(pooled_histories(parts), times_s, NUM_ITEMS, POPULATION, SEED)
    np.testing.assert_array_equal(again.model.topic_stay, fitted.model.topic_stay)
    np.testing.assert_array_equal(again.model.taste_stay, fitted.model.taste_stay)


def test_nobody_to_fit_on_is_one_clear_line():
    nobody = Histories(np.zeros(4, np.int64), np.zeros(0, np.int32))
    with pytest.raises(DataError, match="no user has a training event"):
        fit(nobody, np.zeros(0, np.int64))


# --- on disk ---------------------------------------------------------------------------------
def written(folder, devices: int, seed: int = SEED) -> WorldManifest:
    fitted = fit(made_up_pool(40), devices=devices, corrections=0)
    settings = POPULATION.model_copy(update={"devices": devices})
    return build_population(fitted, settings, TIERS, seed, folder)


def test_a_shard_of_the_world_has_what_was_fitted(tmp_path):
    tiny = build_tiny_synthetic_world(tmp_path)
    manifest = WorldManifest.read(tiny.world)
    assert (manifest.num_devices, manifest.num_items) == (NUM_DEVICES, NUM_ITEMS)
    assert (manifest.events, manifest.seed) == ("synthetic", SEED)
    whole, met = tiny.shard(), []
    for partition in range(3):
        shard = tiny.shard(partition, 3)
        assert isinstance(shard, DeviceShard) and shard.manifest == manifest
        rows = np.arange(shard.num_devices)
        ours, held_out = shard.events.cut(rows)
        theirs, their_items = whole.events.cut(rows + shard.first_device)
        np.testing.assert_array_equal(ours.items, theirs.items)
        np.testing.assert_array_equal(held_out, their_items)
        met += (rows + shard.first_device).tolist()
    assert met == list(range(NUM_DEVICES))
    np.testing.assert_array_equal(whole.tier, tiers_of(np.arange(NUM_DEVICES), TIERS, SEED))
    assert private_texts(tiny.world) == []


def test_the_same_seed_is_the_same_world_and_another_is_another(tmp_path):
    written(tmp_path / "first", 300)
    written(tmp_path / "again", 300)
    written(tmp_path / "other", 300, SEED + 1)
    for path in (tmp_path / "first").iterdir():
        same = (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
        assert same, path.name
    ours, theirs = (column(tmp_path / name, "num_events") for name in ("first", "other"))
    assert (ours != theirs).any()


def test_a_larger_population_keeps_the_first_devices(tmp_path):
    written(tmp_path / "small", 100)
    written(tmp_path / "large", 300)
    for name in ("tier", "num_events"):
        large = column(tmp_path / "large", name)
        np.testing.assert_array_equal(large[:100], column(tmp_path / "small", name))


def test_devices_are_written_in_blocks(tmp_path, monkeypatch):
    """So memory does not grow: never more than a block is in hand, and no device is lost."""
    written(tmp_path / "at-once", 300)
    monkeypatch.setattr(module, "DEVICES_AT_A_TIME", 64)
    asked, reported = [], []
    whole = FittedPopulation.num_events

    def num_events(self, device_ids, *rest):
        asked.append(len(device_ids))
        return whole(self, device_ids, *rest)

    fitted = fit(made_up_pool(40), devices=300, corrections=0)
    monkeypatch.setattr(FittedPopulation, "num_events", num_events)
    settings = POPULATION.model_copy(update={"devices": 300})

    def listen(what: str, done: int, total: int) -> None:
        reported.append((done, total))

    build_population(fitted, settings, TIERS, SEED, tmp_path / "in-blocks", listen)
    assert asked == [64, 64, 64, 64, 44]
    assert reported == [(64, 300), (128, 300), (192, 300), (256, 300), (300, 300)]
    for name in ("tier", "num_events"):
        at_once = column(tmp_path / "at-once", name)
        np.testing.assert_array_equal(column(tmp_path / "in-blocks", name), at_once)


def test_a_world_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    written(tmp_path / "world", 100)
    before = {path.name: path.read_bytes() for path in (tmp_path / "world").iterdir()}
    fitted = fit(made_up_pool(40), devices=200, corrections=0)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    settings = POPULATION.model_copy(update={"devices": 200})
    monkeypatch.setattr(module, "tiers_of", full)
    for name in ("world", "new"):
        with pytest.raises(DataError, match=f"cannot write the world .*{name}"):
            build_population(fitted, settings, TIERS, SEED, tmp_path / name)
    assert {path.name: path.read_bytes() for path in (tmp_path / "world").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_only_a_world_is_replaced(tmp_path):
    written(tmp_path / "world", 100)
    written(tmp_path / "world", 50)
    assert WorldManifest.read(tmp_path / "world").num_devices == 50
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="exists and is no world"):
        written(mine, 100)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


# --- trained by a fleet ----------------------------------------------------------------------
def test_the_number_of_nodes_changes_nothing_for_synthetic_devices(tmp_path):
    tiny, finals = build_tiny_synthetic_world(tmp_path), []
    for nodes in (1, 3, 8):
        folder = tiny.prepare_run(f"nodes-{nodes}", federation(nodes))
        run_inline(folder, nodes)
        finals.append(History(folder).read_final())
    start = np.load(tiny.folder / "nodes-1" / "initial.npy")
    assert np.abs(finals[0] - start).max() > 1e-3  # something was learned
    for final in finals[1:]:
        np.testing.assert_allclose(final, finals[0], atol=1e-5)
