"""A tiny made-up world: 40 devices, 60 items, histories of unequal length, private texts.

Nothing in it comes from a real data set. Text vectors are random numbers.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from clients.job import DEVICE_JOB_FILE, DeviceJob
from clients.protocol.messages import LocalTraining, TrainTask
from clients.shard import DeviceShard
from models.parameters import Layout
from models.recommender import RecommenderSettings, Shared, initial_parameters, parameter_layout
from models.seeds import generator
from server.aggregation_settings import AggregationSettings
from server.privacy.accounts import with_noise_solved
from server.privacy.settings import PrivacySettings
from server.secure_sum.settings import SecureSumSettings
from server.settings import (
    SERVER_JOB_FILE,
    Federation,
    Schedule,
    ServerJob,
    ServerOptimizerSettings,
)
from simulation.data.interactions import Columns
from simulation.data.splits import Split, split
from simulation.world.availability import HabitSettings, TimeZone
from simulation.world.build import build_world, pooled_histories
from simulation.world.cohort_plans import plan_cohorts
from simulation.world.devices import ReferenceTimes, Tier, WorldSettings
from simulation.world.network import LinkSettings, NetworkSettings
from simulation.world.population import PopulationSettings, build_population, fit_population
from simulation.world.timeline import RoundCost, Timeline
from tests.simulation.data.made_up import LEAVE_LAST, interactions

NUM_DEVICES, NUM_ITEMS, TEXT_DIM = 40, 60, 12
SEED = 7

RECOMMENDER = RecommenderSettings(
    dim=8, num_heads=2, max_history=6, low_rank=0, adapter=0, gated=False
)


def tier(name: str, share: float, speed: float, dropout: float, mbit_per_s: float) -> Tier:
    """A kind of phone; it uploads at a fifth of the rate."""
    link = LinkSettings(
        down_mbit_per_s=mbit_per_s, up_mbit_per_s=mbit_per_s / 5, round_trip_ms=50, loss=0
    )
    return Tier(
        name=name,
        share=share,
        speed=speed,
        cores=4,
        memory_mb=50 / share,
        battery_wh=12,
        active_w=2,
        link=link,
        dropout=dropout,
    )


ALWAYS = HabitSettings(
    time_zones=(TimeZone(offset_h=0, share=1),),
    night_share=1,
    night_start_h=24,
    night_start_sd_h=0,
    night_jitter_h=0,
    night_hours=12,
    night_hours_sd=0,
    weekend_shift_h=0,
    day_share=0,
    day_hours=5,
    idle_at_night=1,
    idle_by_day=1,
    home_network=1,
    day_network=1,
)
"""Every phone is there from midnight to noon: longer than any test's rounds."""

TIERS = WorldSettings(
    reference=ReferenceTimes(step_s=0.01, encode_s=0.001, rank_s=0.0001, serving_mb=60),
    network=NetworkSettings(spread=0, jitter=0, opening_round_trips=0),
    habits=ALWAYS,
    joules_per_mb=1,
    tiers=(tier("low", 0.4, 0.1, 0.3, 5), tier("high", 0.6, 1.0, 0.0, 50)),
)
SCHEDULE = Schedule(
    start_s=0,
    over_selection=1,
    deadline_s=60,
    pause_s=0,
    retry_s=60,
    window_s=0,
    sampling="available",
    mode="synchronous",
    concurrency=0,
    look_every_s=1,
    max_staleness=3,
)

PRIVACY = PrivacySettings(
    mechanism="none",
    noise_multiplier=0,
    target_epsilon=0,
    budget_epsilon=0,
    delta=0,
    target_quantile=0,
    clip_rate=0.2,
    clip_noise_multiplier=0,
    evaluation_noise_multiplier=0,
    scaled_population=0,
)
"""Nothing is promised."""


SECURE_SUM = SecureSumSettings(
    enabled=False,
    bits=32,
    levels=0,
    threshold=0.51,
    min_devices=0,
    neighbours=0,
    rotation=False,
)
"""The cloud sees the sum of each node."""


def local_training(**changes: float) -> LocalTraining:
    """Local training settings; small blocks, so that a cohort is cut into several."""
    settings = {
        "local_epochs": 2,
        "rate": 0.5,
        "personal_rate": 0.1,
        "clip_norm": 0.5,
        "num_negatives": 0,
        "trained": "all",
        "proximal": 0.0,
        "dynamic": False,
        "precision": "fp32",
        "processor": "cpu",
        "block_bytes": 7 * 4 * (NUM_ITEMS * 6 + NUM_ITEMS * 8),
    }
    return LocalTraining(**(settings | changes))


def federation(num_nodes: int = 1, rounds: int = 3, name: str = "fedadam") -> Federation:
    """A short federated run."""
    return Federation(
        rounds=rounds,
        cohort_size=15,
        num_nodes=num_nodes,
        evaluate_every=2,
        evaluate_devices=0,
        patience=2,
        reply_timeout_s=600,
        schedule=SCHEDULE,
        optimizer=ServerOptimizerSettings(name=name, rate=0.02, beta1=0.9, beta2=0.99, tau=1e-3),
        aggregation=AggregationSettings(rule="mean", feared_share=0),
        training=local_training(),
        privacy=PRIVACY,
        secure_sum=SECURE_SUM,
    )


def private(
    num_nodes: int = 1, rounds: int = 3, name: str = "fedavg", **changes: object
) -> Federation:
    """A run with Poisson sampling and noise of the cloud; `changes` are of the privacy settings."""
    whole = federation(num_nodes, rounds, name).model_dump()
    whole["schedule"] |= {"sampling": "poisson"}
    whole["optimizer"] |= {"rate": 1.0 if name == "fedavg" else 0.02}
    whole["privacy"] |= {"mechanism": "central", "noise_multiplier": 1.0} | changes
    return Federation.model_validate(whole)


def buffered(num_nodes: int = 1, rounds: int = 6) -> Federation:
    """A buffered run: 12 phones at work, a step at every 5 reports."""
    schedule = SCHEDULE.model_copy(update={"mode": "buffered", "concurrency": 12})
    changes = {"schedule": schedule, "cohort_size": 5}
    return federation(num_nodes, rounds, "fedavg").model_copy(update=changes)


def made_up_split(**changes: object) -> Split:
    """Histories of 1 to 20 events; user 0 has a single one and nothing held out.

    Args:
        changes: of the split's settings.
    """
    rng = generator(SEED, "tiny-world")
    rows = []
    for user in range(NUM_DEVICES):
        length = 1 if user == 0 else int(rng.integers(2, 21))
        chosen = rng.choice(NUM_ITEMS, length, replace=False)
        rows += [(f"u{user:02d}", str(item), 1000 + t) for t, item in enumerate(chosen)]
    table = interactions(rows, [f"word{item % 7} film {item}" for item in range(NUM_ITEMS)])
    parts = split(table, LEAVE_LAST.model_copy(update=changes), SEED)
    train = parts.train.copy()
    written = np.where(rng.random(len(train)) < 0.3, "a note on " + train.index.astype(str), "")
    train[Columns.PRIVATE_TEXT] = written
    return replace(parts, train=train)


@dataclass(frozen=True)
class TinyWorld:
    """A tiny world on disk."""

    folder: Path
    split: Split

    @property
    def world(self) -> Path:
        return self.folder / "world"

    @property
    def phones(self) -> Path:
        return self.folder / "phones"

    @property
    def layout(self) -> Layout:
        return parameter_layout(RECOMMENDER, NUM_ITEMS, TEXT_DIM)

    def parameters(self) -> Shared:
        """Parameters with noise in all of them, so that no path through the model is zero."""
        rng = torch.Generator().manual_seed(3)
        start = initial_parameters(RECOMMENDER, NUM_ITEMS, TEXT_DIM, SEED)
        return {
            name: value + 0.1 * torch.randn(value.shape, generator=rng)
            for name, value in start.items()
        }

    def fresh_taste(self, name: str = "taste.npy") -> Path:
        """A new file of personal parameters, small random numbers."""
        path = self.folder / name
        taste = generator(SEED, "taste").normal(0, 0.1, (NUM_DEVICES, RECOMMENDER.dim))
        np.save(path, taste.astype(np.float32))
        return path

    def shard(
        self, partition_id: int = 0, num_partitions: int = 1, **options: object
    ) -> DeviceShard:
        """Open a partition with fresh personal parameters."""
        return DeviceShard.open(
            self.world,
            self.phones,
            self.fresh_taste(),
            partition_id=partition_id,
            num_partitions=num_partitions,
            **options,
        )

    def task(self, device_ids: list[int], **changes: float) -> TrainTask:
        """A train task for these devices."""
        flat = self.layout.flatten(self.parameters()).numpy()
        return TrainTask(flat, np.array(device_ids), 1, local_training(**changes))

    def prepare_run(self, name: str, settings: Federation) -> Path:
        """A run folder that an engine can play."""
        folder = self.folder / name
        folder.mkdir()
        cost = RoundCost(self.layout.size * 4, self.layout.size * 4, 0.01)
        timeline = Timeline(TIERS, NUM_DEVICES, cost, SEED)
        plan = plan_cohorts(timeline, settings)
        settings = with_noise_solved(settings, NUM_DEVICES, plan, self.layout.size)
        plan.write(folder / "cohorts.npz")
        np.save(folder / "initial.npy", self.layout.flatten(self.parameters()).numpy())
        device_job = DeviceJob(
            seed=SEED,
            noise_seed=SEED,
            world=self.world,
            phones=self.phones,
            taste=self.fresh_taste(f"{name}/taste.npy"),
            recommender=RECOMMENDER,
            read_private_text=True,
            threads=1,
        )
        server_job = ServerJob(
            seed=SEED,
            noise_seed=SEED,
            num_devices=NUM_DEVICES,
            num_parameters=self.layout.size,
            trained=((0, self.layout.size),),
            tiers=tuple(tier.name for tier in TIERS.tiers),
            federation=settings,
            plan=folder / "cohorts.npz",
            initial=folder / "initial.npy",
            folder=folder,
        )
        (folder / DEVICE_JOB_FILE).write_text(device_job.model_dump_json())
        (folder / SERVER_JOB_FILE).write_text(server_job.model_dump_json())
        return folder


def build_tiny_world(folder: Path) -> TinyWorld:
    """Write the tiny world."""
    parts = made_up_split()
    world = build_world(parts, TIERS, SEED, folder / "world")
    phones = folder / "phones"
    phones.mkdir()
    rng = generator(SEED, "tiny-text")
    for name, rows in (("item_text", NUM_ITEMS), ("private_vectors", len(world.private_texts))):
        vectors = rng.normal(0, 1 / np.sqrt(TEXT_DIM), (rows, TEXT_DIM))
        np.save(phones / f"{name}.npy", vectors.astype(np.float32))
    return TinyWorld(folder, parts)


POPULATION = PopulationSettings(
    devices=NUM_DEVICES,
    topics=3,
    iterations=5,
    tastes=64,
    activity_spread=0.1,
    corrections=1,
    correction_devices=200,
)


def build_tiny_synthetic_world(folder: Path) -> TinyWorld:
    """Write as many synthetic devices, fitted on the users of the tiny world."""
    parts = made_up_split()
    times_s = parts.train[Columns.TIME_S].to_numpy()
    fitted = fit_population(pooled_histories(parts), times_s, NUM_ITEMS, POPULATION, SEED)
    build_population(fitted, POPULATION, TIERS, SEED, folder / "world")
    (folder / "phones").mkdir()
    text = generator(SEED, "tiny-text").normal(0, 1 / np.sqrt(TEXT_DIM), (NUM_ITEMS, TEXT_DIM))
    np.save(folder / "phones" / "item_text.npy", text.astype(np.float32))
    np.save(folder / "phones" / "private_vectors.npy", np.zeros((0, TEXT_DIM), np.float32))
    return TinyWorld(folder, parts)
