"""The recommender as a phone runs it: NumPy only, one user at a time.

The same formulas as `models.recommender`, whose parameters it takes; a test holds the two to each
other. Item vectors are worked out once and kept, so a request costs one small attention and one
matrix-vector product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranker:
    """A recommender ready to rank.

    Attributes:
        parameters: shared parameters by name, as `models.recommender` names them.
        items: (N, dim) item vectors.
    """

    parameters: Mapping[str, Array]
    items: Array

    @classmethod
    def of(cls, parameters: Mapping[str, Array], text: Array) -> "Ranker":
        """Work out the item vectors from text vectors (N, text_dim), once."""
        projection = parameters["text_projection"]
        if "low_rank_in" in parameters:
            low_rank = parameters["low_rank_in"] @ parameters["low_rank_out"]
            projection = projection + _gate(parameters, 0) * low_rank
        items = text @ projection + parameters["id_residual"]
        return cls(parameters, items.astype(np.float32))

    @property
    def max_history(self) -> int:
        """How many recent events are looked at."""
        return len(self.parameters["attention_recency"])

    def state(self, history: NDArray[np.integer], private: Array | None, taste: Array) -> Array:
        """The user state after the last event.

        Args:
            history: (T,) item indices, oldest first; only the last `max_history` are used.
            private: (T, text_dim) vectors of what was written with the events, or None.
            taste: (dim,) the personal vector.

        Returns:
            (dim,).
        """
        if len(history) == 0:
            return taste
        recent = slice(-self.max_history, None)
        events = self.items[history[recent]]
        if private is not None:
            events = events + private[recent] @ self.parameters["private_projection"]
        ages = np.arange(len(events) - 1, -1, -1)
        logits = events @ self.parameters["attention_content"]
        logits = logits + self.parameters["attention_recency"][ages]  # (T, H)
        weights = np.exp(logits - logits.max(axis=0))
        weights /= weights.sum(axis=0)
        pooled = weights.T @ events  # (H, dim)
        mixed = np.einsum("hd,hde->e", pooled, self.parameters["head_mix"])
        state: Array = (taste + mixed).astype(np.float32)
        return self._adapted(state)

    def _adapted(self, state: Array) -> Array:
        if "adapter_in" not in self.parameters:
            return state
        hidden = np.maximum(state @ self.parameters["adapter_in"], 0.0)
        adapter: Array = hidden @ self.parameters["adapter_out"]
        return (state + _gate(self.parameters, 1) * adapter).astype(np.float32)

    def scores(self, state: Array) -> Array:
        """Scores (N,) of the whole catalogue."""
        scaled = self.items @ (state * self.parameters["scale"])
        scores: Array = scaled + self.parameters["item_bias"]
        return scores

    def top(self, state: Array, seen: NDArray[np.integer], count: int) -> NDArray[np.int64]:
        """The `count` best items that were not seen, best first."""
        scores = self.scores(state)
        scores[seen] = -np.inf
        count = min(count, len(scores) - len(np.unique(seen)))
        best = np.argpartition(-scores, count - 1)[:count] if count else np.empty(0, np.int64)
        return best[np.argsort(-scores[best], kind="stable")]


def _gate(parameters: Mapping[str, Array], part: int) -> float:
    """How much of the low rank (0) or the adapter (1) is taken; 1 without gates."""
    if "gate" not in parameters:
        return 1.0
    return float(2.0 / (1.0 + np.exp(-parameters["gate"][part])))
