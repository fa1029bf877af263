"""Cohorts of phones: sums of clipped updates, what stays, and that no shard changes a figure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.job import CitedMethod, DeviceJob
from clients.personal import PersonalStore
from clients.protocol.messages import TrainReply, TrainTask
from clients.recommenders.devices import RatingDevices
from clients.recommenders.evaluation import scored_blocks
from clients.recommenders.node import refuse_cited
from clients.recommenders.training import draw, rates_of, train_cohort
from models.errors import DataError, SettingsError
from models.recommenders import fcf, fedncf, fedrecon, pfedrec
from models.recommenders.methods import method_of
from tests.models.recommenders.made_up import METHODS, NUM_ITEMS, SEED, held_out, histories
from tests.tiny_world import RECOMMENDER, local_training

ONE = {"pfedrec": pfedrec, "fedncf": fedncf, "fedrecon": fedrecon, "fcf": fcf}
TRAINING = local_training(
    local_epochs=2, rate=0.3, personal_rate=0.4, clip_norm=1e6, num_negatives=4, block_bytes=4000
)


def devices(folder: Path, name: str, partition: int = 0, partitions: int = 1) -> RatingDevices:
    path = folder / "personal.npy"
    path.parent.mkdir(exist_ok=True)
    if not path.is_file():
        PersonalStore.create(path, 6, max(1, method_of(METHODS[name]).personal_size))
    own = histories()
    store = PersonalStore.open(path, 0, 6)
    return RatingDevices.partition(own, held_out(own), NUM_ITEMS, store, partition, partitions)


def task(name: str, ids: list[int], round_number: int = 1, **changes: float) -> TrainTask:
    method = method_of(METHODS[name])
    flat = method.layout(NUM_ITEMS).flatten(method.start(NUM_ITEMS, SEED)).numpy()
    training = TRAINING.model_copy(update=changes)
    return TrainTask(flat, np.array(ids), round_number, training)


@pytest.mark.parametrize("name", METHODS)
def test_a_cohort_is_the_sum_of_its_clipped_phones(name: str, tmp_path: Path):
    settings, method = METHODS[name], method_of(METHODS[name])
    node, cohort = devices(tmp_path, name), [0, 1, 3, 4, 5]
    negatives = 0 if method.is_dense else TRAINING.num_negatives
    rates, shared = rates_of(TRAINING), method.start(NUM_ITEMS, SEED)
    layout, updates, kept = method.layout(NUM_ITEMS), [], []
    for device in cohort:
        row = np.array([device])
        local = method.examples(draw(node, row, 1, negatives, settings, SEED), rates)
        batches = [local.batch(0, step) for step in range(local.num_steps)]
        own = method.personal_start(SEED, row)[0]
        moved, after = ONE[name].train_one(settings, shared, own, batches, rates, 6)
        updates.append(layout.flatten(moved).double().numpy())
        kept.append((after - own).numpy())
    norms = [float(np.linalg.norm(update)) for update in updates]
    clip_norm = float(np.mean(sorted(norms)[1:3]))
    reply = train_cohort(
        node, task(name, cohort, clip_norm=clip_norm), settings, SEED, noise_seed=SEED
    )
    expected = sum(
        update * min(1.0, clip_norm / norm) for update, norm in zip(updates, norms, strict=True)
    )
    np.testing.assert_allclose(reply.update_sum, expected, atol=1e-5)
    assert (reply.num_devices, reply.num_clipped) == (5, 3)
    if method.personal_size:
        node.personal.settle(1)
        np.testing.assert_allclose(node.personal.settled[cohort], kept, atol=1e-5)
        assert not node.personal.settled[2].any()


@pytest.mark.parametrize("block_bytes", [1, 10**7])
@pytest.mark.parametrize("partitions", [2, 6])
@pytest.mark.parametrize("name", METHODS)
def test_shards_and_blocks_change_nothing(
    name: str, partitions: int, block_bytes: int, tmp_path: Path
):
    settings = METHODS[name]
    whole = train_cohort(
        devices(tmp_path, name), task(name, [0, 1, 2, 4]), settings, SEED, noise_seed=SEED
    )
    total = TrainReply.nothing(len(whole.update_sum))
    for partition in range(partitions):
        node = devices(tmp_path / "shards", name, partition, partitions)
        mine = [d for d in (4, 2, 1, 0) if 0 <= d - node.first_device < node.histories.num_users]
        if mine:
            asked = task(name, mine, block_bytes=block_bytes)
            total = total + train_cohort(node, asked, settings, SEED, noise_seed=SEED)
    np.testing.assert_allclose(total.update_sum, whole.update_sum, atol=1e-5)
    assert total.num_devices == whole.num_devices == 4


@pytest.mark.parametrize("name", ["pfedrec", "fedncf"])
def test_what_stays_counts_in_the_next_round(name: str, tmp_path: Path):
    node, settings = devices(tmp_path, name), METHODS[name]
    train_cohort(node, task(name, [1, 4]), settings, SEED, noise_seed=SEED)
    assert not node.personal.settled.any()  # until the cloud has the round
    second = train_cohort(node, task(name, [1, 4], round_number=2), settings, SEED, noise_seed=SEED)
    assert node.personal.settled[[1, 4]].any(axis=1).all()
    fresh = devices(tmp_path / "fresh", name)
    other = train_cohort(fresh, task(name, [1, 4], round_number=2), settings, SEED, noise_seed=SEED)
    assert np.abs(second.update_sum - other.update_sum).max() > 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_scoring_changes_nothing_and_looks_at_no_held_out_item(name: str, tmp_path: Path):
    node, settings = devices(tmp_path, name), METHODS[name]
    blind = replace(node, held_out=np.full_like(node.held_out, -1))
    parameters = task(name, [0]).parameters

    def scores(of: RatingDevices) -> np.ndarray:
        found = np.zeros((6, NUM_ITEMS), np.float32)
        for rows, block in scored_blocks(of, np.arange(6), parameters, 0, TRAINING, settings, SEED):
            found[rows] = block
        return found

    first = scores(node)
    np.testing.assert_array_equal(first, scores(node))
    np.testing.assert_array_equal(first, scores(blind))
    assert not node.personal.settled.any()


def test_a_phone_that_is_not_finite_is_left_out(tmp_path: Path):
    node, settings = devices(tmp_path, "pfedrec"), METHODS["pfedrec"]
    node.personal.settled[1] = np.nan
    reply = train_cohort(node, task("pfedrec", [0, 1, 4]), settings, SEED, noise_seed=SEED)
    alone = train_cohort(node, task("pfedrec", [0, 4]), settings, SEED, noise_seed=SEED)
    assert (reply.num_devices, reply.num_refused) == (2, 1)
    np.testing.assert_allclose(reply.update_sum, alone.update_sum, atol=1e-5)


def test_a_phone_of_another_node_is_refused(tmp_path: Path):
    node = devices(tmp_path, "fcf", 1, 2)
    with pytest.raises(DataError, match=r"not all on this node, which holds 3 \.\. 5"):
        train_cohort(node, task("fcf", [2, 3]), METHODS["fcf"], SEED, noise_seed=SEED)


def test_no_phone_keeps_autograd_alive(tmp_path: Path):
    node = devices(tmp_path, "fedncf")
    train_cohort(node, task("fedncf", [0, 1]), METHODS["fedncf"], SEED, noise_seed=SEED)
    assert torch.is_grad_enabled()


def test_secure_sums_refuse_a_cited_method(tmp_path: Path):
    cited = CitedMethod(settings=METHODS["fcf"], training=TRAINING)
    job = DeviceJob(
        noise_seed=SEED,
        seed=SEED,
        world=tmp_path,
        phones=tmp_path,
        taste=tmp_path,
        recommender=RECOMMENDER,
        read_private_text=False,
        threads=1,
        cited=cited,
    )
    with pytest.raises(SettingsError, match="the job names fcf"):
        refuse_cited(job)
    refuse_cited(job.model_copy(update={"cited": None}))
