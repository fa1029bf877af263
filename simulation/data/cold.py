"""Cold items and cold users: who is drawn, and what is cut.

An item is cold when nobody may learn from an event with it: it stays in the catalogue with its
text, may be recommended and may be held out, as if it were launched when training has ended. A user
is cold when only a few training events are left: a phone on which the app is new.

    more_cold_items     0.15 of the catalogue, from the address (seed, "cold-items")
    cold_users          0.2 of the users, from (seed, "cold-users")
    latest_only         each keeps 1 to 5 events, how many from (seed, "cold-user-events", user)

Every item has the same chance, popular or not, those without an event included: the share of cold
*events* is near that of cold items only in the mean. `splits` draws the picture.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.seeds import generator, uniforms
from simulation.data.interactions import Columns


def more_cold_items(
    cold_item: NDArray[np.bool_], share: float, seed: int, stage: int = 0
) -> NDArray[np.bool_]:
    """Draw cold items among those that are not cold yet.

    Args:
        cold_item: (I,) which are cold already.
        share: of the others.
        seed: the run's seed.
        stage: 0 for the items of the test, 1 for those of the validation.

    Returns:
        (I,) those and the new ones.

    >>> more_cold_items(np.array([True, False, False]), 0.5, seed=7).sum()
    np.int64(2)
    """
    warm = np.flatnonzero(~cold_item)
    count = round(share * len(warm))
    found = cold_item.copy()
    if count:
        address = (stage,) if stage else ()
        drawn = generator(seed, "cold-items", *address).choice(len(warm), count, replace=False)
        found[warm[drawn]] = True
    return found


def cold_users(num_users: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Draw cold users, (U,)."""
    drawn = np.zeros(num_users, dtype=np.bool_)
    count = round(share * num_users)
    drawn[generator(seed, "cold-users").choice(num_users, count, replace=False)] = True
    return drawn


def latest_only(
    train: pd.DataFrame, cold_user: NDArray[np.bool_], most: int, seed: int
) -> NDArray[np.bool_]:
    """Tell which training events are kept: a cold user's latest few, and all others.

    Args:
        train: by user, oldest first.
        cold_user: (U,).
        most: a cold user keeps 1 to so many, all numbers alike.
        seed: the run's seed.

    Returns:
        (E,) in the order of `train`.
    """
    user = train[Columns.USER].to_numpy()
    counts = np.bincount(user, minlength=len(cold_user))
    everyone = np.arange(len(cold_user))
    drawn = 1 + (uniforms(seed, "cold-user-events", everyone) * most).astype(np.int64)
    kept = np.where(cold_user, drawn, counts)
    after = np.cumsum(counts)[user] - np.arange(len(user)) - 1  # events of the same user behind it
    return np.asarray(after < kept[user])
