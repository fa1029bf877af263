"""Which of some classes a text belongs to, on a phone: onnxruntime, tokenizers and NumPy, no torch.

    text --bundle--> logits (C,) --> {"label": "book a flight", "probability": 0.97}

A task bundle is an encoder bundle whose readout gives the logits of a task in place of a vector:
the same four files, the same budget, the same checks. The names of the classes stand in its
manifest, under `origin`, in the order of the logits.

    >>> classifier = Classifier.load(Path("bundle"))                     # doctest: +SKIP
    >>> classifier.classify(["wake me at seven"])[0].label               # doctest: +SKIP
    'alarm'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle import EncoderBundle
from models.encoder import Encoder
from models.errors import DataError

LABELS = "labels"
"""Key of the class names in the manifest's `origin`: one a line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a text is said to be.

    Attributes:
        label: name of the likeliest class.
        probability: of that class, 0 to 1, by softmax; not calibrated.
    """

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded task bundle.

    Attributes:
        encoder: gives the logits.
        labels: names of the classes, in the order of the logits.
    """

    encoder: Encoder
    labels: tuple[str, ...]

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> "Classifier":
        """Load a bundle folder, after checking all of it.

        Args:
            folder: the bundle.
            threads: threads of one request, >= 1.

        Raises:
            DataError: if the folder is not a whole bundle, or one that knows no classes.
            BudgetError: if it is larger than a bundle may be.
        """
        encoder = Encoder.load(folder, threads=threads)
        labels = labels_of(EncoderBundle.open(Path(folder)).manifest["origin"])
        if len(labels) != encoder.vector_size:
            raise DataError(
                f"bundle {folder} names {len(labels)} classes and gives {encoder.vector_size} "
                "numbers per text: take a bundle that `pocketfleet distill` made"
            )
        return cls(encoder, labels)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits of each text, (len(texts), C) float32; all 0 for an empty text."""
        return self.encoder.encode(texts)

    def classify(self, texts: Sequence[str]) -> list[Answer]:
        """Return the likeliest class of each text; for an empty text all are as likely."""
        probabilities = softmax(self.logits(texts))
        best = probabilities.argmax(axis=1)
        return [
            Answer(self.labels[place], float(row[place]))
            for place, row in zip(best, probabilities, strict=True)
        ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return e^z / sum of e^z of each row, (n, C) float64.

    >>> softmax(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """
    shifted = np.asarray(logits, np.float64)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def labels_as_text(labels: Sequence[str]) -> str:
    r"""Return class names as they stand in a manifest: one a line, spaces made single.

    >>> labels_as_text(["a  b", "c"])
    'a b\nc'

    Raises:
        DataError: if a name is empty or there twice.
    """
    names = [" ".join(label.split()) for label in labels]
    if not all(names) or len(set(names)) != len(names):
        raise DataError(f"class names must be there and differ, got {names[:10]}: rename some")
    return "\n".join(names)


def labels_of(origin: object) -> tuple[str, ...]:
    """Read class names out of a manifest's `origin`; none if it has none."""
    text = origin.get(LABELS) if isinstance(origin, Mapping) else None
    return tuple(text.split("\n")) if isinstance(text, str) and text else ()
