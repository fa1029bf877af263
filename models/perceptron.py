"""A multilayer perceptron that many devices train at once, each its own copy.

    h_0 = x    h_l = relu(h_(l-1) @ W_l' + b_l)    z = h_(L-1) @ W_L' + b_L    loss = BCE(z, y)

The gradients are written out, so that a step is three batched matrix products a layer and the
weights are changed in place; autograd is the definition, and a test holds the two together. The
model for labelled rows: whether a shown item was opened, say.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.parameters import Layout


class PerceptronSettings(BaseModel):
    """Shape of a perceptron with one output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: int = Field(ge=1, description="features of a row")
    hidden: tuple[int, ...] = Field(description="sizes of the hidden layers")
    batch_size: int = Field(ge=1, description="rows in one SGD step")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of all layers, from the inputs to the one output."""
        return (self.inputs, *self.hidden, 1)


@dataclass(frozen=True, slots=True)
class Rows:
    """The labelled rows of B devices, padded.

    Attributes:
        features: (B, E, inputs) float32.
        labels: (B, E, 1) float32, 0 or 1.
        mask: (B, E, 1) float32, 1 where there is a row; None where none is padded.
    """

    features: Tensor
    labels: Tensor
    mask: Tensor | None

    def batch(self, start: int, size: int) -> "Rows":
        """Rows `start` .. of every device."""
        inside = slice(start, start + size)
        mask = None if self.mask is None else self.mask[:, inside]
        return Rows(self.features[:, inside], self.labels[:, inside], mask)

    def shares_of_batches(self, size: int) -> Tensor:
        """What each batch weighs among all rows of its device, (B, number of batches)."""
        count, num_rows = self.labels.shape[:2]
        ones = torch.ones(count, num_rows, 1) if self.mask is None else self.mask
        counts = torch.stack([part.sum(dim=(1, 2)) for part in ones.split(size, dim=1)], dim=1)
        return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)

    def shares(self) -> Tensor | float:
        """What each row weighs in the mean over its device's rows of this batch."""
        if self.mask is None:
            return 1.0 / self.labels.shape[1]
        return self.mask / self.mask.sum(dim=1, keepdim=True).clamp(min=1)


def perceptron_layout(settings: PerceptronSettings) -> Layout:
    """Names and shapes: weight_1 (out, in), bias_1 (out,), ..."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (rows, columns) in enumerate(_pairs(settings.sizes), start=1):
        shapes |= {f"weight_{layer}": (columns, rows), f"bias_{layer}": (columns,)}
    names = tuple(sorted(shapes))
    return Layout(names, tuple(shapes[name] for name in names))


def perceptron_loss(own: dict[str, Tensor], rows: Rows) -> Tensor:
    """The definition: mean binary cross-entropy of each device's rows, (B,).

    Args:
        own: each (B, ...).
        rows: labelled rows.
    """
    hidden, layers = rows.features, len(own) // 2
    for layer in range(1, layers + 1):
        hidden = hidden @ own[f"weight_{layer}"].mT + own[f"bias_{layer}"].unsqueeze(1)
        hidden = hidden.relu() if layer < layers else hidden
    each = F.binary_cross_entropy_with_logits(hidden, rows.labels, reduction="none")
    return (each * rows.shares()).sum(dim=(1, 2))


def sgd_step(own: dict[str, Tensor], rows: Rows, rate: float) -> Tensor:
    """One step of every device on its own rows; the weights (B, ...) are changed in place.

    Returns:
        (B,) the loss of the rows before the step, each row's share of the batch as its weight.
    """
    layers = len(own) // 2
    hidden = [rows.features]
    for layer in range(1, layers):
        hidden.append(_linear(own, layer, hidden[-1]).relu_())
    logits = _linear(own, layers, hidden[-1])
    each = F.binary_cross_entropy_with_logits(logits, rows.labels, reduction="none")
    losses = (each * rows.shares()).sum(dim=(1, 2))
    back = logits.sigmoid_().sub_(rows.labels).mul_(rate * rows.shares())  # rate * d loss / d z
    for layer in range(layers, 0, -1):
        weight, bias = own[f"weight_{layer}"], own[f"bias_{layer}"]
        below = hidden[layer - 1]
        before = (back @ weight).mul_(below > 0) if layer > 1 else back
        weight.baddbmm_(back.mT, below, alpha=-1)
        bias.sub_(back.sum(dim=1))
        back = before
    return losses


def _linear(own: dict[str, Tensor], layer: int, below: Tensor) -> Tensor:
    return torch.baddbmm(own[f"bias_{layer}"].unsqueeze(1), below, own[f"weight_{layer}"].mT)


def _pairs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(sizes))
