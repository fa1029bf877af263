"""Division where some have nothing to divide by: one line, and no warning that hides in it."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def ratio(
    part: NDArray[np.floating | np.integer],
    whole: NDArray[np.floating | np.integer],
    *,
    of_nothing: float,
) -> FloatArray:
    """Divide place by place.

    Args:
        part: of any shape.
        whole: broadcasts to the shape of `part`.
        of_nothing: the value where `whole` is 0: NaN where the ratio is then undefined.

    >>> ratio(np.array([1, 2]), np.array([4, 0]), of_nothing=0.0).tolist()
    [0.25, 0.0]
    """
    wholes = np.broadcast_to(np.asarray(whole, dtype=np.float64), part.shape)
    found = np.full(part.shape, of_nothing)
    np.divide(part, wholes, out=found, where=wholes != 0)
    return found
