"""What recommended lists and ragged columns must look like, and the words when they do not."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NO_ITEM = -1
"""Fills up recommended lists that are shorter than the longest."""


def check_items(items: NDArray[np.integer], num_items: int) -> None:
    """Look at recommended lists (U, K).

    Raises:
        ValueError: if an item is out of range or stands twice in a list.

    >>> check_items(np.array([[3, 3]]), 5)
    Traceback (most recent call last):
    ...
    ValueError: 1 of 1 lists hold an item twice: each item may be recommended once
    """
    if items.ndim != 2:
        raise ValueError(f"recommended items must be (users, places), got {items.shape}")
    if items.size and (items.min() < NO_ITEM or items.max() >= num_items):
        raise ValueError(
            f"items go from {items.min()} to {items.max()}: they must be in 0 .. {num_items - 1}, "
            f"or {NO_ITEM} for none"
        )
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    if twice.any():
        raise ValueError(
            f"{int(twice.any(axis=1).sum())} of {len(items)} lists hold an item twice: each item "
            "may be recommended once"
        )


def checked_offsets(offsets: NDArray[np.integer], num_entries: int) -> IntArray:
    """Offsets as int64, if they cut `num_entries` entries into lists.

    Raises:
        ValueError: if they do not begin at 0, fall, or do not end at `num_entries`.

    >>> checked_offsets(np.array([0, 2, 2]), 2).tolist()
    [0, 2, 2]
    """
    bounds = np.asarray(offsets, dtype=np.int64)
    good = bounds.ndim == 1 and len(bounds) and bounds[0] == 0 and bounds[-1] == num_entries
    if not good or (np.diff(bounds) < 0).any():
        raise ValueError(
            f"offsets must rise from 0 to the number of entries, {num_entries}, got "
            f"{bounds[:3].tolist()} .. {bounds[-1:].tolist()}"
        )
    return bounds
