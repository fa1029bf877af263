"""A node's folder holds its own devices and nothing else, and they are who they were."""

from pathlib import Path

import numpy as np
import pytest

from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.local_evaluation import evaluate_devices
from clients.personal import PersonalStore
from clients.protocol.messages import EvalTask
from clients.protocol.partitions import partition_bounds
from clients.recommender_training import train_cohort
from clients.shard import DeviceShard, WorldManifest
from clients.synthetic_events import TasteModel
from models.errors import DataError
from models.seeds import generator
from simulation.engines.node_folder import cut_node_folder
from simulation.world.population import FittedPopulation, PopulationSettings, build_population
from tests.tiny_world import (
    NUM_DEVICES,
    NUM_ITEMS,
    RECOMMENDER,
    SEED,
    TEXT_DIM,
    TIERS,
    TinyWorld,
    federation,
)

NODES = 3


def opened(folder, partition: int, num_partitions: int = NODES) -> DeviceShard:
    job = DeviceJob.read(folder)
    return DeviceShard.open(
        job.world,
        job.phones,
        job.taste,
        partition_id=partition,
        num_partitions=num_partitions,
        read_private_text=job.read_private_text,
    )


@pytest.fixture
def run_folder(tiny: TinyWorld):
    return tiny.prepare_run("run", federation(NODES))


@pytest.mark.parametrize("partition", range(NODES))
def test_its_devices_answer_as_they_did_before(tiny: TinyWorld, run_folder, partition, tmp_path):
    cut_node_folder(run_folder, partition, NODES, tmp_path / "there")
    moved = (tmp_path / "there").rename(tmp_path / "elsewhere")  # it does not know its path
    first, end = partition_bounds(NUM_DEVICES, partition, NODES)
    task = tiny.task(list(range(first, end)))
    evaluation = EvalTask(task.parameters, task.device_ids, 1, task.training.block_bytes)
    replies = []
    for folder in (run_folder, moved):
        shard = opened(folder, partition)
        trained = train_cohort(shard, task, RECOMMENDER, SEED, noise_seed=SEED)
        replies.append((trained, evaluate_devices(shard, evaluation, RECOMMENDER, SEED)))
    (here, judged_here), (there, judged_there) = replies
    np.testing.assert_array_equal(there.update_sum, here.update_sum)
    assert there.num_devices == here.num_devices == end - first
    assert judged_there == judged_here
    np.testing.assert_array_equal(
        opened(moved, partition).taste, opened(run_folder, partition).taste
    )


def test_it_holds_nothing_of_others(tiny: TinyWorld, run_folder, tmp_path):
    out = tmp_path / "node"
    cut_node_folder(run_folder, 1, NODES, out)
    first, end = partition_bounds(NUM_DEVICES, 1, NODES)
    whole = np.load(tiny.world / "offsets.npy")
    assert len(np.load(out / "world" / "item.npy")) == whole[end] - whole[first]
    assert (
        len(np.load(out / "taste.npy")) == len(np.load(out / "world" / "tier.npy")) == end - first
    )
    rows = np.load(tiny.world / "private_row.npy")[whole[first] : whole[end]]
    assert len(np.load(out / "phones" / "private_vectors.npy")) == (rows >= 0).sum() > 0
    assert not list(out.rglob("private_text*"))
    assert WorldManifest.read(out / "world").num_devices == NUM_DEVICES
    assert str(tiny.folder) not in (out / DEVICE_JOB_FILE).read_text()


@pytest.mark.parametrize(("partition", "num_partitions"), [(0, NODES), (2, NODES), (1, 2)])
def test_another_partition_is_not_opened(run_folder, tmp_path, partition, num_partitions):
    cut_node_folder(run_folder, 1, NODES, tmp_path / "node")
    with pytest.raises(DataError, match=r"holds devices 13 \.\. 25, partition .* folder that was"):
        opened(tmp_path / "node", partition, num_partitions)


def test_what_a_node_learned_is_not_written_over(run_folder, tmp_path):
    cut_node_folder(run_folder, 0, NODES, tmp_path / "node")
    with pytest.raises(DataError, match="exists, and what a node learned"):
        cut_node_folder(run_folder, 0, NODES, tmp_path / "node")


def test_devices_that_do_not_read_private_text_hold_none(tiny: TinyWorld, run_folder, tmp_path):
    job = DeviceJob.read(run_folder).model_copy(update={"read_private_text": False})
    (run_folder / DEVICE_JOB_FILE).write_text(job.model_dump_json())
    cut_node_folder(run_folder, 0, NODES, tmp_path / "node")
    assert not (tmp_path / "node" / "phones" / "private_vectors.npy").exists()
    assert (np.load(tmp_path / "node" / "world" / "private_row.npy") == -1).all()
    assert opened(tmp_path / "node", 0).num_devices == 13


def test_synthetic_devices_are_cut_too(tmp_path):
    """Nothing of theirs is stored but a tier and a number of events."""
    rng = generator(SEED, "population")
    model = TasteModel.of(rng.random((6, 4)), rng.random((4, NUM_ITEMS)))
    fitted = FittedPopulation(model, rng.integers(2, 20, 6))
    population = PopulationSettings(
        devices=NUM_DEVICES,
        topics=4,
        iterations=1,
        tastes=6,
        activity_spread=0.1,
        corrections=0,
        correction_devices=100,
    )
    run_folder = tmp_path / "run"
    build_population(fitted, population, TIERS, SEED, run_folder / "world")
    (run_folder / "phones").mkdir()
    for name, rows in (("item_text", NUM_ITEMS), ("private_vectors", 0)):
        np.save(run_folder / "phones" / f"{name}.npy", np.zeros((rows, TEXT_DIM), np.float32))
    PersonalStore.create(run_folder / "taste.npy", NUM_DEVICES, RECOMMENDER.dim)
    job = DeviceJob(
        seed=SEED,
        noise_seed=SEED,
        world=Path("world"),
        phones=Path("phones"),
        taste=Path("taste.npy"),
        recommender=RECOMMENDER,
        read_private_text=True,
        threads=1,
    )
    (run_folder / DEVICE_JOB_FILE).write_text(job.model_dump_json())
    cut_node_folder(run_folder, 1, NODES, tmp_path / "node")
    here, there = opened(run_folder, 1), opened(tmp_path / "node", 1)
    rows = np.arange(here.num_devices)
    (events, held_out), (cut, cut_held_out) = here.events.cut(rows), there.events.cut(rows)
    assert here.first_device == there.first_device == 13
    np.testing.assert_array_equal(cut.items, events.items)
    np.testing.assert_array_equal(cut_held_out, held_out)
    assert len(np.load(tmp_path / "node" / "world" / "num_events.npy")) == here.num_devices
