"""Claim: our baselines land on the published figures of others when we follow their rules.

    python -m benchmarks.anchors

Popularity, item-kNN and EASE on MovieLens-100K, leave-last-out, every rating a positive, full
ranking and 99 sampled negatives, under both rules for tied times.
"""

from benchmarks.machine import describe_machine
from models.baselines import ease_scores, interaction_matrix, item_knn_scores, popularity_scores
from models.progress import silent
from simulation.data.cache import cache_folder
from simulation.experiments.evaluation import Referee
from simulation.experiments.materials import prepare_data
from simulation.settings import load_settings
from simulation.world.build import pooled_histories


def main() -> None:
    print(describe_machine())
    print("ties       arm         full HR@10 / nDCG@10    99 negatives HR@10 / nDCG@10")
    for ties in ("last-row", "first-row"):
        settings = load_settings("quickstart", [f"split.ties={ties}"])
        parts = prepare_data(settings, cache_folder(), silent)
        pool = pooled_histories(parts)
        num_items = parts.interactions.num_items
        matrix = interaction_matrix(pool, num_items)
        referee = Referee.for_split(parts, pool, settings.seed)
        scores = {
            "popularity": popularity_scores(matrix),
            "item-knn": item_knn_scores(matrix, settings.comparison.knn_neighbours),
            "ease": ease_scores(matrix, settings.comparison.ease_l2),
        }
        for arm, all_users in scores.items():
            ranks = referee.ranks(all_users[referee.users])
            full, sampled = ranks.values("full"), ranks.values("sampled-99")
            cells = [
                f"{100 * values[metric].mean():5.2f}"
                for values in (full, sampled)
                for metric in ("hr@10", "ndcg@10")
            ]
            print(f"{ties:10} {arm:11} {cells[0]} / {cells[1]}           {cells[2]} / {cells[3]}")


if __name__ == "__main__":
    main()
