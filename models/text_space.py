"""The space in which the recommender sees texts: centred on the catalogue, of length 1.

Sentence vectors of one catalogue all point much the same way ("a film"). The mean of the catalogue
is taken out, so that what is left tells items apart. A phone can do it alone: it needs nothing but
the catalogue's own vectors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TextSpace:
    """Where texts are placed.

    Attributes:
        centre: (text_dim,) float32, the mean of the catalogue's raw vectors.
    """

    centre: NDArray[np.float32]

    @classmethod
    def of_catalogue(cls, raw: Vectors) -> "TextSpace":
        """The space of a catalogue, from its raw vectors (N, text_dim)."""
        return cls(raw.mean(axis=0, dtype=np.float64).astype(np.float32))

    def place(self, raw: Vectors) -> Vectors:
        """Centre raw vectors (n, text_dim) and scale each to length 1; a zero vector stays zero."""
        moved = raw.astype(np.float32) - self.centre
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        placed: Vectors = moved / np.maximum(lengths, np.float32(1e-12))
        return placed
