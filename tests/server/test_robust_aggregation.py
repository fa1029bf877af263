"""Every combination against its definition in a loop; liars do not decide where they must not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import clients.app
import clients.recommender_training
from models.errors import SettingsError
from server.aggregation_settings import AggregationSettings
from server.history import History
from server.robust_aggregation import (
    combined,
    coordinate_median,
    krum,
    mean,
    multi_krum,
    trimmed_mean,
)
from server.settings import Federation
from simulation.engines.inline import run_inline
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation

ROWS = hnp.arrays(
    "float64",
    st.tuples(st.integers(5, 12), st.integers(1, 4)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


@given(rows=ROWS, share=st.floats(0, 0.49))
def test_the_trimmed_mean_leaves_out_both_ends_of_each_coordinate(rows, share):
    cut = int(share * len(rows))
    slow = [np.mean(sorted(column)[cut : len(rows) - cut]) for column in rows.T]
    np.testing.assert_allclose(trimmed_mean(rows, share), slow, atol=1e-9)


@given(rows=ROWS)
def test_the_median_has_as_many_above_as_below(rows):
    for value, column in zip(coordinate_median(rows), rows.T, strict=True):
        assert (column <= value).sum() >= len(column) / 2
        assert (column >= value).sum() >= len(column) / 2


def krum_scores(rows: np.ndarray, num_malicious: int) -> np.ndarray:
    """Blanchard et al.: squared distances to the n - f - 2 nearest others, added up."""
    scores = []
    for one in range(len(rows)):
        apart = sorted(
            float(((rows[one] - rows[other]) ** 2).sum())
            for other in range(len(rows))
            if other != one
        )
        scores.append(sum(apart[: len(rows) - num_malicious - 2]))
    return np.array(scores)


@pytest.mark.parametrize("seed", range(5))
def test_krum_takes_the_update_that_its_definition_names(seed: int):
    rows = np.random.default_rng(seed).normal(size=(11, 6))
    order = np.argsort(krum_scores(rows, 3))
    np.testing.assert_allclose(krum(rows, 3), rows[order[0]])
    np.testing.assert_allclose(multi_krum(rows, 3, 4), rows[order[:4]].mean(axis=0))
    np.testing.assert_allclose(multi_krum(rows, 3, 11), mean(rows))


@pytest.mark.parametrize(
    "combine",
    [
        lambda rows: trimmed_mean(rows, 0.3),
        coordinate_median,
        lambda rows: krum(rows, 3),
        lambda rows: multi_krum(rows, 3, 5),
    ],
)
@given(lie=st.floats(1e3, 1e6))
def test_three_liars_of_eleven_do_not_leave_the_honest_range(combine, lie):
    honest = np.random.default_rng(0).normal(size=(8, 5))
    rows = np.concatenate([honest, np.full((3, 5), lie)])
    found = combine(rows)
    assert (found <= honest.max(axis=0) + 1e-9).all()
    assert (found >= honest.min(axis=0) - 1e-9).all()
    assert mean(rows).min() > 100


def test_float32_updates_are_compared_in_float64():
    """A small difference between long updates: squares in float32 would round it away."""
    rows = np.full((7, 3), 1000.0, np.float32)
    rows[:, 0] += np.array([0.0, 0.01, 0.02, 0.03, 5.0, 6.0, 7.0], np.float32)
    assert krum(rows, 2)[0] < 1000.1


def test_too_few_devices_for_krum_are_refused():
    with pytest.raises(SettingsError, match="needs 9 updates or more, this round has 8"):
        krum(np.zeros((8, 2)), 3)


@pytest.mark.parametrize("rule", ["mean", "trimmed-mean", "median", "krum", "multi-krum"])
def test_every_rule_leaves_honest_devices_that_agree_alone(rule):
    settings = AggregationSettings(rule=rule, feared_share=0.3)
    for count in (3, 4, 10):
        np.testing.assert_allclose(combined(np.full((count, 2), 0.5), settings), [0.5, 0.5])
    assert combined(np.ones((2, 2)), settings) is None


@pytest.mark.parametrize("rule", ["trimmed-mean", "median", "krum", "multi-krum"])
@pytest.mark.parametrize("poison", [1e6, -1e6])
def test_a_fifth_of_liars_moves_a_mean_and_nothing_else(rule, poison):
    rows = np.random.default_rng(1).normal(0, 1, (20, 30))
    rows[:4] = poison
    settings = AggregationSettings(rule=rule, feared_share=0.25)
    moved = combined(rows, settings)
    assert moved is not None and np.abs(moved).max() < 4
    assert np.abs(combined(rows, settings.model_copy(update={"rule": "mean"}))).min() > 1e5


def test_a_run_of_single_devices_withstands_a_liar(tiny: TinyWorld, monkeypatch):
    """Through the whole strategy: node 3 sends the largest update that clipping lets through."""
    honest = clients.recommender_training.train_cohort

    def lying(shard, task, *others, **more):
        reply = honest(shard, task, *others, **more)
        if 3 not in task.device_ids:
            return reply
        return replace(reply, update_sum=np.full_like(reply.update_sum, 1e3))

    monkeypatch.setattr(clients.recommender_training, "train_cohort", lying)
    moved = {}
    for rule in ("mean", "median"):
        aggregation = AggregationSettings(rule=rule, feared_share=0.1)
        settings = single_devices(aggregation=aggregation)
        folder = tiny.prepare_run(rule, settings)
        run_inline(folder, NUM_DEVICES)
        start = np.load(folder / "initial.npy")
        moved[rule] = float(np.abs(History(folder).read_final() - start).max())
    assert moved["mean"] > 10 > 1 > moved["median"]


def single_devices(**changes: object) -> Federation:
    """Every device of the tiny world is a node, and all are in each round."""
    usual = federation(NUM_DEVICES, rounds=1, name="fedavg")
    optimizer = usual.optimizer.model_copy(update={"rate": 1.0})
    return usual.model_copy(update={"optimizer": optimizer, "cohort_size": NUM_DEVICES} | changes)


@pytest.mark.parametrize(
    ("section", "value", "reason"),
    [
        ("secure_sum", {"enabled": True}, "compares single updates, and a secure sum is there"),
        ("privacy", {"mechanism": "central", "noise_multiplier": 1.0}, "how far it moves the krum"),
        ("schedule", {"mode": "buffered", "concurrency": 4}, "a stale update"),
    ],
)
def test_a_rule_that_looks_at_single_updates_is_refused_where_there_are_none(
    section: str, value: dict[str, object], reason: str
):
    asked = single_devices().model_dump()
    asked["aggregation"] = {"rule": "krum", "feared_share": 0.1}
    asked[section] |= value
    with pytest.raises(ValueError, match=reason):
        Federation.model_validate(asked)


def test_a_node_of_several_devices_is_refused(tiny: TinyWorld):
    krum_rule = AggregationSettings(rule="krum", feared_share=0.1)
    shared = single_devices(aggregation=krum_rule).model_copy(update={"num_nodes": 7})
    with pytest.raises(SettingsError, match="of up to 6 devices"):
        tiny.prepare_run("shared", shared)
