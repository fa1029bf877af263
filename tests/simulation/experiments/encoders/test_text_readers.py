import numpy as np
import pytest

from models.errors import DataError
from simulation.experiments.encoders.text_readers import (
    TextReader,
    no_text_reader,
    random_reader,
    static_reader,
    tf_idf_reader,
)

CATALOGUE = [f"word{k % 5} film {k} of {1950 + k}" for k in range(30)]
READERS = [
    tf_idf_reader(CATALOGUE, 12, 0),
    random_reader(12, 0),
    no_text_reader(12),
    static_reader(random_reader(20, 0), CATALOGUE, 12, 0),
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


def test_static_vectors_do_not_look_at_company_or_order():
    reader = static_reader(random_reader(16, 0), CATALOGUE, 16, 0)
    one, turned, alone = reader.read(["film of word1", "Word1 of FILM", "word1 unknown"])
    np.testing.assert_allclose(one, turned, atol=1e-6)
    np.testing.assert_allclose(alone, reader.read(["word1"])[0], atol=1e-6)
    assert not reader.read(["nothing known"]).any()


def test_static_vectors_are_led_by_rare_words():
    """ "film" stands in every text, "1950" in one: their mean lies nearer to the rare one."""
    reader = static_reader(random_reader(16, 0), CATALOGUE, 16, 0)
    both, common, rare = reader.read(["film 1950", "film", "1950"])
    np.testing.assert_allclose(both, (common + rare) / 2, atol=1e-6)
    assert np.linalg.norm(rare) > 5 * np.linalg.norm(common)


def test_static_vectors_need_words():
    with pytest.raises(DataError, match="2 texts have no word"):
        static_reader(random_reader(16, 0), ["...", ""], 16, 0)
