"""Somebody's own model through a whole run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import SettingsError
from server.history import History
from simulation.data.interactions import Interactions
from simulation.experiments.own_model import OwnRun, federate_own
from simulation.settings import Settings, load_settings
from tests.own_models import ForgetsPadding, Mean
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, TIERS, federation, made_up_split, private


def settings(**changes: object) -> Settings:
    base = load_settings("quickstart")
    return base.model_copy(
        update={"seed": 7, "world": TIERS, "federation": federation(rounds=3)} | changes
    )


def data() -> Interactions:
    return made_up_split().interactions


def run(**changes: object) -> OwnRun:
    return federate_own(Mean(), data(), settings(**changes))


def largest_difference(one: OwnRun, other: OwnRun) -> float:
    return max(
        float((one.parameters[name] - other.parameters[name]).abs().max())
        for name in one.parameters
    )


def test_a_run_is_a_history_parameters_and_a_value_for_each_user():
    found = run()
    assert [row["round_number"] for row in found.rounds] == [0, 1, 2, 3]
    first = found.rounds[1]
    assert first["num_reported"] + first["num_dropped"] + first["num_late"] == 15
    assert first["num_reported"] > 0 and first["num_refused"] == 0 and first["update_norm"] > 0
    start = Mean().start(NUM_ITEMS, 7)
    assert all(not torch.equal(start[name], found.parameters[name]) for name in start)
    assert found.users.tolist() == list(range(1, NUM_DEVICES))  # user 0 has a single event
    for protocol, mine in (("full", found.values), ("sampled-99", found.sampled)):
        for name, values in mine.items():  # what phones said in sums, and what a referee sees
            assert values.shape == found.users.shape
            assert found.rounds[-1]["metrics"][protocol][name] == pytest.approx(values.mean())


@pytest.mark.parametrize("num_nodes", [3, 8])
def test_the_number_of_nodes_changes_nothing(num_nodes: int):
    one, more = run(), run(federation=federation(num_nodes, rounds=3))
    assert largest_difference(one, more) < 1e-5
    for name, values in one.values.items():
        np.testing.assert_allclose(values, more.values[name], atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    one, again, other = run(), run(), run(seed=8)
    assert largest_difference(one, again) == 0.0
    assert largest_difference(one, other) > 0.0


def test_a_private_run_spends_and_hides():
    found = run(federation=private(2))
    assert found.rounds[-1]["epsilon"] > 0
    assert found.rounds[-1]["loss"] is None


def test_the_history_is_left_where_it_was_asked_for(tmp_path: Path):
    federate_own(Mean(), data(), settings(), tmp_path)
    found = federate_own(Mean(), data(), settings(), tmp_path)  # an older run is replaced
    assert History(tmp_path).is_whole() and History(tmp_path).rows() == found.rounds


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("split", {"cold_items": 0.2}, "split.cold_items is for the product's own .* to 0"),
        ("population", {"devices": 50}, "population.devices"),
    ],
)
def test_what_it_cannot_do_is_refused(section: str, change: dict[str, object], says: str):
    base = settings()
    wrong = getattr(base, section).model_copy(update=change)
    with pytest.raises(SettingsError, match=says):
        run(**{section: wrong})


@pytest.mark.parametrize(
    ("change", "says"),
    [({"trained": "head"}, 'set it to "all"'), ({"processor": "cuda"}, 'set it to "cpu"')],
)
def test_training_that_is_the_products_alone_is_refused(change: dict[str, str], says: str):
    base = federation()
    training = base.training.model_copy(update=change)
    with pytest.raises(SettingsError, match=says):
        run(federation=base.model_copy(update={"training": training}))


def test_a_model_that_would_learn_from_padding_never_starts(tmp_path: Path):
    with pytest.raises(SettingsError, match="changes when a history is padded"):
        federate_own(ForgetsPadding(), data(), settings(), tmp_path)
    assert not list(tmp_path.iterdir())
