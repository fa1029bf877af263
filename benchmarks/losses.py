"""Claim: which loss trains the recommender best, on the validation item.

    python -m benchmarks.losses 0 1 64 256

Trains the server teacher once per number of sampled negatives (0 is the whole catalogue, 1 is BPR)
and prints HR@10 and nDCG@10 of the validation item; the test item is dropped before anything is
trained (`split.target=validation`).
"""

import sys

import torch

from benchmarks.machine import describe_machine
from models.scoring import score_users
from server.server_teacher import train_on_pooled_data
from simulation.data.cache import cache_folder
from simulation.data.interactions import Columns
from simulation.experiments.evaluation import Referee
from simulation.experiments.materials import prepare_data, teacher_item_vectors
from simulation.settings import load_settings
from simulation.world.build import pooled_histories


def main() -> None:
    torch.set_num_threads(1)
    settings, cache = load_settings("quickstart", ["split.target=validation"]), cache_folder()
    parts = prepare_data(settings, cache)
    pool = pooled_histories(parts)
    text = teacher_item_vectors(settings, list(parts.interactions.items[Columns.TEXT]), cache)
    referee = Referee.for_split(parts, pool, settings.seed)
    print(describe_machine())
    for count in [int(word) for word in sys.argv[1:]] or [0, 1, 64, 256]:
        training = settings.central.model_copy(update={"num_negatives": count})
        shape, users = settings.recommender, referee.users
        model = train_on_pooled_data(pool, text, shape, training, settings.seed)
        scores = score_users(
            model.parameters, text, pool, users, model.taste[users], shape.max_history
        )
        found = referee.ranks(scores).values("full")
        hits, gain = (100 * found[metric].mean() for metric in ("hr@10", "ndcg@10"))
        print(f"{count} negatives: HR@10 {hits:.1f}, nDCG@10 {gain:.1f}", flush=True)


if __name__ == "__main__":
    main()
