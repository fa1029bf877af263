import errno
import hashlib
from pathlib import Path

import pytest

from models.errors import DataError
from simulation.data.cache import cache_folder, clear_write_errors, new_folder, sha256_of


def test_the_variable_chooses_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"


@pytest.mark.parametrize("value", [None, "  "])
def test_without_the_variable_it_is_the_users_cache(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("POCKETFLEET_CACHE", raising=False)
    else:
        monkeypatch.setenv("POCKETFLEET_CACHE", value)
    assert cache_folder().name == "pocketfleet"
    assert cache_folder().is_absolute()


def test_a_file_in_the_place_of_the_cache_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="not a folder: set POCKETFLEET_CACHE"):
        cache_folder()


def test_sha256_is_that_of_the_whole_file(tmp_path):
    content = bytes(range(256)) * 9000  # more than two chunks
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert sha256_of(tmp_path / "file", len(content)) == hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match="more than 2,303,999 bytes"):
        sha256_of(tmp_path / "file", len(content) - 1)


def test_sha256_of_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        sha256_of(tmp_path / "none")


def test_a_full_disk_is_one_line_with_the_cure():
    with pytest.raises(DataError) as caught, clear_write_errors(Path("some/file")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value).startswith("the disk is full, so some/file was not written: free")
    assert "\n" not in str(caught.value)


def test_other_write_errors_keep_their_reason():
    with (
        pytest.raises(DataError, match="cannot write some/file: Permission denied"),
        clear_write_errors(Path("some/file")),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_new_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "folder"
    for content in ("old", "new"):
        with new_folder(target) as scratch:
            (scratch / content).write_text(content)
    assert [entry.name for entry in target.iterdir()] == ["new"]


def test_a_failed_folder_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "folder") as scratch:
        (scratch / "half").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
