from functools import partial

import numpy as np
import pytest
import torch

from models.compression.elastic.elastic_student import ElasticStudent, slice_student
from models.compression.elastic.elastic_training import ElasticLessons, sandwich, train_elastic
from models.compression.pretraining.batches import encode_ids
from models.compression.pretraining.general_distillation import vector_loss
from models.errors import DataError
from tests.models.compression.elastic.test_elastic_student import (
    LARGE,
    SIZES,
    family,
    lived,
    size,
    texts,
)

LOSS = partial(vector_loss, relation_weight=0.1, temperature=0.1)


@pytest.fixture(scope="module")
def lessons():
    ids = tuple(texts(s.words, count=40) for s in SIZES)
    targets = np.random.default_rng(0).normal(size=(40, LARGE["vector_size"])).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    return ElasticLessons(ids, targets, np.full(40, 1 / 40))


def test_a_slice_keeps_its_weights_when_the_others_learn(lessons):
    elastic = lived()
    cut = slice_student(elastic, 0)
    before = [parameter.clone() for parameter in cut.parameters()]
    train_elastic(elastic, lessons, family(steps=2), LOSS, seed=1)
    after = list(cut.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert not torch.equal(slice_student(elastic, 0).words.weight, cut.words.weight)


def test_training_comes_nearer_at_every_size():
    ids = texts(20, count=40)  # words that every size has
    meaning = np.random.default_rng(0).normal(size=(20, LARGE["vector_size"]))
    targets = np.stack([meaning[text].mean(axis=0) for text in ids]).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)

    def nearness():
        vectors = [encode_ids(slice_student(elastic, k), ids, 16) for k in range(3)]
        heads = [targets[:, : s.student.vector_size] for s in SIZES]
        return np.asarray(
            [
                (x * y / np.linalg.norm(y, axis=1, keepdims=True)).sum(axis=1).mean()
                for x, y in zip(vectors, heads, strict=True)
            ]
        )

    elastic = ElasticStudent(SIZES, seed=1)
    before = nearness()
    settings = family(steps=25, learning_rate=1e-2, word_rate_share=1.0)
    lessons = ElasticLessons([ids] * 3, targets, np.full(40, 1 / 40))
    losses = train_elastic(elastic, lessons, settings, LOSS, seed=1)
    assert len(losses) == 25
    assert (nearness() > before + 0.2).all()


def test_killed_training_goes_on_to_the_same_weights(lessons, tmp_path):
    def stop_at(step):
        def progress(_what, done, _total):
            if done == step:
                raise KeyboardInterrupt

        return progress

    whole, broken = ElasticStudent(SIZES, seed=1), ElasticStudent(SIZES, seed=1)
    expected = train_elastic(whole, lessons, family(), LOSS, seed=3)
    with pytest.raises(KeyboardInterrupt):
        train_elastic(broken, lessons, family(), LOSS, 3, stop_at(5), checkpoints=tmp_path)
    again = ElasticStudent(SIZES, seed=9)
    losses = train_elastic(again, lessons, family(), LOSS, seed=3, checkpoints=tmp_path)
    assert losses == expected
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_imitation_learns_from_the_largest_and_not_the_other_way(lessons):
    two = family(sizes=SIZES[::2], imitation=1.0, between=0, steps=1)
    elastic = lived(two.sizes)
    asked = []

    def loss(x, y):
        asked.append((x.detach(), y.detach(), y.requires_grad))
        return LOSS(x, y)

    train_elastic(
        elastic,
        ElasticLessons(lessons.ids[::2], lessons.targets, lessons.weights),
        two,
        loss,
        seed=1,
    )
    (largest, _, _), _, (_, imitated, learns) = asked
    first = torch.nn.functional.normalize(largest[:, :10], dim=1)
    assert torch.equal(imitated, first)
    assert not learns


def test_the_sandwich_always_has_both_ends():
    drawn = [sandwich(family(), seed=1, step=step) for step in range(20)]
    assert all(sizes == [2, 0, 1] for sizes in drawn)
    four = family(sizes=(*SIZES, size("huge", 50)))
    drawn = [sandwich(four, seed=1, step=step) for step in range(20)]
    assert all(sizes[:2] == [3, 0] for sizes in drawn)
    assert {tuple(sizes[2:]) for sizes in drawn} == {(1,), (2,)}


def test_lessons_need_a_split_per_size(lessons):
    with pytest.raises(DataError, match="split for 1 sizes, the student has 3"):
        train_elastic(
            lived(),
            ElasticLessons(lessons.ids[:1], lessons.targets, lessons.weights),
            family(),
            LOSS,
            seed=1,
        )


def test_a_device_that_is_not_there_is_refused(lessons, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match="torch sees no GPU"):
        train_elastic(lived(), lessons, family(device="cuda"), LOSS, seed=1)


def test_going_astray_raises(lessons):
    spoilt = ElasticLessons(lessons.ids, lessons.targets * np.float32(np.nan), lessons.weights)
    with pytest.raises(DataError, match=r"astray at step 1.*learning_rate"):
        train_elastic(lived(), spoilt, family(), LOSS, seed=1)


@pytest.mark.parametrize("spoilt", [[2, 20, 3], [2, *[5] * 11, 3]])
def test_texts_split_with_other_words_are_refused(lessons, spoilt):
    ids = [[*lessons.ids[0], spoilt], *lessons.ids[1:]]
    strange = ElasticLessons(ids, lessons.targets, lessons.weights)
    with pytest.raises(DataError, match=r"texts of size 'small'.*allowed are 12 and 19"):
        train_elastic(lived(), strange, family(), LOSS, seed=1)
