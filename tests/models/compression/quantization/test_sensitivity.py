from itertools import product

import numpy as np
import pytest

from models.compression.export.encoder_graph import export_graph
from models.compression.quantization.few_bits import uniform, weight_names
from models.compression.quantization.sensitivity import (
    SensitivityRow,
    choose_plan,
    compare,
    encode,
    sensitivity,
)
from models.compression.student import StudentSettings, build_student
from models.errors import BudgetError, DataError
from tests.models.conftest import TINY

SHAPE = StudentSettings.model_validate(
    {**TINY["student"], "layers": 0, "embedding_size": 32, "passes": 1}
)
TEXTS = [[2, *range(5 + k, 9 + 2 * k), 3] for k in range(6)]


@pytest.fixture(scope="module")
def student():
    return build_student(SHAPE, 40, seed=1).eval()


@pytest.fixture(scope="module")
def table(student):
    return sensitivity(student, TEXTS, (8, 4, 2))


def test_each_weight_alone_at_each_number_of_bits(student, table):
    names = weight_names(SHAPE)
    assert [(row.weight, row.bits) for row in table] == list(product(names, (8, 4, 2)))
    for name in names:
        rows = [row for row in table if row.weight == name]
        assert [row.cosine for row in rows] == sorted((row.cosine for row in rows), reverse=True)
        assert [row.bytes_saved for row in rows] == sorted(row.bytes_saved for row in rows)
        assert rows[0].cosine > 0.999
    words = next(row for row in table if (row.weight, row.bits) == ("words", 8))
    # A byte instead of four per number, and a step per row.
    assert words.bytes_saved == 40 * (32 * 3 - 1) - 8


def test_a_row_is_what_its_own_graph_gives(student, table):
    full = uniform(student, 32)
    row = next(row for row in table if (row.weight, row.bits) == ("projector", 2))
    likeness = compare(
        encode(export_graph(student, full), TEXTS),
        encode(export_graph(student, {**full, "projector": 2}), TEXTS),
    )
    assert (likeness.cosine, likeness.neighbours) == (row.cosine, row.neighbours)


def test_the_plan_is_the_best_of_all_that_fit(student, table):
    """Against trying every plan."""
    losses = {(row.weight, row.bits): 1 - row.cosine for row in table}
    names = weight_names(SHAPE)
    plans = [dict(zip(names, bits, strict=True)) for bits in product((8, 4, 2), repeat=3)]
    sizes = [export_graph(student, plan).ByteSize() for plan in plans]
    for budget in np.linspace(sizes[-1], max(sizes), 7).astype(int):
        fitting = [p for p, size in zip(plans, sizes, strict=True) if size <= budget]
        chosen = choose_plan(student, table, int(budget))
        assert chosen in fitting
        loss = [sum(losses[item] for item in plan.items()) for plan in (chosen, *fitting)]
        # What no row tells of (functions that unpack) may hide a plan that is a little better.
        assert loss[0] <= min(loss[1:]) * 2 + 1e-6


def test_enough_bytes_for_the_most_bits(student, table):
    assert set(choose_plan(student, table, 10**6).values()) == {8}


def test_no_plan_fits(student, table):
    with pytest.raises(BudgetError, match=r"at the fewest bits tried .* at most 500 are allowed"):
        choose_plan(student, table, 500)


def test_a_table_of_another_student_is_refused(student, table):
    with pytest.raises(DataError, match="no row of"):
        choose_plan(student, table[:3], 10**6)
    other = SensitivityRow("layers.7.feed_in", 8, 1.0, 1.0, 10)
    with pytest.raises(DataError, match=r"a row of layers\.7\.feed_in"):
        choose_plan(student, [*table, other], 10**6)


def test_one_text_has_no_neighbours(student):
    with pytest.raises(DataError, match="1 texts have no neighbours"):
        sensitivity(student, TEXTS[:1])


def test_likeness_of_an_encoder_with_itself():
    vectors = np.eye(5, dtype=np.float32)
    likeness = compare(vectors, vectors)
    assert (likeness.cosine, likeness.neighbours) == (1, 1)
