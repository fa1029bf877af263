"""The 95th percentile of a time, from sums over devices.

    edges      1 ms   2 ms   4 ms  ...                  fixed before the start, the same everywhere
    slower     requests of a device that took longer than each edge
    S(x)       sum of slower / sum of requests: a ratio of two sums at each edge

A quantile is where S(x) = 0.05, straight lines between edges on a logarithmic axis. Its standard
error is Woodruff's: where S is one standard error above and below 0.05, half of that distance; the
standard error of S is that of a ratio over devices, because the requests of one slow phone are all
slow [1]. It is on the logarithm, so that a margin of 10 % is log(1.1).

[1] R. Woodruff, "Confidence Intervals for Medians and Other Position Measures", JASA 47, 1952.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import log

import numpy as np
from numpy.typing import NDArray

from models.statistics.effects import Effect
from models.statistics.moments import Cell, FloatArray


@dataclass(frozen=True, slots=True)
class SlowRequests:
    """Sums over devices, by cell; as `Moments`, a day adds the change of its devices' rows.

    Attributes:
        edges_ms: (J,) ascending.
        count: (...,) devices.
        requests: (...,) of all of them.
        requests_squared: (...,) sum of squares over devices.
        slower: (..., J) requests that took longer than each edge.
        slower_squared: (..., J) sum of squares over devices.
        slower_by_requests: (..., J) sum of products over devices.
    """

    edges_ms: tuple[float, ...]
    count: FloatArray
    requests: FloatArray
    requests_squared: FloatArray
    slower: FloatArray
    slower_squared: FloatArray
    slower_by_requests: FloatArray

    @classmethod
    def nothing(cls, edges_ms: Sequence[float], shape: tuple[int, ...] = ()) -> "SlowRequests":
        """No device in any cell."""
        flat = [np.zeros(shape) for _ in range(3)]
        wide = [np.zeros((*shape, len(edges_ms))) for _ in range(3)]
        return cls(tuple(edges_ms), *flat, *wide)

    @classmethod
    def by_cell(
        cls,
        edges_ms: Sequence[float],
        bins: NDArray[np.integer],
        cells: NDArray[np.integer],
        shape: tuple[int, ...],
    ) -> "SlowRequests":
        """Add devices up by cell.

        Args:
            edges_ms: (J,) ascending.
            bins: (n, J + 1) requests of each device up to the first edge, between the edges, and
                above the last one.
            cells: (n,) place of each device in the flattened shape; below 0: in no cell.
            shape: of the cells.
        """
        size = int(np.prod(shape, dtype=np.int64))
        if bins.shape != (len(cells), len(edges_ms) + 1):
            raise ValueError(
                f"bins have shape {bins.shape}, wanted ({len(cells)}, {len(edges_ms) + 1})"
            )
        made = cls.nothing(edges_ms, (size,))
        for cell in np.unique(cells[cells >= 0]):
            block = bins[cells == cell].astype(np.float64)
            requests = block.sum(axis=1)
            slower = block[:, ::-1].cumsum(axis=1)[:, -2::-1]
            made.count[cell] = len(block)
            made.requests[cell] = requests.sum()
            made.requests_squared[cell] = (requests**2).sum()
            made.slower[cell] = slower.sum(axis=0)
            made.slower_squared[cell] = (slower**2).sum(axis=0)
            made.slower_by_requests[cell] = requests @ slower
        arrays = [getattr(made, name) for name in _ARRAYS]
        return cls(made.edges_ms, *(each.reshape((*shape, *each.shape[1:])) for each in arrays))

    def __add__(self, other: "SlowRequests") -> "SlowRequests":
        return self._joined(other, 1.0)

    def __sub__(self, other: "SlowRequests") -> "SlowRequests":
        return self._joined(other, -1.0)

    def _joined(self, other: "SlowRequests", sign: float) -> "SlowRequests":
        if self.edges_ms != other.edges_ms or self.count.shape != other.count.shape:
            raise ValueError("sums of slow requests add up only over the same edges and cells")
        pairs = ((getattr(self, name), getattr(other, name)) for name in _ARRAYS)
        return SlowRequests(self.edges_ms, *(one + sign * two for one, two in pairs))

    def __getitem__(self, cell: Cell) -> "SlowRequests":
        """Some of the cells, by the leading axes."""
        return SlowRequests(self.edges_ms, *(getattr(self, name)[cell] for name in _ARRAYS))

    def pooled(self, axis: int) -> "SlowRequests":
        """All cells along an axis of `count` in one."""
        return SlowRequests(self.edges_ms, *(getattr(self, name).sum(axis) for name in _ARRAYS))

    def log_quantile(self, share: float) -> tuple[float, float] | None:
        """Logarithm of the quantile in milliseconds, and its standard error.

        Args:
            share: e.g. 0.95.

        Returns:
            None where it cannot be told: fewer than two devices, or it lies outside the edges.
        """
        if self.count < 2 or self.requests <= 0:
            return None
        tail = self.slower / self.requests
        error = self._error_of(tail)
        wanted = 1.0 - share
        places = np.log(np.asarray(self.edges_ms))
        middle = _place(tail, wanted, places)
        if middle is None:
            return None
        own = float(np.interp(middle, places, error))
        ends = [_place(tail, level, places) for level in (wanted + own, wanted - own)]
        if ends[0] is None or ends[1] is None:
            return None
        return middle, (ends[1] - ends[0]) / 2.0

    def _error_of(self, tail: FloatArray) -> FloatArray:
        """Standard error of the share of slow requests at each edge, over devices."""
        squares = (
            self.slower_squared
            - 2.0 * tail * self.slower_by_requests
            + tail**2 * self.requests_squared
        )
        variance = squares / (self.count - 1) * self.count / self.requests**2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


_ARRAYS = tuple(each.name for each in fields(SlowRequests) if each.name != "edges_ms")


def compare_quantiles(
    control: SlowRequests, treated: SlowRequests, share: float, factor: float = 1.0
) -> Effect | None:
    """Compare a quantile of two arms on the logarithm: log(treated) - log(factor control).

    Returns:
        None where one of them cannot be told. `control` and `treated` are in milliseconds, the
        estimate and its standard error are on the logarithm.
    """
    one, two = control.log_quantile(share), treated.log_quantile(share)
    if one is None or two is None:
        return None
    return Effect(
        float(np.exp(one[0])),
        float(np.exp(two[0])),
        two[0] - one[0] - log(factor),
        float(np.hypot(one[1], two[1])),
        int(min(float(control.count), float(treated.count))),
    )


def _place(tail: FloatArray, level: float, places: FloatArray) -> float | None:
    """Where a falling curve meets a level, between the edges; None outside them."""
    if not tail[-1] <= level <= tail[0]:
        return None
    return float(np.interp(-level, -tail, places))
