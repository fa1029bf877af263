"""Serving on the phone: onnxruntime encodes, NumPy ranks; no torch anywhere below this file.

    phone = Phone.load(package, catalogue)
    phone.recommend(history, notes, taste, count=10)

The phone keeps the text vectors of the catalogue in memory: those that came in the package, and
those it had to encode itself. What its user writes is encoded here and goes nowhere else.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.device_package import BUNDLE, DevicePackage
from models.encoder import Encoder
from models.ranker import Ranker
from models.text_space import TextSpace

WARM_UP_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one request on this machine, one thread.

    Attributes:
        p50_ms: median.
        p95_ms: 95th percentile.
        num_requests: how many were timed.
    """

    p50_ms: float
    p95_ms: float
    num_requests: int


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone with the package loaded.

    Attributes:
        encoder: the text encoder.
        ranker: the recommender.
        space: where texts are placed.
        num_encoded: items whose vectors were not in the package and were encoded here.
    """

    encoder: Encoder
    ranker: Ranker
    space: TextSpace
    num_encoded: int

    @classmethod
    def load(cls, folder: Path, catalogue: Sequence[str]) -> "Phone":
        """Load a device package.

        Args:
            folder: the package.
            catalogue: (N,) item texts; only those without a cached vector are encoded.

        Raises:
            DataError: if package or bundle are damaged.
        """
        package = DevicePackage.open(folder)
        encoder = Encoder.load(folder / BUNDLE)
        cached, vectors = package.cached_vectors()
        raw = np.zeros((len(catalogue), encoder.vector_size), dtype=np.float32)
        raw[cached] = vectors
        missing = np.setdiff1d(np.arange(len(catalogue)), cached)
        if len(missing):
            raw[missing] = encoder.encode([catalogue[item] for item in missing])
        space = TextSpace.of_catalogue(raw)
        ranker = Ranker.of(package.parameters(), space.place(raw))
        return cls(encoder, ranker, space, len(missing))

    def read(self, private_texts: Mapping[int, str], num_events: int) -> NDArray[np.float32]:
        """Encode what was written with some events.

        Args:
            private_texts: position in the history -> text.
            num_events: T, length of the history.

        Returns:
            (T, text_dim), zero where nothing was written.
        """
        vectors = np.zeros((num_events, self.encoder.vector_size), dtype=np.float32)
        if private_texts:
            raw = self.encoder.encode(list(private_texts.values()))
            vectors[list(private_texts)] = self.space.place(raw)
        return vectors

    def recommend(
        self,
        history: NDArray[np.integer],
        private_texts: Mapping[int, str],
        taste: NDArray[np.float32],
        count: int,
    ) -> NDArray[np.int64]:
        """The best unseen items for this user, best first.

        Args:
            history: (T,) item indices, oldest first.
            private_texts: position in the history -> what was written with that event.
            taste: (dim,) the personal vector.
            count: how many items.
        """
        private = self.read(private_texts, len(history))
        state = self.ranker.state(history, private, taste)
        return self.ranker.top(state, history, count)


def latency(request: Callable[[int], object], num_requests: int) -> Latency:
    """Time a request many times, after some that warm up.

    Args:
        request: called with the number of the request.
        num_requests: how many are timed, >= 1.
    """
    for number in range(min(WARM_UP_REQUESTS, num_requests)):
        request(number)
    times_ms = np.empty(num_requests)
    for number in range(num_requests):
        started = time.perf_counter()
        request(number)
        times_ms[number] = (time.perf_counter() - started) * 1e3
    p50, p95 = np.percentile(times_ms, [50, 95])
    return Latency(float(p50), float(p95), num_requests)
