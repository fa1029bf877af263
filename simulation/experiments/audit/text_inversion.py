"""What do vectors tell? Texts from EI-BERT vectors, histories from a user's state.

nearest      The attacker holds a vector and candidate texts, encodes them and takes the nearest. If
             the text is among them it wins: the encoder is public and answers alike.
decoder      The attacker learns a linear map from vectors to bags of words on texts of its own, and
             names the words that it gives most to. What a deeper decoder reads on top [1] is not
             tried, so this is a lower bound of what leaks.
state        The same from a user's state in the recommender (the vector that a phone ranks with) to
             the items of its history, learnt on other users; and without any learning: the items
             that the state itself scores highest.

Beside each stand the most frequent words, or items.

[1] J. Morris et al., "Text Embeddings Reveal (Almost) As Much As Text", EMNLP 2023.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

from models.errors import DataError
from models.progress import Progress, silent
from models.recommender import item_vectors, last_states, score, share
from models.seeds import generator
from simulation.experiments.audit.findings import Findings, Row, recall_at, with_interval
from simulation.experiments.audit.protections import gaussian
from simulation.experiments.audit.target import Target, all_events, popularity, recent_items

Vectors = NDArray[np.float32]
Bags = NDArray[np.float32]
"""(n, W) of zeros and ones: which words, or items, are in it."""


class VectorsAttack(BaseModel):
    """Sizes of the attack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: int = Field(ge=20, description="half are the attacker's, half are private")
    source: str = Field(description="a labelled set of texts; their labels are not looked at")
    bundle: str = Field(description="the encoder")
    words: int = Field(ge=10, description="words that the decoder may name, the most frequent ones")
    ridge: float = Field(gt=0, description="L2 penalty of the decoder")
    noise: tuple[float, ...] = Field(description="length of the noise on a vector of length 1")


def nearest_wins(
    vectors: Vectors, noise: float, seed: int, purpose: str = "noise on a vector"
) -> NDArray[np.float64]:
    """Whether each text is found again among all of them by its vector, (n,) of 0 and 1.

    Args:
        vectors: (n, V), rows of length 1: of the candidates, and of the private texts themselves.
        noise: root mean squared length of the noise that is added to the private ones.
        seed: the address of the noise.
        purpose: of the noise.
    """
    seen = noised(vectors, noise, seed, purpose)
    return np.asarray((seen @ vectors.T).argmax(axis=1) == np.arange(len(vectors)), np.float64)


def noised(vectors: Vectors, noise: float, seed: int, purpose: str) -> Vectors:
    """Vectors (n, V) with Gaussian noise whose root mean squared length is `noise`."""
    std = noise / np.sqrt(vectors.shape[1])
    drawn = gaussian(vectors.size, std, seed, purpose)
    return np.asarray(vectors + drawn.reshape(vectors.shape), np.float32)


def decoded(known: Vectors, bags: Bags, seen: Vectors, ridge: float) -> NDArray[np.float64]:
    """What a linear decoder makes of vectors.

    Args:
        known: (n, V) the attacker's own vectors.
        bags: (n, W) what is in them.
        seen: (m, V) vectors that it has come by.
        ridge: L2 penalty.

    Returns:
        (m, W) scores, higher is likelier.
    """
    return np.asarray(Ridge(alpha=ridge).fit(known, bags).predict(seen), np.float64)


def recalls_of(scores: NDArray[np.floating], bags: Bags) -> NDArray[np.float64]:
    """Recall of each bag by as many guesses as it holds, (m,); empty bags are left out."""
    return np.array(
        [
            recall_at(guess, np.flatnonzero(bag), int(bag.sum()))
            for guess, bag in zip(scores, bags, strict=True)
            if bag.any()
        ]
    )


def bags_of_words(texts: Sequence[str], size: int, known: int) -> tuple[Bags, list[str]]:
    """Which words are in each text: (n, W), and the words.

    Args:
        texts: n texts.
        size: words at most: the most frequent ones of the attacker's own texts.
        known: how many texts, from the first, are the attacker's own.

    Raises:
        DataError: if they hold no word.
    """
    counter = CountVectorizer(binary=True, max_features=size, token_pattern=r"(?u)\b\w+\b")
    try:
        counter.fit(texts[:known])
    except ValueError as error:
        raise DataError(f"the attacker's {known} texts hold no word: give other texts") from error
    bags = counter.transform(texts).toarray().astype(np.float32)
    return bags, list(counter.get_feature_names_out())


def invert_texts(
    texts: Sequence[str],
    read: Callable[[Sequence[str]], Vectors],
    attack: VectorsAttack,
    seed: int,
    progress: Progress = silent,
) -> list[Row]:
    """Attack the vectors of the second half of some texts.

    Args:
        texts: the attacker's own, then as many private ones; no text twice.
        read: texts -> raw vectors (n, V).
        attack: sizes.
        seed: the address of the noise.
        progress: told about each step.
    """
    what = "reading texts off vectors"
    progress(what, 0, 2)
    raw = read(texts)
    vectors = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), np.float32(1e-12))
    half = len(texts) // 2
    progress(what, 1, 2)
    bags, words = bags_of_words(texts, attack.words, half)
    frequency = np.tile(bags[:half].mean(axis=0), (len(texts) - half, 1))
    guess = float(recalls_of(frequency, bags[half:]).mean())
    rows: list[Row] = []
    for noise in (0.0, *attack.noise):
        seen = f"vector + noise of length {noise:g}" if noise else "vector"
        found = nearest_wins(vectors[half:], noise, seed)
        rows.append(_row("nearest candidate", seen, found, 1.0 / len(found), seed))
        private = noised(vectors[half:], noise, seed, "noise on a vector")
        scores = decoded(vectors[:half], bags[:half], private, attack.ridge)
        found = recalls_of(scores, bags[half:])
        rows.append(_row(f"decoder of {len(words):,} words", seen, found, guess, seed))
    progress(what, 2, 2)
    return rows


def invert_states(target: Target, attack: VectorsAttack) -> list[Row]:
    """Attack the states of half of a run's users, with the other half as the attacker's own."""
    shard, seed = target.shard(), target.devices.seed
    histories, num_items = all_events(shard), shard.manifest.num_items
    length = target.devices.recommender.max_history
    users = np.flatnonzero(histories.lengths() > 0)
    users = generator(seed, "attacked users").permutation(users)
    states, own_scores = states_of(target, users)
    bags = np.zeros((len(users), num_items), np.float32)
    for place, user in enumerate(users):
        bags[place, recent_items(shard, int(user), length)] = 1.0
    half = len(users) // 2
    popular = popularity(histories.cut(users[:half]), num_items).astype(np.float64)
    guess = float(recalls_of(np.tile(popular, (len(users) - half, 1)), bags[half:]).mean())
    learnt = decoded(states[:half], bags[:half], states[half:], attack.ridge)
    return [
        _row("decoder of items", "user state", recalls_of(learnt, bags[half:]), guess, seed),
        _row(
            "its own scores", "user state", recalls_of(own_scores[half:], bags[half:]), guess, seed
        ),
    ]


def states_of(target: Target, users: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.float32]]:
    """States (B, dim) under the final parameters, and the scores (B, N) that they give."""
    shard = target.shard(np.load(target.devices.taste, mmap_mode="r"))
    shared = share(target.named(target.final))
    histories = all_events(shard)
    block = histories.recent_block(users, target.devices.recommender.max_history)
    with torch.no_grad():
        items = item_vectors(shared, torch.from_numpy(shard.text))
        taste = torch.from_numpy(np.array(shard.taste[users]))
        states = last_states(shared, items, block, taste)
        return states.numpy(), score(shared, states.unsqueeze(0), items)[0].numpy()


def invert_vectors(
    target: Target,
    texts: Sequence[str],
    read: Callable[[Sequence[str]], Vectors],
    attack: VectorsAttack,
    progress: Progress = silent,
) -> Findings:
    """Attack vectors of texts, and states of users."""
    rows = invert_texts(texts, read, attack, target.devices.seed, progress)
    return Findings(
        "vectors",
        "What was written, and what was chosen, from the vector that a phone made of it?",
        [*rows, *invert_states(target, attack)],
        (
            f"{len(texts) // 2:,} private texts, as many of the attacker's own.",
            "Guessing is: any candidate; the most frequent words; the most popular items.",
            "A vector is as private as what it was made of. The product sends none.",
        ),
    )


def _row(attacker: str, seen: str, found: NDArray[np.float64], guessing: float, seed: int) -> Row:
    return {
        "attacker": attacker,
        "sees": seen,
        **with_interval("recall", found, seed),
        "guessing": guessing,
    }
