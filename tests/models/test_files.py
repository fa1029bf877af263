import errno
import os

import pytest

from models.errors import DataError
from models.files import replace_folder, write_json, write_whole


def test_a_file_appears_whole(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"b": 1, "a": "ä"})
    assert (tmp_path / "deep" / "a.json").read_text("utf-8") == '{\n  "a": "ä",\n  "b": 1\n}\n'


def test_a_write_that_breaks_leaves_the_old_file_and_no_scraps(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), write_whole(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_one_clear_line(tmp_path):
    line = r"disk is full while writing .*a\.bin: free some space"
    with pytest.raises(DataError, match=line), write_whole(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "new").read_text() == "new"
