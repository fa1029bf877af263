"""How often the bootstrap intervals hold the truth: percentile beside bca, by number of users.

    python -m benchmarks.interval_coverage

Values look like nDCG@10 of one held-out item: 0 for most users, 1 / log2(rank + 2) for the others.
Each world draws users anew; the truth is known. 95 is what an interval of 95 % should read; beside
it stand the shares of worlds in which the truth lay below and above.
"""

import numpy as np

from models.intervals import Method, PairedBootstrap
from models.seeds import generator

WORLDS = 1000
REPLICATES = 1000
HIT_SHARES = (0.15, 0.4)
USERS = (30, 100, 300, 943)
METHODS: tuple[Method, ...] = ("percentile", "bca")
GAINS = 1.0 / np.log2(np.arange(10) + 2.0)


def coverage(num_users: int, hit_share: float, method: Method) -> tuple[float, float, float]:
    """Shares of worlds in which the truth is inside, below and above the interval."""
    rng = generator(0, "interval coverage", num_users)
    bootstrap = PairedBootstrap.draw(num_users, 0, replicates=REPLICATES, method=method)
    truth = hit_share * GAINS.mean()
    below = above = 0
    for _ in range(WORLDS):
        hits = rng.random(num_users) < hit_share
        values = np.where(hits, GAINS[rng.integers(0, len(GAINS), num_users)], 0.0)
        found = bootstrap.mean(values)
        below += truth < found.low
        above += truth > found.high
    return 1 - (below + above) / WORLDS, below / WORLDS, above / WORLDS


def main() -> None:
    """Print one row per number of users, share of hits and method."""
    print("| users | HR@10 | interval | truth inside | below | above |")
    print("|---|---|---|---|---|---|")
    for hit_share in HIT_SHARES:
        for num_users in USERS:
            for method in METHODS:
                inside, below, above = coverage(num_users, hit_share, method)
                print(
                    f"| {num_users} | {hit_share:.0%} | {method} | {inside:.1%} "
                    f"| {below:.1%} | {above:.1%} |"
                )


if __name__ == "__main__":
    main()
