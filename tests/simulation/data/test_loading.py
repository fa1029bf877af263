import pytest
from pydantic import ValidationError

from models.errors import DataError, SettingsError
from simulation.data import loading
from simulation.data.loading import DataSettings, load_interactions


def settings(source, path="", items_path=""):
    return DataSettings(source=source, path=str(path), items_path=str(items_path))


def test_each_source_goes_to_its_loader(tmp_path, monkeypatch):
    calls = []
    for name in ("load_movielens_100k", "load_catalogue", "load_tables"):
        monkeypatch.setattr(loading, name, lambda *given, name=name: calls.append((name, *given)))
    progress = object()
    load_interactions(settings("ml-100k"), tmp_path, progress)
    load_interactions(settings("movielens-folder", tmp_path), tmp_path / "cache")
    load_interactions(settings("table", tmp_path / "a", tmp_path / "b"), tmp_path / "cache")
    assert calls == [
        ("load_movielens_100k", tmp_path, progress),
        ("load_catalogue", "movielens-folder", tmp_path),
        ("load_tables", tmp_path / "a", tmp_path / "b"),
    ]


@pytest.mark.parametrize(
    ("source", "path", "items_path", "says"),
    [
        ("movielens-folder", "", "", r"data\.source=movielens-folder needs data\.path"),
        ("table", "a", "", r"data\.source=table needs data\.items_path"),
        ("ml-100k", "a", "", r"data\.path=a is not used by data\.source=ml-100k: leave it"),
        ("movielens-folder", "a", "b", r"data\.items_path=b is not used"),
    ],
)
def test_paths_must_fit_the_source(source, path, items_path, says, tmp_path):
    with pytest.raises(SettingsError, match=says):
        load_interactions(settings(source, path, items_path), tmp_path)


def test_a_wrong_source_lists_the_allowed_ones():
    with pytest.raises(
        ValidationError, match=r"'ml-100k', 'auto', 'movielens-folder', 'mind'.* or 'table'"
    ):
        settings("netflix")


def test_a_wrong_path_is_one_line(tmp_path):
    for source, items_path in (("movielens-folder", ""), ("table", tmp_path / "items.csv")):
        with pytest.raises(DataError, match="there is no"):
            load_interactions(settings(source, tmp_path / "none", items_path), tmp_path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/none"):
        load_interactions(settings("movielens-folder", "~/none"), tmp_path)
