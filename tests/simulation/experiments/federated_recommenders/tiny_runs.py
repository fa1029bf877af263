"""Small runs of every method, each number spelt out."""

from models.recommenders.settings import MethodSettings
from server.settings import ServerOptimizerSettings
from simulation.experiments.federated_recommenders.settings import RecommenderRun
from tests.models.recommenders.made_up import METHODS
from tests.tiny_world import local_training

PLAIN = ServerOptimizerSettings(name="fedavg", rate=1.0, beta1=0.9, beta2=0.99, tau=0.001)
ADAM = ServerOptimizerSettings(name="fedadam", rate=0.05, beta1=0.9, beta2=0.99, tau=0.001)


def tiny_run(name: str, **changes: object) -> RecommenderRun:
    """A run of a few rounds over all phones."""
    method: MethodSettings = METHODS[name]
    whole = {
        "name": name,
        "title": name,
        "rounds": 3,
        "evaluate_every": 2,
        "cohort_share": 1.0,
        "num_nodes": 2,
        "method": method,
        "training": local_training(
            local_epochs=1,
            rate=0.3,
            personal_rate=0.4,
            clip_norm=1e6,
            num_negatives=4,
            block_bytes=8000,
        ),
        "optimizer": ADAM if name == "fcf" else PLAIN,
    }
    return RecommenderRun.model_validate(whole | changes)
