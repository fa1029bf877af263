"""Serving on the phone: onnxruntime encodes, NumPy ranks; no torch anywhere below this file.

    phone = Phone.load(package, catalogue)
    phone.recommend(history, notes, taste, count=10)

The phone keeps two sorts of vectors in memory: those of the catalogue (from the package, or encoded
when it is loaded) and those of what its user wrote. A request encodes only what is new. What the
user writes goes nowhere else.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.device_package import BUNDLE, DevicePackage
from models.encoder import Encoder
from models.errors import DataError
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
        written: vectors of what the user wrote so far, by text.
    """

    encoder: Encoder
    ranker: Ranker
    space: TextSpace
    num_encoded: int
    written: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, catalogue: Sequence[str]) -> "Phone":
        """Load a device package.

        Args:
            folder: the package.
            catalogue: (N,) item texts; only those without a cached vector are encoded.

        Raises:
            DataError: if package or bundle are damaged, or the catalogue is another one.
        """
        package = DevicePackage.open(folder)
        if len(catalogue) != package.num_items:
            raise DataError(
                f"the package {folder} is for a catalogue of {package.num_items} items, got "
                f"{len(catalogue)}: install the package of this catalogue"
            )
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
            (T, text_dim), zero where nothing was written or it is too long ago to matter.
        """
        vectors = np.zeros((num_events, self.encoder.vector_size), dtype=np.float32)
        for place, text in private_texts.items():
            if place < num_events - self.ranker.max_history:
                continue  # too long ago: the ranker does not look there
            if text not in self.written:
                self.written[text] = self.space.place(self.encoder.encode([text]))[0]
            vectors[place] = self.written[text]
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
