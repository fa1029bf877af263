"""Items that are not on the market while a recommender is trained, and their launch.

A *cold* item must leave no trace in training. It has no training event; but the softmax over the
whole catalogue would still push it down with every step, and with it the words it shares with
others, although an item that does not exist yet loses against nothing. So its bias is put out of
reach:

    item_bias    0.3   -10,000   -0.1      exp(-10,000) is 0 in float32: no share of the softmax,
                         |                 so its gradients are 0 to the bit, and no bias, id
                         withheld          residual or text projection moves on its account
    launched     0.3     0.1     -0.1      no id residual, and the mean bias of the others

Training on N items of which some are withheld is therefore training on the others alone, which a
test holds. A launched item is its text and average popularity, as in any shop that has to put a new
item somewhere. Sampled negatives may draw a withheld item; it then pushes nothing down.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models.recommender import Shared

OUT_OF_REACH = -10_000.0
"""The bias of a withheld item. Scores are tens; the noise of private training is far below it."""


def withheld(parameters: Shared, cold_item: NDArray[np.bool_]) -> Shared:
    """Return parameters from which training learns nothing about some items.

    Args:
        parameters: of N items, without a leading axis, before training.
        cold_item: (N,) which items are withheld.
    """
    if not cold_item.any():
        return parameters
    bias = parameters["item_bias"].clone()
    bias[torch.from_numpy(cold_item)] = OUT_OF_REACH
    return parameters | {"item_bias": bias}


def launched(parameters: Shared) -> Shared:
    """Return parameters with every withheld item on the market; the same if there is none.

    >>> before = {"item_bias": torch.tensor([1.0, -10_000.0, 3.0]), "id_residual": torch.ones(3, 1)}
    >>> after = launched(before)
    >>> after["item_bias"].tolist(), after["id_residual"].flatten().tolist()
    ([1.0, 2.0, 3.0], [1.0, 0.0, 1.0])
    """
    bias = parameters["item_bias"]
    cold = bias < OUT_OF_REACH / 2
    if not cold.any():
        return parameters
    known = bias[~cold].mean()
    residual = parameters["id_residual"].masked_fill(cold.unsqueeze(-1), 0.0)
    return parameters | {"item_bias": bias.masked_fill(cold, float(known)), "id_residual": residual}
