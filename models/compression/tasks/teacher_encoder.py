"""A Hugging Face encoder as a teacher uses it: mean over the pieces, and layers that rest."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.compression.pretraining.batches import pad
from models.compression.student import mean_pool
from models.errors import SettingsError

READING_BATCH = 64
"""Texts per forward pass when nothing is learnt."""


def freeze_lowest(model: PreTrainedModel, count: int) -> None:
    """Let the word table and the lowest `count` layers learn no more; 0 freezes nothing.

    Nothing below the first learning layer is differentiated, so this saves its share of time.

    Raises:
        SettingsError: if there are fewer layers.
    """
    model.requires_grad_(True)
    if count == 0:
        return
    depth = model.config.num_hidden_layers
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    layers = next((part for part in lists if len(part) == depth), None)
    if layers is None or count > depth:
        raise SettingsError(
            f"frozen_layers is {count}, but the teacher has {depth if layers else 0} layers that "
            "can be frozen one by one: take a number from 0 to that"
        )
    model.get_input_embeddings().requires_grad_(False)
    model.base_model.embeddings.requires_grad_(False)
    for layer in layers[:count]:
        layer.requires_grad_(False)


def pool_batch(model: PreTrainedModel, ids: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Return f_T of one batch, (B, H_T); gradients flow if they are on."""
    padded, mask = pad(ids)
    padded = padded.masked_fill(mask == 0, pad_id)
    states = model(input_ids=padded, attention_mask=mask).last_hidden_state
    return mean_pool(states, mask)


def pool_all(model: PreTrainedModel, ids: Sequence[Sequence[int]], pad_id: int) -> np.ndarray:
    """Return f_T of many texts, (n, H_T) float32; like lengths share a batch."""
    features = np.zeros((len(ids), model.config.hidden_size), np.float32)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    with torch.inference_mode():
        for start in range(0, len(order), READING_BATCH):
            rows = order[start : start + READING_BATCH]
            features[rows] = pool_batch(model, [ids[row] for row in rows], pad_id).numpy()
    return features
