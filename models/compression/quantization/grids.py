"""The levels that a weight is rounded to in training: chosen once in a while, used at every step.

```
few_bits chooses the steps of a weight        seconds for a few million numbers, so not every step
      |
    Grid.round(weights of now)                elementwise, in torch
```

A grid is exact for the weights that it was made of: it rounds them to what the graph computes. For
weights that have moved a little it is the graph's rounding with the steps of a moment ago.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.compression.quantization.few_bits import (
    LARGEST_INT8,
    ROW_TABLES,
    highest,
    middle,
    quantize_columns,
    quantize_rows,
)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Levels for one weight.

    Attributes:
        round: any weights of the same shape as those the grid was made of, to their levels.
    """

    round: Callable[[Tensor], Tensor]


def grid_of(name: str, weight: Tensor, bits: int) -> Grid:
    """Choose the levels of a weight.

    Args:
        name: of the weight in the student, without ".weight".
        weight: as torch holds it: a table (n, E), or a matrix (outputs, inputs); float32.
        bits: not 32.
    """
    values = weight.detach().cpu().numpy()
    return _row_grid(values, bits) if name in ROW_TABLES else _column_grid(values, bits)


def _row_grid(table: np.ndarray, bits: int) -> Grid:
    steps = quantize_rows(table, bits).steps.values()
    divisors = _spread(steps, table.shape[1])
    if bits == 8:
        return Grid(lambda w: (w / divisors).round().clamp(-LARGEST_INT8, LARGEST_INT8) * divisors)
    centre, top = middle(bits), highest(bits)
    return Grid(lambda w: ((w / divisors + centre).round().clamp(0, top) - centre) * divisors)


def _column_grid(matrix: np.ndarray, bits: int) -> Grid:
    made = quantize_columns(matrix.T, bits)
    steps = torch.from_numpy(made.steps.values())[:, None]
    if made.multipliers is None:
        return Grid(lambda w: (w / steps).round().clamp(-LARGEST_INT8, LARGEST_INT8) * steps)
    multipliers = _spread(made.multipliers.T.astype(np.float32), matrix.shape[1])
    centre, top = middle(bits), highest(bits)
    divisors = 2 / top * multipliers.clamp(min=1) * steps

    def rounded(weights: Tensor) -> Tensor:
        levels = (weights / divisors + centre).round().clamp(0, top)
        return ((2 * levels - top) * multipliers / top).round() * steps

    return Grid(rounded)


def _spread(of_groups: np.ndarray, width: int) -> Tensor:
    """Return (n, groups) as (n, width)."""
    return torch.from_numpy(np.repeat(of_groups, width // of_groups.shape[1], axis=1))
