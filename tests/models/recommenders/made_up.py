"""Made-up histories for the federated recommenders; no row comes from a real data set."""

import numpy as np

from models.histories import Histories
from models.recommenders.negatives import NegativeSampler
from models.recommenders.settings import (
    FcfSettings,
    FedNcfSettings,
    FedReconSettings,
    MethodSettings,
    PFedRecSettings,
    Rule,
)

NUM_ITEMS, SEED = 40, 7
LENGTHS = (3, 9, 1, 6, 12, 5)

METHODS: dict[str, MethodSettings] = {
    "pfedrec": PFedRecSettings(
        name="pfedrec", dim=4, sampler="closed", batch_size=10, item_rate_factor=0.5
    ),
    "fedncf": FedNcfSettings(
        name="fedncf",
        dim=4,
        sampler="closed",
        batch_size=10,
        hidden=(6, 3),
        item_rate_factor=0.05,
        start_scale=0.5,
    ),
    "fedrecon": FedReconSettings(
        name="fedrecon", dim=4, sampler="closed", reconstruction_steps=5, start_scale=0.5
    ),
    "fcf": FcfSettings(name="fcf", dim=4, sampler="closed", alpha=3.0, l2=0.5, start_scale=0.5),
}


def histories(lengths: tuple[int, ...] = LENGTHS, num_items: int = NUM_ITEMS) -> Histories:
    """Random histories without repeats."""
    rng = np.random.default_rng(0)
    items = [rng.choice(num_items, length, replace=False) for length in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(offsets, np.concatenate(items).astype(np.int32))


def held_out(own: Histories, num_items: int = NUM_ITEMS) -> np.ndarray:
    """Two unseen items for each user, (U, 2); the third user has only one."""
    rng = np.random.default_rng(1)
    seen = own.seen(np.arange(own.num_users), num_items)
    drawn = np.stack([rng.choice(np.flatnonzero(~row), 2, replace=False) for row in seen])
    drawn[2, 1] = -1
    return drawn.astype(np.int32)


def sampler(rule: Rule = "closed", num_negatives: int = 4) -> NegativeSampler:
    """The sampler of these users."""
    own = histories()
    return NegativeSampler(rule, num_negatives, own, held_out(own), NUM_ITEMS)
