from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.recommender_training import train_cohort, train_devices, train_one_device
from clients.shard import DeviceShard
from models.errors import EngineError, SettingsError
from models.recommender import parameter_layout, trained_names
from tests.tiny_world import NUM_DEVICES, NUM_ITEMS, RECOMMENDER, SEED, TEXT_DIM, TinyWorld


@pytest.mark.parametrize("num_negatives", [0, 1, 9])
@pytest.mark.parametrize("read_private_text", [True, False])
def test_one_device_in_a_loop_equals_the_same_device_in_a_block(
    tiny: TinyWorld, num_negatives: int, read_private_text: bool
):
    shard = tiny.shard(read_private_text=read_private_text)
    rows = np.arange(NUM_DEVICES)
    task = tiny.task([], num_negatives=num_negatives)
    together = train_devices(shard, rows, tiny.parameters(), task, RECOMMENDER, SEED)
    for row in rows:
        alone = train_one_device(shard, row, tiny.parameters(), task, RECOMMENDER, SEED)
        np.testing.assert_allclose(together.updates.each()[row], alone.updates.each()[0], atol=1e-5)
        taste = alone.personal.taste[0]
        np.testing.assert_allclose(together.personal.taste[row], taste, atol=1e-5)
        np.testing.assert_allclose(together.updates.losses[row], alone.updates.losses[0], atol=1e-5)


def test_updates_are_worth_comparing(tiny: TinyWorld):
    """The test above would pass on zeros: training must move every kind of parameter."""
    shard, task = tiny.shard(), tiny.task([])
    trained = train_devices(shard, np.arange(1, 9), tiny.parameters(), task, RECOMMENDER, SEED)
    for name, moved in tiny.layout.unflatten(trained.updates.each().abs().sum(dim=0)).items():
        assert moved.max() > 1e-4, name
    assert (trained.personal.taste - torch.tensor(shard.taste[1:9])).abs().max() > 1e-4


@pytest.mark.parametrize("trained", ["head", "head+bias", "low-rank", "adapter", "gated-mix"])
def test_what_is_not_trained_is_neither_moved_nor_sent(tiny: TinyWorld, trained: str):
    """The definition and the block agree on a part as on the whole, and send nothing else."""
    shape = RECOMMENDER.model_copy(update={"low_rank": 2, "adapter": 3, "gated": True})
    layout = parameter_layout(shape, NUM_ITEMS, TEXT_DIM)
    rng = torch.Generator().manual_seed(5)
    start = {
        name: 0.3 * torch.randn(tensor.shape, generator=rng)
        for name, tensor in layout.zeros().items()
    }
    names = trained_names(layout, trained)
    shard, rows = tiny.shard(), np.arange(12)
    task = replace(
        tiny.task(rows.tolist(), trained=trained, clip_norm=1e6, proximal=0.2),
        parameters=layout.flatten(start).numpy(),
    )
    together = train_devices(shard, rows, start, task, shape, SEED).updates.each()
    assert together.shape == (12, layout.only(names).size)
    for row in rows:
        alone = train_one_device(shard, row, start, task, shape, SEED).updates.each()[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5)
    for name, moved in layout.only(names).unflatten(together.abs().sum(dim=0)).items():
        assert moved.max() > 1e-5, name
    reply = train_cohort(shard, task, shape, SEED, noise_seed=SEED)
    np.testing.assert_allclose(reply.update_sum, together.double().sum(dim=0), atol=1e-5)


def test_bfloat16_is_near(tiny: TinyWorld):
    shard, rows = tiny.shard(), np.arange(1, 20)
    found = {
        precision: train_devices(
            shard,
            rows,
            tiny.parameters(),
            tiny.task(rows.tolist(), precision=precision),
            RECOMMENDER,
            SEED,
        ).updates.each()
        for precision in ("fp32", "bf16")
    }
    apart = (found["bf16"] - found["fp32"]).norm(dim=1) / found["fp32"].norm(dim=1)
    assert 0 < apart.max() < 0.02


def test_feddyn_keeps_its_duals_on_the_phone(tiny: TinyWorld):
    """Two rounds: the block follows the definition, and a dual is what was moved, clipped."""
    path = tiny.folder / "with-duals.npy"
    rng = np.random.default_rng(3)
    kept = rng.normal(0, 0.01, (NUM_DEVICES, RECOMMENDER.dim + tiny.layout.size))
    np.save(path, kept.astype(np.float32))
    shard = DeviceShard.open(tiny.world, tiny.phones, path, taste_size=RECOMMENDER.dim)
    rows = [3, 4, 9]
    task = tiny.task(rows, dynamic=True, proximal=0.4, clip_norm=0.3)
    start = tiny.parameters()
    together = train_devices(shard, np.array(rows), start, task, RECOMMENDER, SEED)
    for place, row in enumerate(rows):
        alone = train_one_device(shard, row, start, task, RECOMMENDER, SEED)
        update = alone.updates.each()[0]
        np.testing.assert_allclose(together.updates.each()[place], update, atol=1e-5)
        clipped = update * min(1.0, 0.3 / float(update.norm()))
        dual = kept[row, RECOMMENDER.dim :] - 0.4 * clipped.numpy()
        np.testing.assert_allclose(together.duals[place], dual, atol=1e-5)
    train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED)
    shard.personal.settle(1)
    np.testing.assert_allclose(shard.duals[rows], together.duals, atol=1e-6)
    assert shard.taste.shape == (NUM_DEVICES, RECOMMENDER.dim)


def test_a_part_that_the_recommender_does_not_have_is_refused(tiny: TinyWorld):
    with pytest.raises(SettingsError, match="has no adapter_in, adapter_out: set recommender"):
        train_cohort(
            tiny.shard(), tiny.task([1], trained="adapter"), RECOMMENDER, SEED, noise_seed=SEED
        )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, NUM_DEVICES - 1), min_size=1, max_size=6, unique=True),
    padding=st.lists(st.integers(0, NUM_DEVICES - 1), min_size=1, max_size=6, unique=True),
)
def test_company_in_a_block_changes_nothing(tiny: TinyWorld, rows: list[int], padding: list[int]):
    """Other devices in the block pad histories to other lengths; no device may notice."""
    shard, task = tiny.shard(), tiny.task([])
    more = rows + [row for row in padding if row not in rows]
    few = train_devices(shard, np.array(rows), tiny.parameters(), task, RECOMMENDER, SEED)
    many = train_devices(shard, np.array(more), tiny.parameters(), task, RECOMMENDER, SEED)
    np.testing.assert_allclose(few.updates.each(), many.updates.each()[: len(rows)], atol=1e-6)


def test_a_device_with_one_event_has_nothing_to_learn(tiny: TinyWorld):
    shard = tiny.shard()
    trained = train_devices(
        shard, np.array([0]), tiny.parameters(), tiny.task([]), RECOMMENDER, SEED
    )
    assert trained.updates.losses[0] == 0.0
    assert trained.updates.each().abs().max() == 0.0


@pytest.mark.parametrize("block_bytes", [1, 12_000, 10**6])
def test_a_cohort_is_the_sum_of_its_clipped_devices(tiny: TinyWorld, block_bytes: int):
    cohort = [3, 5, 8, 13, 21, 34, 1, 2]
    task = tiny.task(cohort, block_bytes=block_bytes)
    reply = train_cohort(tiny.shard(), task, RECOMMENDER, SEED, noise_seed=SEED)
    expected = np.zeros(tiny.layout.size)
    clipped = 0
    for row in cohort:
        alone = (
            train_one_device(tiny.shard(), row, tiny.parameters(), task, RECOMMENDER, SEED)
            .updates.each()[0]
            .double()
        )
        norm = float(alone.norm())
        clipped += norm > task.training.clip_norm
        expected += (alone * min(1.0, task.training.clip_norm / norm)).numpy()
    np.testing.assert_allclose(reply.update_sum, expected, atol=1e-5)
    assert (reply.num_devices, reply.num_clipped) == (len(cohort), clipped)
    assert reply.update_sum.dtype == np.float64


def test_personal_parameters_are_kept_on_the_phone(tiny: TinyWorld):
    shard = tiny.shard()
    before = np.array(shard.taste)
    train_cohort(shard, tiny.task([4, 9]), RECOMMENDER, SEED, noise_seed=SEED)
    np.testing.assert_array_equal(np.load(tiny.folder / "taste.npy"), before)  # not yet
    shard.personal.settle(1)
    after = np.load(tiny.folder / "taste.npy")
    moved = np.flatnonzero(np.abs(after - before).max(axis=1) > 0)
    assert moved.tolist() == [4, 9]


def test_a_phone_that_diverges_sends_nothing_and_keeps_its_personal_parameters(tiny: TinyWorld):
    shard = tiny.shard()
    before = np.array(shard.taste)
    task = tiny.task([4, 9], local_epochs=8, rate=100.0, personal_rate=100.0)
    reply = train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED)
    assert (reply.num_devices, reply.num_refused) == (0, 2) and not reply.update_sum.any()
    shard.personal.settle(1)
    np.testing.assert_array_equal(np.load(tiny.folder / "taste.npy"), before)


def test_training_with_no_local_targets_never_reads_the_held_out_item(tiny: TinyWorld):
    """Swap all held-out items: nothing that training sends may change."""
    task = tiny.task(list(range(NUM_DEVICES)), num_negatives=5)
    before = train_cohort(tiny.shard(), task, RECOMMENDER, SEED, noise_seed=SEED)
    held_out = np.load(tiny.world / "held_out.npy")
    np.save(tiny.world / "held_out.npy", np.roll(held_out, 7))
    after = train_cohort(tiny.shard(), task, RECOMMENDER, SEED, noise_seed=SEED)
    np.testing.assert_array_equal(before.update_sum, after.update_sum)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU")
@pytest.mark.parametrize("num_negatives", [0, 8])
def test_a_gpu_trains_the_same(tiny: TinyWorld, num_negatives: int):
    task = tiny.task(list(range(1, 30)), num_negatives=num_negatives)
    there = replace(task, training=task.training.model_copy(update={"processor": "cuda"}))
    ours = train_cohort(tiny.shard(), task, RECOMMENDER, SEED, noise_seed=SEED)
    theirs = train_cohort(tiny.shard(), there, RECOMMENDER, SEED, noise_seed=SEED)
    np.testing.assert_allclose(theirs.update_sum, ours.update_sum, atol=1e-5)
    assert theirs.num_clipped == ours.num_clipped


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(tiny: TinyWorld):
    task = tiny.task([1])
    there = replace(task, training=task.training.model_copy(update={"processor": "cuda"}))
    with pytest.raises(EngineError, match=r'processor is "cuda", and torch finds no such GPU'):
        train_cohort(tiny.shard(), there, RECOMMENDER, SEED, noise_seed=SEED)
