"""The installed package of a run, serving one request at a time for any of its devices."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clients.serving import Phone
from models.errors import DataError
from simulation.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Served:
    """What one request gave.

    Attributes:
        items: (K,) best first.
        place: of the held-out item among all unseen ones, 1 = first; None: nothing is held out.
        seconds: that it took, here and now.
        num_encoded: private texts that were encoded for it.
    """

    items: NDArray[np.int64]
    place: float | None
    seconds: float
    num_encoded: int


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """The package of a run; it is loaded with the first request, all devices have the same one.

    Attributes:
        run: the run.
    """

    run: RunFolder
    _loaded: list[Phone] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(
        self,
        history: NDArray[np.int64],
        private_texts: Mapping[int, str],
        taste: NDArray[np.float32],
        count: int,
        held_out: int | None,
    ) -> Served:
        """Recommend to one device, as its phone does; safe from several threads.

        Args:
            history: (T,) item indices, oldest first.
            private_texts: position in the history -> what was written with that event.
            taste: (dim,) the personal vector.
            count: how many items.
            held_out: the item whose place is asked for, unseen; None: there is none.

        Raises:
            DataError: if the package is damaged, or the catalogue is missing.
        """
        with self._lock:
            phone = self._phone()
            phone.written.clear()  # nothing of another device, and every look costs the same
            started = time.perf_counter()
            items = phone.recommend(history, private_texts, taste, count)
            seconds = time.perf_counter() - started
            num_encoded, place = len(phone.written), None
            if held_out is not None:
                private = phone.read(private_texts, len(history))
                scores = phone.ranker.scores(phone.ranker.state(history, private, taste))
                place = place_of(scores, held_out, history)
            phone.written.clear()
        return Served(items, place, seconds, num_encoded)

    def _phone(self) -> Phone:
        if not self._loaded:
            self._loaded.append(Phone.load(self.run.package, self._catalogue()))
        return self._loaded[0]

    def _catalogue(self) -> list[str]:
        """Item texts (N,), as the phones have them."""
        path = self.run.phones / "catalogue.json"
        try:
            return list(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path} ({error}): run the comparison again") from error


def place_of(scores: NDArray[np.float32], item: int, history: NDArray[np.integer]) -> float:
    """Where an item stands among all unseen ones: 1 = first, ties count half.

    Args:
        scores: (N,) of the catalogue.
        item: the item, unseen.
        history: (T,) seen items.

    >>> place_of(np.array([0.9, 0.5, 0.5, 0.1], np.float32), 2, np.array([0]))
    1.5
    """
    rivals = np.ones(len(scores), dtype=np.bool_)
    rivals[history] = False
    rivals[item] = False
    above = int((scores[rivals] > scores[item]).sum())
    tied = int((scores[rivals] == scores[item]).sum())
    return 1.0 + above + 0.5 * tied
