"""Score the whole catalogue for some users: the torch side, used in training and evaluation.

Serving on a phone does the same in NumPy (`models.ranker`), and a test holds the two together.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models.histories import Histories
from models.recommender import Shared, item_vectors, last_states, score, share


def score_users(
    parameters: Shared,
    text: NDArray[np.float32],
    histories: Histories,
    users: NDArray[np.integer],
    taste: NDArray[np.float32],
    max_history: int,
) -> NDArray[np.float32]:
    """Scores of every item for some users, from their last `max_history` events.

    Args:
        parameters: shared parameters without a leading axis.
        text: (N, text_dim) text vectors.
        histories: training events.
        users: (B,) rows in `histories`.
        taste: (B, dim) personal parameters of these users.
        max_history: how many recent events are looked at.

    Returns:
        (B, N) float32, higher is better.
    """
    shared = share(parameters)
    history = histories.recent_block(users, max_history)
    with torch.no_grad():
        items = item_vectors(shared, torch.from_numpy(text))
        states = last_states(shared, items, history, torch.from_numpy(np.array(taste)))
        return score(shared, states.unsqueeze(0), items)[0].numpy()
