"""Which recommender a node trains: the product's own, or one that people cite.

The job of the run says so. Messages, clipping, sums, rounds, faults and resuming are the same for
both; secure sums know the product's recommender only.
"""

from clients import local_evaluation, recommender_training
from clients.job import DeviceJob
from clients.protocol.messages import EvalReply, EvalTask, TrainReply, TrainTask
from clients.recommenders import evaluation, training
from clients.recommenders.devices import RatingDevices
from clients.shard import DeviceShard
from models.errors import SettingsError


def train(shard: DeviceShard, task: TrainTask, job: DeviceJob) -> TrainReply:
    """Train the devices of a task and add up what they send."""
    noise_seed = job.noise_seed
    if job.cited is None:
        return recommender_training.train_cohort(
            shard, task, job.recommender, job.seed, noise_seed=noise_seed
        )
    devices = RatingDevices.of_shard(shard)
    return training.train_cohort(devices, task, job.cited.settings, job.seed, noise_seed=noise_seed)


def evaluate(shard: DeviceShard, task: EvalTask, job: DeviceJob) -> EvalReply:
    """Evaluate the devices of a task and add up their metrics."""
    if job.cited is None:
        return local_evaluation.evaluate_devices(shard, task, job.recommender, job.seed)
    how = job.cited.training.model_copy(update={"block_bytes": task.block_bytes})
    return evaluation.evaluate_devices(
        RatingDevices.of_shard(shard),
        task,
        how,
        job.cited.settings,
        job.seed,
        shard.tier,
        shard.manifest.tiers,
    )


def refuse_cited(job: DeviceJob) -> None:
    """What only the product's recommender can do.

    Raises:
        SettingsError: if the job names another one.
    """
    if job.cited is not None:
        raise SettingsError(
            f"secure sums know the product's recommender only, the job names "
            f"{job.cited.settings.name}: set federation.secure_sum.enabled to false"
        )
