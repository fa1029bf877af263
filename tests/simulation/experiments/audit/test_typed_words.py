"""Words are read off the rows of a word table's update; noise and a frozen table hide them."""

import numpy as np
import pytest
import torch

from models.compression.student import StudentSettings, build_student
from models.wordpiece import SPECIAL_TOKENS, TokenizerSettings
from simulation.experiments.audit.typed_words import (
    WORDS,
    Lesson,
    WordsAttack,
    clip_update,
    fine_tuned,
    read_typed_words,
    readings,
)
from simulation.experiments.encoders.general_students import GeneralStudent
from tests.tiny_world import SEED

VOCABULARY = 400
WORDS_OF_MINE = [f"word{number}" for number in range(VOCABULARY)]
SHAPE = StudentSettings(
    embedding_size=16,
    hidden_size=16,
    intermediate_size=32,
    num_heads=2,
    layers=1,
    passes=2,
    adapter_size=0,
    max_tokens=16,
    vector_size=8,
)
ATTACK = WordsAttack(
    texts=24,
    source="",
    bundle="",
    steps=3,
    sgd_rate=0.1,
    adam_rate=0.001,
    weight_decay=0.01,
    clip_norm=1.0,
    noise=(1.0,),
)


@pytest.fixture(scope="module")
def general() -> GeneralStudent:
    pieces = (*SPECIAL_TOKENS, *WORDS_OF_MINE)
    student = build_student(SHAPE, len(pieces), seed=3).eval()
    reading = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=16)
    return GeneralStudent(student, pieces, reading, "made up")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(WORDS_OF_MINE, 8, replace=False)) for _ in range(24)]


def test_every_word_is_read_until_noise_or_a_frozen_table_hides_it(general, texts):
    rows = {row["update"]: row for row in read_typed_words(general, texts, ATTACK, SEED).rows}
    for name in ("SGD, 1 step", "Adam, 3 steps", "AdamW, 3 steps", "AdamW, clipped"):
        assert rows[name]["recall"] == rows[name]["precision of what moved"] == 1.0, name
        assert rows[name]["recall of what moved"] == 1.0, name
    chance = rows["SGD, 1 step"]["chance"]
    assert chance == pytest.approx(8 / (VOCABULARY + len(SPECIAL_TOKENS)))
    assert rows["AdamW, clipped + noise 1"]["recall"] < chance + 0.05
    assert rows["frozen word table"]["recall"] < 0.2


def test_weight_decay_moves_all_rows_and_is_taken_out(general):
    lesson = Lesson(np.array([2, 10, 11, 12, 3]), np.array([2, 20, 3]))
    heavy = ATTACK.model_copy(update={"weight_decay": 10.0})
    update = fine_tuned(general.student, lesson, "adamw", heavy)
    assert (update[WORDS].norm(dim=1) > 1e-4).float().mean() > 0.9
    found = readings(update[WORDS], general.student.words.weight.detach())
    assert set(np.argsort(-found)[:3]) == {10, 11, 12}
    assert np.sort(found)[-4] < 1e-3 * np.sort(found)[-3]


def test_the_student_is_left_as_it_was_and_a_frozen_table_is_not_sent(general):
    before = {name: w.detach().clone() for name, w in general.student.named_parameters()}
    lesson = Lesson(np.array([2, 10, 11, 3]), np.array([2, 20, 3]))
    update = fine_tuned(general.student, lesson, "adam", ATTACK, frozen_words=True)
    assert WORDS not in update and any(part.abs().max() > 0 for part in update.values())
    for name, weight in general.student.named_parameters():
        assert torch.equal(weight, before[name]), name


def test_a_clipped_update_has_the_norm_allowed(general):
    lesson = Lesson(np.array([2, 10, 11, 3]), np.array([2, 20, 3]))
    update = fine_tuned(general.student, lesson, "adam", ATTACK)
    for limit in (1e-3, 1e3):
        short = clip_update(update, limit)
        whole = torch.cat([part.flatten() for part in update.values()])
        sent = torch.cat([part.flatten() for part in short.values()])
        assert float(sent.norm()) == pytest.approx(min(limit, float(whole.norm())), rel=1e-4)
