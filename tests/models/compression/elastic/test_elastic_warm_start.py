import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.elastic.elastic_student import ElasticSize, ElasticStudent, slice_student
from models.compression.elastic.elastic_training import ElasticLessons
from models.compression.elastic.elastic_warm_start import seat_elastic, start_elastic
from models.compression.pretraining.batches import encode_ids
from models.compression.pretraining.warm_start import WarmStartSettings, WordVectors
from models.compression.student import StudentSettings
from models.errors import DataError

WORDS, SIZE = 30, 12
SHAPE = {"intermediate_size": 16, "layers": 2, "passes": 2, "max_tokens": 12, "adapter_size": 2}
TEXTS = [[2, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3], [2, 7, 14, 3]]


def sizes(*pairs, vector_sizes=(), **changes):
    """One size per (E, H), heads of 8 numbers; all words but the smallest's."""
    vector_sizes = vector_sizes or [SIZE] * len(pairs)
    return [
        ElasticSize(
            name=str(k),
            words=WORDS if k else 20,
            student=StudentSettings.model_validate(
                {
                    **SHAPE,
                    "embedding_size": E,
                    "hidden_size": H,
                    "num_heads": H // 8,
                    "vector_size": vector_sizes[k],
                    **changes,
                }
            ),
        )
        for k, (E, H) in enumerate(pairs)
    ]


def of_rank(vectors, rank):
    """The bag of words on its first principal axes."""
    axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :rank]
    return vectors @ axes @ axes.T


def direction(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=4)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize(
    ("pairs", "ranks"),
    [
        ([(8, 16), (16, 24)], [6, 12]),  # 6 axes, then 6 more of the 12 there are
        ([(8, 16), (8, 24)], [6, 6]),  # the same table, wider inside
        ([(8, 16), (12, 16), (16, 24)], [6, 8, 10]),  # two blocks share one H
        ([(8, 16), (9, 24), (16, 32)], [6, 6, 11]),  # one number more holds no axis
        ([(8, 8), (16, 16)], [6, 12]),  # nothing is widened
    ],
)
def test_every_size_is_its_own_bag_of_words(seed, pairs, ranks):
    vectors = np.random.default_rng(seed).normal(size=(WORDS, SIZE))
    elastic = ElasticStudent(sizes(*pairs), seed=1)
    seat_elastic(elastic, WordVectors(vectors, np.ones(WORDS)), length_quantile=1.0, seed=seed)
    for place, rank in enumerate(ranks):
        bag = of_rank(vectors, rank)
        expected = direction(np.stack([bag[text].mean(axis=0) for text in TEXTS]))
        got = encode_ids(slice_student(elastic, place), TEXTS, 8)
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_a_smaller_vector_is_the_head_of_the_larger():
    vectors = np.random.default_rng(0).normal(size=(WORDS, SIZE))
    elastic = ElasticStudent(sizes((16, 24), (16, 24), vector_sizes=[5, SIZE]), seed=1)
    seat_elastic(elastic, WordVectors(vectors, np.ones(WORDS)), length_quantile=1.0, seed=0)
    small, large = (encode_ids(slice_student(elastic, k), TEXTS, 8) for k in range(2))
    np.testing.assert_allclose(small, direction(large[:, :5]), atol=2e-5)


def test_a_bag_of_words_family():
    static = sizes((8, 8), (16, 16), layers=0, passes=1, adapter_size=0)
    vectors = np.random.default_rng(0).normal(size=(WORDS, SIZE))
    elastic = ElasticStudent(static, seed=1)
    seat_elastic(elastic, WordVectors(vectors, np.ones(WORDS)), length_quantile=1.0, seed=0)
    expected = direction(np.stack([vectors[text].mean(axis=0) for text in TEXTS]))
    got = encode_ids(slice_student(elastic, 1), TEXTS, 8)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_every_corner_of_the_table_has_one_length_and_mean_zero():
    vectors = np.random.default_rng(0).normal(size=(WORDS, SIZE))
    elastic = ElasticStudent(sizes((8, 16), (16, 24)), seed=1)
    seat_elastic(elastic, WordVectors(vectors, np.ones(WORDS)), length_quantile=0.7, seed=0)
    for width in (8, 16):
        table = elastic.largest.words.weight.detach().numpy()[:, :width]
        lengths = np.linalg.norm(table, axis=1)
        np.testing.assert_allclose(lengths, lengths[0], atol=1e-5)
        np.testing.assert_allclose(table.mean(axis=1), 0, atol=1e-6)


def test_the_fit_sees_every_sizes_split():
    """Words that only the smallest's split has are learnt too."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(WORDS, SIZE))
    small, large = (
        [rng.integers(low, high, size=3).tolist() for _ in range(200)]
        for low, high in ((5, 17), (17, WORDS))
    )
    texts = [one + other for one, other in zip(small, large, strict=True)]
    # Both splits say the same: the targets are the mean of the words of either.
    targets = np.stack([meaning[text].mean(axis=0) for text in texts])
    lessons = ElasticLessons(
        [texts, texts], direction(targets).astype(np.float32), np.full(200, 1 / 200)
    )
    settings = WarmStartSettings(penalty=0.001, rounds=100, length_quantile=1.0)
    elastic = ElasticStudent(sizes((8, 16), (16, 24)), seed=1)
    start_elastic(elastic, lessons, np.zeros((WORDS, 4)), settings, seed=1)
    cosines = (encode_ids(elastic.largest, texts, 50) * lessons.targets).sum(axis=1)
    assert cosines.mean() > 0.9
    texts_small = [[word for word in text if word < 20] for text in texts]
    assert np.isfinite(encode_ids(slice_student(elastic, 0), texts_small, 50)).all()


def test_norms_start_fresh_again():
    elastic = ElasticStudent(sizes((8, 16), (16, 24)), seed=1)
    with torch.no_grad():
        elastic.norms[0][0].bias.fill_(3.0)
    vectors = np.random.default_rng(0).normal(size=(WORDS, SIZE))
    seat_elastic(elastic, WordVectors(vectors, np.ones(WORDS)), length_quantile=1.0, seed=0)
    assert elastic.norms[0][0].bias.abs().sum() == 0


def test_another_vocabulary_is_refused():
    elastic = ElasticStudent(sizes((8, 16), (16, 24)), seed=1)
    with pytest.raises(DataError, match="has 9 words, the largest size has 30"):
        seat_elastic(elastic, WordVectors(np.ones((9, SIZE)), np.ones(9)), 1.0, seed=0)
