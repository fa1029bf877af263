"""Grids and seeds from the command line: what they mean, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SettingsError
from simulation.experiments.studies.study_grid import (
    parse_grid,
    parse_seeds,
    value_text,
    variants_of,
)


def test_values_are_toml_or_words():
    found = parse_grid(["a.b=1,2.5,true,fedavg"])
    assert found == {"a.b": (1, 2.5, True, "fedavg")}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["federation.rounds"], r"--grid wants section.key=v1,v2, got 'federation.rounds'"),
        (["=1"], "wants section.key"),
        (["a.b=1,,2"], r"--grid a.b=1,,2: value 2 is empty"),
        (["a.b="], "value 1 is empty"),
        (["a.b=20,20"], "a.b has the value 20 twice: leave one out"),
        (["a.b=20,20.0"], "twice"),
        (["a.b=1", "a.b=2"], "given twice: put all its values into one"),
    ],
)
def test_a_wrong_grid_names_the_thing_and_the_cure(words, told):
    with pytest.raises(SettingsError, match=told):
        parse_grid(words)


def test_one_and_true_are_two_values():
    assert parse_grid(["a=1,true"]) == {"a": (1, True)}


@pytest.mark.parametrize("text", ["", "x", "1,", "3-1", "0,0", "1-2,2", "-1", "0-99999", "0.5"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(SettingsError, match="--seeds"):
        parse_seeds(text)


@given(st.lists(st.integers(0, 500), min_size=1, unique=True))
def test_seeds_come_back_as_given(seeds):
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


ARMS = [("one", "One", ("x=1",)), ("two", "Two", ())]


@given(
    st.dictionaries(
        st.sampled_from(["a.k", "b.k", "c"]),
        st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
        max_size=3,
    )
)
def test_variants_are_counted_and_named_apart(grid):
    crossed, changed = (variants_of(ARMS, grid, how) for how in ("cross", "one-at-a-time"))
    product = 1
    for values in grid.values():
        product *= len(values)
    assert len(crossed) == 2 * product
    assert len(changed) == 2 * (1 + sum(map(len, grid.values())))
    for variants in (crossed, changed):
        assert len({variant.name for variant in variants}) == len(variants)


def test_a_point_comes_after_its_arm():
    variant = variants_of(ARMS, {"x": (5,)}, "cross")[0]
    assert variant.overrides == ("x=1", "x=5")
    assert variant.point == (("x", "5"),)


def test_texts_of_values_are_read_back_as_they_were():
    values = (True, 3, 0.25, "fedavg")
    words = ["k=" + ",".join(map(value_text, values))]
    assert parse_grid(words)["k"] == values
