"""Named tensors <-> one flat float32 vector.

The cloud and the phones speak about the recommender as one vector of P numbers, because that is
what is clipped, summed and aggregated. The `Layout` says which stretch of it is which tensor:

    name              shape         stretch
    head_mix          (2, 32, 32)   0 .. 2048
    id_residual       (1682, 32)    2048 .. 55872
    ...

Names are sorted, so two sides that hold the same tensors hold the same layout.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each named tensor lies in the flat vector.

    Attributes:
        names: tensor names, sorted.
        shapes: one shape per name, in the same order.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """P, how many numbers the flat vector has."""
        return sum(prod(shape) for shape in self.shapes)

    def only(self, names: Collection[str]) -> "Layout":
        """The layout of some of the tensors alone."""
        kept = [(n, shape) for n, shape in zip(self.names, self.shapes, strict=True) if n in names]
        return Layout(tuple(n for n, _ in kept), tuple(shape for _, shape in kept))

    def stretches(self, names: Collection[str]) -> tuple[tuple[int, int], ...]:
        """Where some of the tensors lie, (first, end) each, in order; neighbours are joined.

        >>> Layout(("a", "b", "c"), ((2,), (3,), (4,))).stretches(["a", "b"])
        ((0, 5),)
        """
        found: list[tuple[int, int]] = []
        end = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            first, end = end, end + prod(shape)
            if name not in names:
                continue
            if found and found[-1][1] == first:
                first = found.pop()[0]
            found.append((first, end))
        return tuple(found)

    def zeros(self) -> dict[str, Tensor]:
        """Named tensors of zeros, float32."""
        return {n: torch.zeros(shape) for n, shape in zip(self.names, self.shapes, strict=True)}

    def flatten(self, tensors: Mapping[str, Tensor], *, batch_dims: int = 0) -> Tensor:
        """Lay the tensors end to end.

        Args:
            tensors: one tensor per name, each `(*batch, *shape)`.
            batch_dims: how many leading dimensions are a batch (0, or 1 for a block of devices).

        Returns:
            `(*batch, P)` in float32.

        Raises:
            ValueError: if a name is missing or extra, or a shape differs from the layout.
        """
        if set(tensors) != set(self.names):
            raise ValueError(f"tensors are {sorted(tensors)}, the layout wants {list(self.names)}")
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors[name]
            if tuple(tensor.shape[batch_dims:]) != shape:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, the layout wants {shape}"
                )
            parts.append(tensor.reshape(*tensor.shape[:batch_dims], prod(shape)))
        return torch.cat(parts, dim=-1).to(torch.float32)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Cut a flat vector `(P,)` into its named tensors (views, not copies).

        Raises:
            ValueError: if the vector does not have P numbers.
        """
        if tuple(vector.shape) != (self.size,):
            raise ValueError(
                f"vector has shape {tuple(vector.shape)}, the layout wants ({self.size},)"
            )
        ends = list(accumulate(prod(shape) for shape in self.shapes))
        starts = [0, *ends[:-1]]
        return {
            name: vector[start:end].reshape(shape)
            for name, shape, start, end in zip(self.names, self.shapes, starts, ends, strict=True)
        }
