"""Vectors give their texts away, and states their histories; long noise hides both."""

import numpy as np
import pytest

from clients.local_evaluation import score_devices
from models.errors import DataError
from simulation.experiments.audit.target import Target
from simulation.experiments.audit.text_inversion import (
    VectorsAttack,
    bags_of_words,
    decoded,
    invert_states,
    invert_texts,
    invert_vectors,
    nearest_wins,
    recalls_of,
    states_of,
)
from tests.tiny_world import SEED

ATTACK = VectorsAttack(texts=400, source="", bundle="", words=60, ridge=0.1, noise=(30.0,))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(2)
    return [" ".join(rng.choice([f"w{n}" for n in range(60)], 6, False)) for _ in range(400)]


def read(texts: list[str]) -> np.ndarray:
    """An encoder that adds up a random vector for each word."""
    words = np.random.default_rng(7).normal(size=(60, 48))
    return np.array([sum(words[int(word[1:])] for word in text.split()) for text in texts])


def test_texts_are_read_off_vectors_and_not_through_long_noise(texts):
    rows = {(row["attacker"], row["sees"]): row for row in invert_texts(texts, read, ATTACK, SEED)}
    noised = "vector + noise of length 30"
    nearest = rows["nearest candidate", "vector"]
    assert nearest["recall"] == 1.0 and nearest["guessing"] == 1 / 200
    assert rows["nearest candidate", noised]["recall"] < 0.05
    decoder = rows["decoder of 60 words", "vector"]
    assert decoder["recall"] > 0.8 > 0.3 > decoder["guessing"]
    assert rows["decoder of 60 words", noised]["recall"] < 0.25


def test_states_and_their_scores_are_those_that_phones_rank_with(target: Target):
    users = np.arange(1, 12)
    states, scores = states_of(target, users)
    shard = target.shard(np.load(target.devices.taste))
    expected = score_devices(shard, users, target.final, target.devices.recommender)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert states.shape == (11, target.devices.recommender.dim)


def test_histories_are_read_off_states_that_hold_them(target: Target):
    """Half of the tiny world is too little to learn from; its rows are all there."""
    rows = {row["attacker"]: row for row in invert_states(target, ATTACK)}
    assert set(rows) == {"decoder of items", "its own scores"}
    assert all(0.0 <= row["recall"] <= 1.0 for row in rows.values())
    found = invert_vectors(target, ["w1 w2", "w3 w4", "w5 w1", "w2 w3"] * 5, read, ATTACK)
    assert len(found.rows) == 6
    rng = np.random.default_rng(1)
    bags = (rng.random((400, 50)) < 0.1).astype(np.float32)
    states = (bags @ rng.normal(size=(50, 40))).astype(np.float32)
    scores = decoded(states[:300], bags[:300], states[300:], ridge=0.1)
    assert recalls_of(scores, bags[300:]).mean() > 0.8


def test_noise_of_a_length_is_of_that_length():
    vectors = np.eye(200, dtype=np.float32)
    assert nearest_wins(vectors, 0.0, SEED).mean() == 1.0
    assert nearest_wins(vectors, 1.0, SEED).mean() == 1.0  # 0.07 a number against 1
    assert nearest_wins(vectors, 100.0, SEED).mean() < 0.1


def test_an_empty_bag_is_not_judged_and_texts_without_words_are_refused():
    bags = np.array([[0, 1], [0, 0]], np.float32)
    assert recalls_of(np.array([[0.0, 1.0], [1.0, 0.0]]), bags).tolist() == [1.0]
    with pytest.raises(DataError, match="hold no word"):
        bags_of_words(["...", "!"], 10, 1)
