"""Ways to turn texts into vectors, so that one recommender can be trained on each.

    teacher       the text teacher, from the cache of its readings
    a bundle      a folder of `models.encoder`, int8, one text per request, as on a phone
    tf-idf        words counted over the catalogue, reduced by SVD to the bundles' size
    static        a vector for each word, whatever stands beside it, reduced to the bundles' size
    random        a random vector per text: it names the item and says nothing of it
    none          no text: zeros

Whatever they give is centred on the catalogue and scaled to length 1 by `models.text_space`, which
is what phones do. `tf-idf` and `static` are fitted on the texts of the whole catalogue, cold items
too; so is an encoder that was distilled on the catalogue. Only texts, never who chose what.

[1] S. Arora, Y. Liang, T. Ma, "A simple but tough-to-beat baseline for sentence embeddings", ICLR
    2017.
[2] Model2Vec, https://github.com/MinishLab/model2vec.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from models.compression.teacher.text_teacher import load_text_teacher, read
from models.encoder import Encoder
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator, integer_seed
from models.text_space import TextSpace
from simulation.experiments.materials import find_teacher
from simulation.settings import Settings

Vectors = NDArray[np.float32]

TEACHER, TF_IDF, RANDOM, NONE = "teacher", "tf-idf", "random", "none"
STATIC_WORDS = "static"

MOST_WORDS = 20_000
"""Static words of a catalogue, the most frequent ones: the text teacher reads each once."""

SIF_WEIGHT = 1e-3
"""A word of probability p counts 1 / (1 + p / this): the value of [1]."""

_WORD = r"(?u)\b\w+\b"
"""Years and single letters are words too, which scikit-learn's own pattern drops."""


@dataclass(frozen=True, slots=True)
class TextReader:
    """An encoder under its name.

    Attributes:
        name: in tables and files.
        read: maps n texts to raw vectors (n, V) float32, at least one text.
        num_bytes: of its bundle; None where none of a phone's bytes are counted.
    """

    name: str
    read: Callable[[Sequence[str]], Vectors]
    num_bytes: int | None = None

    def placed(self, catalogue: Sequence[str]) -> Vectors:
        """Return the vectors of a catalogue in its own space, as phones see them, (N, V).

        Raises:
            DataError: if a vector is not a finite number.
        """
        raw = self.read(catalogue)
        if not np.isfinite(raw).all():
            raise DataError(f"encoder {self.name} gives vectors that are not finite numbers")
        return TextSpace.of_catalogue(raw).place(raw)


def teacher_reader(settings: Settings, cache: Path, progress: Progress = silent) -> TextReader:
    """The text teacher of a run; its readings are kept in the cache."""
    teacher = load_text_teacher(
        find_teacher(settings, cache, progress), settings.compression.teacher
    )

    def vectors(texts: Sequence[str]) -> Vectors:
        distinct, place = _distinct(texts)
        return np.asarray(read(teacher, distinct, cache, progress).vectors)[place]

    return TextReader(TEACHER, vectors)


def bundle_reader(name: str, folder: Path) -> TextReader:
    """An encoder bundle.

    Raises:
        DataError: if the folder is not a whole bundle.
        BudgetError: if it is larger than a bundle may be.
    """
    encoder = Encoder.load(folder)

    def vectors(texts: Sequence[str]) -> Vectors:
        distinct, place = _distinct(texts)
        return np.asarray(encoder.encode(distinct))[place]

    return TextReader(name, vectors, encoder.num_bytes)


def tf_idf_reader(catalogue: Sequence[str], size: int, seed: int) -> TextReader:
    """TF-IDF of words with SVD, fitted on the catalogue.

    Args:
        catalogue: the texts.
        size: numbers per text; fewer where texts or words are too few.
        seed: of the SVD.
    """
    counter = TfidfVectorizer(token_pattern=_WORD, sublinear_tf=True)
    table = counter.fit_transform(catalogue)
    svd_seed = integer_seed(seed, "tf-idf-svd") >> 32
    svd = TruncatedSVD(min(size, *(side - 1 for side in table.shape)), random_state=svd_seed)
    svd.fit(table)

    def vectors(texts: Sequence[str]) -> Vectors:
        return np.asarray(svd.transform(counter.transform(texts)), np.float32)

    return TextReader(TF_IDF, vectors)


def static_reader(
    words_reader: TextReader, catalogue: Sequence[str], size: int, seed: int
) -> TextReader:
    """Static vectors: the mean of a text's word vectors, rare words first.

    A word's vector is what a large encoder gives for the word alone, as in Model2Vec [2] (which
    takes word pieces); words are weighed by smooth inverse frequency [1]. Words that the catalogue
    does not have say nothing.

    Args:
        words_reader: gives the vectors of words: the text teacher.
        catalogue: the texts.
        size: numbers per text, by PCA over the words; fewer where words are too few.
        seed: of the PCA.

    Raises:
        DataError: if no text has a word.
    """
    split = re.compile(_WORD).findall
    found = Counter(word for text in catalogue for word in split(text.lower()))
    counts = dict(found.most_common(MOST_WORDS))
    if not counts:
        raise DataError(f"{len(catalogue)} texts have no word: give texts with words")
    known = sorted(counts)
    vectors = words_reader.read(known)
    small = min(size, *vectors.shape)
    pca = PCA(small, random_state=integer_seed(seed, "static-pca") >> 32)
    reduced = pca.fit_transform(vectors)
    share = np.asarray([counts[word] for word in known]) / sum(counts.values())
    table = reduced / (1.0 + share / SIF_WEIGHT)[:, None]
    row_of = {word: row for row, word in enumerate(known)}

    def read_texts(texts: Sequence[str]) -> Vectors:
        made = np.zeros((len(texts), small), np.float32)
        for row, text in enumerate(texts):
            rows = [row_of[word] for word in split(text.lower()) if word in row_of]
            if rows:
                made[row] = table[rows].mean(axis=0)
        return made

    return TextReader(STATIC_WORDS, read_texts)


def random_reader(size: int, seed: int) -> TextReader:
    """A random direction per text; equal texts have equal ones."""

    def vectors(texts: Sequence[str]) -> Vectors:
        drawn = [
            generator(seed, "random-reader", _number_of(text)).normal(size=size) for text in texts
        ]
        return np.asarray(drawn, np.float32)

    return TextReader(RANDOM, vectors)


def no_text_reader(size: int) -> TextReader:
    """Zeros: the recommender has nothing but ids."""
    return TextReader(NONE, lambda texts: np.zeros((len(texts), size), np.float32))


def _distinct(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return each text once, and where each of the given ones stands among them."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), [places[text] for text in texts]


def _number_of(text: str) -> int:
    digest = hashlib.sha256(text.encode(errors="replace")).digest()
    return int.from_bytes(digest[:7], "little")
