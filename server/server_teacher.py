"""Training on pooled data: the server teacher, and every arm that is trained in the cloud.

The *server teacher* is the recommender on the text teacher's vectors, trained by Adam on the
history of everybody. It is what the phones are measured against. The same function trains the
recommender on EI-BERT vectors, and the static model from the opted-in users only.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.histories import Histories
from models.launch import withheld
from models.negatives import Negatives
from models.progress import Progress, silent
from models.recommender import (
    RecommenderSettings,
    Shared,
    initial_parameters,
    losses,
    share,
)
from models.seeds import generator
from server.settings import CentralTraining


@dataclass(frozen=True, slots=True)
class CentralModel:
    """A recommender trained on pooled data.

    Attributes:
        parameters: shared parameters without a leading axis.
        taste: (U, dim) float32; the server that pools histories holds these too.
        losses: mean loss of each epoch.
    """

    parameters: Shared
    taste: NDArray[np.float32]
    losses: tuple[float, ...]


def train_on_pooled_data(
    histories: Histories,
    text: NDArray[np.float32],
    settings: RecommenderSettings,
    training: CentralTraining,
    seed: int,
    *,
    users: NDArray[np.integer] | None = None,
    learn_taste: bool = True,
    cold_item: NDArray[np.bool_] | None = None,
    progress: Progress = silent,
) -> CentralModel:
    """Train the recommender on the pooled histories of some or all users.

    Args:
        histories: training events of U users.
        text: (N, text_dim) text vectors of the catalogue.
        settings: the shape of the recommender.
        training: epochs, rate, users per step.
        seed: the run's seed.
        users: rows to train on; None means everybody.
        learn_taste: whether users get vectors of their own, or stay at 0.
        cold_item: (N,) items that are not on the market yet (`models.launch`); None: all are.
        progress: called after each epoch.
    """
    rows = np.arange(histories.num_users) if users is None else np.asarray(users)
    shared = initial_parameters(settings, len(text), text.shape[1], seed)
    if cold_item is not None:
        shared = withheld(shared, cold_item)
    shared = {name: tensor.requires_grad_() for name, tensor in shared.items()}
    taste = torch.zeros(histories.num_users, settings.dim, requires_grad=learn_taste)
    trained = [*shared.values(), *([taste] if learn_taste else [])]
    optimizer = torch.optim.Adam(trained, lr=training.rate)
    vectors = torch.from_numpy(text)
    epoch_losses = []
    for epoch in range(1, training.epochs + 1):
        order = generator(seed, "central-order", epoch).permutation(rows)
        total = 0.0
        for start in range(0, len(order), training.users_per_step):
            block = order[start : start + training.users_per_step]
            history = histories.training_block(block, settings.max_history)
            negatives = _draw(histories, block, text.shape[0], training, (seed, epoch))
            each = losses(share(shared), vectors, history, taste[block], negatives)
            counts = history.target_mask.sum(dim=1)
            loss = (each * counts).sum() / counts.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(each.detach().sum())
        epoch_losses.append(total / len(rows))
        progress("training on pooled data", epoch, training.epochs)
    parameters = {name: tensor.detach() for name, tensor in shared.items()}
    return CentralModel(parameters, taste.detach().numpy(), tuple(epoch_losses))


def _draw(
    histories: Histories,
    users: NDArray[np.integer],
    num_items: int,
    training: CentralTraining,
    address: tuple[int, int],
) -> torch.Tensor | None:
    """Sampled negatives (B, K) of these users in this epoch; None: the whole catalogue."""
    if training.num_negatives == 0:
        return None
    sampling = Negatives(training.num_negatives)
    seed, epoch = address
    return torch.from_numpy(sampling.draw(histories, users, num_items, (seed, epoch, users)))
