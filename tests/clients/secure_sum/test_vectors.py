"""What a node hides: the sum of its devices' integers, beside real masks between phones."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clients.local_evaluation import evaluate_devices, evaluated_blocks
from clients.local_training import LocalUpdates
from clients.protocol.messages import EvalTask, TrainTask, UpdatePrivacy
from clients.protocol.secure_sum.quantisation import Address
from clients.protocol.secure_sum.questions import Terms
from clients.protocol.secure_sum.ring import Ring
from clients.protocol.secure_sum.tasks import MetricVector, Rounding, train_reply
from clients.recommender_training import num_trained, train_cohort, trained_blocks
from clients.secure_sum.vectors import vector_of_metrics, vector_of_updates
from simulation.engines.masked_sum import MaskedSum
from tests.tiny_world import NUM_DEVICES, RECOMMENDER, SEED, TIERS, TinyWorld

DIM, CLIP = 12, 0.5
ROUNDING = Rounding(bits=24, levels=5000, rotated=False, noise_variance=3.0)


def made_up(updates: NDArray[np.float32], at_a_time: int) -> Iterator[tuple[NDArray, LocalUpdates]]:
    """Updates as training would hand them over, some devices at a time."""
    for start in range(0, len(updates), at_a_time):
        rows = torch.from_numpy(updates[start : start + at_a_time])
        ids = np.arange(start, start + len(rows))
        yield (
            ids,
            LocalUpdates(
                torch.zeros(len(rows)), rows.norm(dim=1), lambda w, r=rows: w @ r, lambda r=rows: r
            ),
        )


def task(tiny: TinyWorld, devices: list[int], privacy: UpdatePrivacy | None = None) -> TrainTask:
    made = tiny.task(devices, clip_norm=CLIP)
    return made if privacy is None else TrainTask(*_fields(made), privacy)


def _fields(made: TrainTask) -> tuple:
    return made.parameters, made.device_ids, made.round_number, made.training


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    num_devices=st.integers(2, 8),
    rotated=st.booleans(),
    at_a_time=st.integers(1, 8),
    data=st.data(),
)
def test_masks_between_phones_change_nothing(tiny, num_devices, rotated, at_a_time, data):
    """The slow truth: every phone masks its own integers, some are lost; the node adds integers."""
    rounding = ROUNDING.model_copy(update={"rotated": rotated})
    updates = np.random.default_rng(num_devices).normal(0, 0.2, (num_devices, DIM))
    updates = updates.astype(np.float32)
    one = task(tiny, list(range(num_devices)))
    ring, length = Ring(rounding.bits), rounding.length(DIM, one.privacy)
    lost = data.draw(
        st.dictionaries(
            st.integers(0, num_devices - 1),
            st.sampled_from(["keys", "shares", "vectors", "unmasking"]),
            max_size=(num_devices - 1) // 2,
        )
    )

    def vector_of(devices: list[int], together: int) -> NDArray[np.int64]:
        total = np.zeros(length, np.int64)
        for ids, block in made_up(updates, together):
            inside = np.isin(ids, devices)
            rows = block.rows()[torch.from_numpy(inside)]
            cut = LocalUpdates(
                rows[:, 0], rows.norm(dim=1), lambda w, r=rows: w @ r, lambda r=rows: r
            )
            total += vector_of_updates([(ids[inside], cut)], one, rounding, DIM, SEED)
        return total

    phones = {device: ring.wrap(vector_of([device], num_devices)) for device in range(num_devices)}
    terms = Terms(bytes(32), rounding.bits, length, num_devices, 0, 0.51, 1)
    played = MaskedSum(terms, phones, dict.fromkeys(phones, 1), lost)
    unmasked = played.play()
    fast = vector_of(list(unmasked.parties), at_a_time)
    np.testing.assert_array_equal(ring.centred(unmasked.total), fast)
    assert set(phones) - set(unmasked.parties) == {d for d, s in lost.items() if s != "unmasking"}


@pytest.mark.parametrize("num_negatives", [0, 5])
@pytest.mark.parametrize("trained", ["all", "head+bias"])
def test_rows_are_the_updates_that_a_sum_is_made_of(tiny, num_negatives: int, trained: str):
    """Laid out block by block, and one by one out of weighted sums, the slow way."""
    asked = tiny.task(list(range(20)), num_negatives=num_negatives, trained=trained)
    for ids, block in trained_blocks(tiny.shard(), asked, RECOMMENDER, SEED):
        assert block.rows().shape == (len(ids), num_trained(tiny.shard(), asked, RECOMMENDER))
        torch.testing.assert_close(block.rows(), block.each(), atol=1e-7, rtol=1e-5)


def test_a_hidden_sum_of_training_is_the_open_one_within_its_steps(tiny: TinyWorld):
    """Through train_cohort: each number within one step for each device, and the counts exactly."""
    asked = task(tiny, list(range(30)))
    rounding = ROUNDING.model_copy(update={"noise_variance": 0.0})
    shard = tiny.shard()
    dim = num_trained(shard, asked, RECOMMENDER)
    vector = vector_of_updates(
        trained_blocks(shard, asked, RECOMMENDER, SEED), asked, rounding, dim, SEED
    )
    at = Address(SEED, asked.round_number)
    found = train_reply(vector, 30, dim, rounding, asked.privacy, CLIP, at)
    exact = train_cohort(tiny.shard(), asked, RECOMMENDER, SEED, noise_seed=SEED)
    step = CLIP / rounding.levels
    assert np.abs(found.update_sum - exact.update_sum).max() <= 30 * step + 1e-5
    for count in ("num_devices", "num_clipped", "num_refused"):
        assert getattr(found, count) == getattr(exact, count)
    assert exact.num_clipped > 0


def test_counts_that_must_not_leave_are_not_in_the_vector(tiny: TinyWorld):
    private = UpdatePrivacy(hidden=True, count_unclipped=False, local_noise_multiplier=0)
    adaptive = UpdatePrivacy(hidden=True, count_unclipped=True, local_noise_multiplier=0)
    assert ROUNDING.length(DIM, private) == DIM
    updates = np.stack([np.full(DIM, 0.01), np.full(DIM, 9.0), np.full(DIM, np.nan)])
    blocks = list(made_up(updates.astype(np.float32), 2))
    vector = vector_of_updates(blocks, task(tiny, [0, 1, 2], adaptive), ROUNDING, DIM, SEED)
    assert vector[DIM:].tolist() == [1]
    open_vector = vector_of_updates(blocks, task(tiny, [0, 1, 2]), ROUNDING, DIM, SEED)
    assert open_vector[DIM:].tolist() == [1, 1]  # one clipped, one refused


def test_sensitivity_of_the_integers(tiny: TinyWorld):
    """Zeros in place of one device's update move the sum by at most D2 and D1, noise in both."""
    rng = np.random.default_rng(5)
    quantiser = ROUNDING.model_copy(update={"levels": 30}).quantiser(DIM)
    rounding = ROUNDING.model_copy(update={"levels": 30})
    private = UpdatePrivacy(hidden=True, count_unclipped=False, local_noise_multiplier=0)
    for scale in (1e-3, 0.1, 1e6):
        updates = rng.normal(0, scale, (6, DIM)).astype(np.float32)
        without = updates.copy()
        without[3] = 0.0
        asked = task(tiny, list(range(6)), private)
        one, other = (
            vector_of_updates(made_up(each, 4), asked, rounding, DIM, SEED)
            for each in (updates, without)
        )
        moved = one - other
        assert moved @ moved <= quantiser.norm_bound_squared
        assert np.abs(moved).sum() <= quantiser.l1_bound


def test_the_noise_of_a_sum_has_the_stated_variance(tiny: TinyWorld):
    """Zero updates of 20 devices: what comes out is their noise, 20 shares of it."""
    updates = np.zeros((20, 5000), np.float32)
    private = UpdatePrivacy(hidden=True, count_unclipped=False, local_noise_multiplier=0)
    asked = task(tiny, list(range(20)), private)
    noise = vector_of_updates(made_up(updates, 20), asked, ROUNDING, 5000, SEED)
    variance = 20 * ROUNDING.noise_variance
    spread = variance * np.sqrt((2 + 1 / variance) / 5000)
    assert abs(noise.var() - variance) < 5 * spread
    assert abs(noise.mean()) < 5 * np.sqrt(variance / 5000)


def test_hidden_metrics_are_the_open_ones_within_a_level(tiny: TinyWorld):
    shard = tiny.shard()
    flat = tiny.layout.flatten(tiny.parameters()).numpy()
    asked = EvalTask(flat, np.arange(NUM_DEVICES), 0, 1 << 20)
    layout = MetricVector.of(tuple(tier.name for tier in TIERS.tiers), NUM_DEVICES)
    at = Address(SEED, 0)
    whole = evaluated_blocks(shard, asked, RECOMMENDER, SEED)
    vector = vector_of_metrics(whole, shard, layout, at)
    found, exact = layout.reply(vector), evaluate_devices(shard, asked, RECOMMENDER, SEED)
    assert found.sums.keys() == exact.sums.keys()
    for key, sums in exact.sums.items():
        assert found.sums[key].num_users == sums.num_users
        for metric, value in sums.sums.items():
            assert abs(found.sums[key].sums[metric] - value) <= sums.num_users / layout.levels
    parts = np.zeros(layout.length, np.int64)
    for partition in range(4):
        some = tiny.shard(partition, 4)
        mine = EvalTask(flat, np.empty(0, np.int64), 0, 1 << 12)
        blocks = evaluated_blocks(some, mine, RECOMMENDER, SEED)
        parts += vector_of_metrics(blocks, some, layout, at)
    np.testing.assert_array_equal(parts, vector)
