"""The slices of a comparison: who its users are, and how hard their held-out items are.

    tier                     the class of the user's device
    activity                 training events, in four parts
    user                     cold: at most 5 training events
    held-out item            cold: nobody chose it in training, so nothing but its text is known
    popularity of item       tenths of the catalogue, by training events
    time of held-out event   in four parts; not for data without times

Everything is counted on training events, but for the moment of the held-out one.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.baselines import interaction_matrix
from models.evaluation.slices import (
    Slicing,
    by_activity,
    by_cold_item,
    by_cold_user,
    by_popularity,
    by_tier,
    by_time,
)
from simulation.data.interactions import Columns
from simulation.data.splits import Split
from simulation.experiments.materials import Materials


def slicings_of(materials: Materials, tiers: Sequence[str]) -> tuple[Slicing, ...]:
    """All slicings of the users of a comparison, in the order of `materials.evaluated`.

    Args:
        materials: data and devices.
        tiers: names of the tiers, as `materials.world.tier` counts them.
    """
    parts, users = materials.split, materials.evaluated
    held_out, num_events = parts.held_out[users], materials.pool.lengths()[users]
    matrix = interaction_matrix(materials.pool, parts.interactions.num_items)
    popularity = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int64)  # users of each item
    slicings = [
        by_tier(materials.world.tier[users], tiers),
        by_activity(num_events),
        by_cold_user(num_events),
        by_cold_item(held_out, popularity == 0),
        by_popularity(held_out, popularity),
    ]
    if parts.interactions.has_time:
        slicings.append(by_time(held_out_times_s(parts, users)))
    return tuple(slicings)


def cold_slicings_of(
    materials: Materials, users: NDArray[np.int64], tiers: Sequence[str]
) -> tuple[Slicing, ...]:
    """Slicings of the users who are asked for a cold item, (C,): by what they are.

    A cold item has no popularity, so nothing here is cut by what is to be found.

    Args:
        materials: data and devices.
        users: in the order of their values.
        tiers: names of the tiers, as `materials.world.tier` counts them.
    """
    num_events = materials.pool.lengths()[users]
    return (
        by_tier(materials.world.tier[users], tiers),
        by_activity(num_events),
        by_cold_user(num_events),
    )


def held_out_times_s(parts: Split, users: NDArray[np.int64]) -> NDArray[np.int64]:
    """When the held-out event of each of these users happened, (B,)."""
    keys = [Columns.USER, Columns.ITEM]
    events = parts.interactions.events.drop_duplicates(keys).set_index(keys)[Columns.TIME_S]
    wanted = pd.MultiIndex.from_arrays([users, parts.held_out[users]])
    return events.reindex(wanted).to_numpy(np.int64)
