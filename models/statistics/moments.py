"""Sums over devices that are enough for means, ratios and their variances.

    device   clicks  requests                cell = (arm, tier)
      0         2        9                   count     devices                        n
      1         0        4         --->      sums      of each column                 (k,)
      2         5        8                   products  of each pair of columns        (k, k)

A row is what *one device* did since it was first exposed, whole, not what it did today: a device is
the unit, and two days of one phone are not two phones. Squares of a growing row do not add up over
days, so what a day adds is a change:

    today's sums  =  sums of the rows after today  -  sums of the same devices' rows before today

Changes add up to the sums of the rows as they stand, so days, tiers, nodes and arms can be added in
any order and nobody keeps a list of devices on the cloud.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Cell = int | tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums of devices' rows by cell. Whole numbers stay exact up to 2^53.

    Attributes:
        names: the k columns.
        count: (...,) devices in each cell.
        sums: (..., k) of each column.
        products: (..., k, k) of each pair of columns.
    """

    names: tuple[str, ...]
    count: FloatArray
    sums: FloatArray
    products: FloatArray

    @classmethod
    def nothing(cls, names: Sequence[str], shape: tuple[int, ...] = ()) -> "Moments":
        """No device in any cell."""
        k = len(names)
        return cls(tuple(names), np.zeros(shape), np.zeros((*shape, k)), np.zeros((*shape, k, k)))

    @classmethod
    def by_cell(
        cls,
        names: Sequence[str],
        rows: NDArray[np.floating] | NDArray[np.integer],
        cells: NDArray[np.integer],
        shape: tuple[int, ...],
    ) -> "Moments":
        """Add devices up by cell.

        Args:
            names: the k columns.
            rows: (n, k) what each device did.
            cells: (n,) place of each device in the flattened `shape`; below 0: in no cell.
            shape: of the cells, e.g. (arms, tiers).

        Raises:
            ValueError: if rows and names do not fit, or a cell is outside the shape.
        """
        if rows.ndim != 2 or rows.shape != (len(cells), len(names)):
            raise ValueError(
                f"rows have shape {rows.shape}, wanted ({len(cells)}, {len(names)}): a row for "
                "each device, a column for each name"
            )
        size = int(np.prod(shape, dtype=np.int64))
        if len(cells) and int(cells.max()) >= size:
            raise ValueError(f"cell {int(cells.max())} is outside the {size} cells of {shape}")
        made = cls.nothing(names, (size,))
        for cell in np.unique(cells[cells >= 0]):
            block = rows[cells == cell].astype(np.float64)
            made.count[cell] = len(block)
            made.sums[cell] = block.sum(axis=0)
            made.products[cell] = block.T @ block
        k = len(names)
        return cls(
            made.names,
            made.count.reshape(shape),
            made.sums.reshape((*shape, k)),
            made.products.reshape((*shape, k, k)),
        )

    def __add__(self, other: "Moments") -> "Moments":
        self._check_alike(other)
        return Moments(
            self.names,
            self.count + other.count,
            self.sums + other.sums,
            self.products + other.products,
        )

    def __sub__(self, other: "Moments") -> "Moments":
        self._check_alike(other)
        return Moments(
            self.names,
            self.count - other.count,
            self.sums - other.sums,
            self.products - other.products,
        )

    def __getitem__(self, cell: Cell) -> "Moments":
        """Some of the cells, by the leading axes."""
        return Moments(self.names, self.count[cell], self.sums[cell], self.products[cell])

    def pooled(self, axis: int) -> "Moments":
        """All cells along an axis of `count` in one."""
        if axis < 0 or axis >= self.count.ndim:
            raise ValueError(f"axis {axis} is not one of the {self.count.ndim} axes of the cells")
        return Moments(
            self.names, self.count.sum(axis), self.sums.sum(axis), self.products.sum(axis)
        )

    def column(self, name: str) -> int:
        """Where a column is.

        Raises:
            KeyError: if there is none of this name.
        """
        if name not in self.names:
            raise KeyError(f"there is no column '{name}', only {', '.join(self.names)}")
        return self.names.index(name)

    def covariance(self) -> FloatArray:
        """Covariance of the columns between devices, (..., k, k), divided by n - 1.

        NaN where a cell has fewer than two devices. Rounding can leave a constant column with a
        variance just below zero: it is zero then.
        """
        n = self.count[..., None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            outer = self.sums[..., :, None] * self.sums[..., None, :] / n
            found = np.where(n > 1, (self.products - outer) / (n - 1), np.nan)
        diagonal = np.arange(len(self.names))
        found[..., diagonal, diagonal] = np.maximum(found[..., diagonal, diagonal], 0.0)
        return np.asarray(found)

    def _check_alike(self, other: "Moments") -> None:
        if self.names != other.names or self.count.shape != other.count.shape:
            raise ValueError(
                f"sums of {self.names} {self.count.shape} and of {other.names} "
                f"{other.count.shape} do not add up: same columns and cells are wanted"
            )
