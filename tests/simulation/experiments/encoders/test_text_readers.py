import numpy as np
import pytest

from models.errors import DataError
from simulation.experiments.encoders.text_readers import (
    TextReader,
    no_text_reader,
    random_reader,
    tf_idf_reader,
)

CATALOGUE = [f"word{k % 5} film {k} of {1950 + k}" for k in range(30)]
READERS = [
    tf_idf_reader(CATALOGUE, 12, 0),
    random_reader(12, 0),
    no_text_reader(12),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_readers_vector_depends_on_its_text_alone(reader: TextReader):
    together = reader.read([*CATALOGUE, CATALOGUE[3]])
    assert together.shape == (31, 12) and together.dtype == np.float32
    np.testing.assert_allclose(reader.read([CATALOGUE[3]])[0], together[3], atol=1e-6)
    np.testing.assert_allclose(together[30], together[3], atol=1e-6)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_catalogue_is_placed_as_on_phones(reader: TextReader):
    placed = reader.placed(CATALOGUE)
    lengths = np.linalg.norm(placed, axis=1)
    expected = 0.0 if reader.name == "none" else 1.0
    np.testing.assert_allclose(lengths, expected, atol=1e-5)


def test_tf_idf_tells_years_apart_and_is_near_where_words_are_shared():
    reader = tf_idf_reader(CATALOGUE, 25, 0)
    vectors = reader.placed(CATALOGUE)
    near = (vectors[0] * vectors[5]).sum()  # both word0
    assert near > (vectors[0] * vectors[1]).sum()
    assert np.abs(vectors[0] - vectors[5]).max() > 0.01


def test_tf_idf_is_never_wider_than_its_table():
    assert tf_idf_reader(CATALOGUE[:4], 100, 0).read(CATALOGUE[:2]).shape == (2, 3)


def test_random_vectors_depend_on_the_seed():
    assert np.any(random_reader(8, 0).read(["a"]) != random_reader(8, 1).read(["a"]))


def test_vectors_that_are_no_numbers_are_refused():
    broken = TextReader("broken", lambda texts: np.full((len(texts), 3), np.nan, np.float32))
    with pytest.raises(DataError, match="encoder broken gives vectors that are not finite"):
        broken.placed(CATALOGUE)
