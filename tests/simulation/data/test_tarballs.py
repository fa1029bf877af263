import dataclasses
import errno
import functools
import io
import re
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models.errors import DataError
from simulation.data import tarballs
from simulation.data.tarballs import fetch_tarball, read_members
from tests.simulation.data.made_up import cached_tarball, tiny_tarball

MEMBERS = {"package/letter.txt": b"dear reader", "package/large.bin": b"x" * 5000}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that is served over HTTP, and its address."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def served(registry, **changes):
    folder, address = registry
    tarball = tiny_tarball(folder, "letter-box", MEMBERS)
    return dataclasses.replace(tarball, **{"url": f"{address}letter-box.tgz", **changes})


def test_a_tarball_comes_once_and_a_damaged_one_again(registry, tmp_path):
    tarball, told = served(registry), []
    path = fetch_tarball(tarball, tmp_path / "cache", lambda *event: told.append(event))
    assert path == tarball.path_in(tmp_path / "cache")
    assert read_members(path, set(MEMBERS), 5000) == MEMBERS
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert told == [
        ("download letter-box==1.0 (source)", 0, 1),
        ("download letter-box==1.0 (source)", 1, 1),
    ]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    assert fetch_tarball(tarball, tmp_path / "cache").read_bytes() == whole
    (registry[0] / "letter-box.tgz").unlink()
    assert fetch_tarball(tarball, tmp_path / "cache") == path  # needs no registry any more


def on_npm(registry):
    """A tarball where a registry of npm would have it."""
    tarball = served(registry, url="npm:letter-box")
    place = registry[0] / "letter-box" / "-"
    place.mkdir(parents=True)
    (registry[0] / "letter-box.tgz").rename(place / "letter-box-1.0.tgz")
    return tarball


def test_the_environment_says_where_npms_registry_is(registry, tmp_path, monkeypatch):
    tarball = on_npm(registry)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry[1].rstrip("/"))
    monkeypatch.setenv("PATH", "")  # npm is not asked
    assert tarball.requirement == "npm:letter-box@1.0"
    assert read_members(fetch_tarball(tarball, tmp_path / "cache"), set(MEMBERS), 5000) == MEMBERS


def test_else_npm_says_it(registry, tmp_path, monkeypatch):
    tarball, npm = on_npm(registry), tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n[ "$*" = "config get registry" ] && echo {registry[1]}\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    assert read_members(fetch_tarball(tarball, tmp_path / "cache"), set(MEMBERS), 5000) == MEMBERS


def test_without_npm_the_cure_is_said(registry, tmp_path, monkeypatch):
    tarball = on_npm(registry)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="install npm, or set NPM_CONFIG_REGISTRY"):
        fetch_tarball(tarball, tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sha256": "0" * 64}, r"pinned is 0{16}\.\.\.: it was thrown away"),
        ({"max_bytes": 10}, "more than 10 bytes: not trusted"),
        ({"url": "file:///etc/passwd"}, "is no web address"),
    ],
)
def test_what_is_not_as_pinned_leaves_nothing(changes, says, registry, tmp_path):
    with pytest.raises(DataError, match=says):
        fetch_tarball(served(registry, **changes), tmp_path / "cache")
    assert list((tmp_path / "cache" / "tarballs").iterdir()) == []


def test_a_missing_file_and_no_server_are_one_line_with_the_cure(registry, tmp_path):
    tarball = served(registry)
    (registry[0] / "letter-box.tgz").unlink()
    nowhere = dataclasses.replace(tarball, url="http://127.0.0.1:9/letter-box.tgz")
    for one, reason in ((tarball, "File not found"), (nowhere, "refused")):
        with pytest.raises(DataError, match=f"cannot download .*{reason}") as caught:
            fetch_tarball(one, tmp_path / "cache")
        assert str(caught.value).endswith("or: use your own files")
        assert "\n" not in str(caught.value)


def test_a_full_disk_while_downloading_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarballs, "_download", full)
    with pytest.raises(DataError, match="the disk is full"):
        fetch_tarball(tiny_tarball(tmp_path, "letter-box", MEMBERS), tmp_path / "cache")


def test_members_are_found_by_name_or_pattern(tmp_path):
    path = cached_tarball(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    assert list(read_members(path, {"package/letter.txt"}, 100)) == ["package/letter.txt"]
    assert list(read_members(path, re.compile(r"package/\w+\.bin"), 5000)) == ["package/large.bin"]
    with pytest.raises(DataError, match="holds no package/none"):
        read_members(path, {"package/letter.txt", "package/none"}, 100)
    with pytest.raises(DataError, match="holds no x"):
        read_members(path, re.compile("x+"), 100)
    with pytest.raises(DataError, match="there is no file"):
        read_members(tmp_path / "none.tgz", {"a"}, 100)


def test_large_members_and_bombs_are_refused(tmp_path, monkeypatch):
    path = cached_tarball(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    with pytest.raises(DataError, match=r"5,000 bytes, allowed are 4,999"):
        read_members(path, {"package/large.bin"}, 4999)
    monkeypatch.setattr(tarballs, "MAX_TAR_BYTES", 5000)
    with pytest.raises(DataError, match="unpacks to more than 5,000 bytes"):
        read_members(path, {"package/letter.txt"}, 100)


def test_a_link_is_never_followed(tmp_path):
    path = tmp_path / "links.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in (("symbolic", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        archive.addfile(tarfile.TarInfo("plain"), io.BytesIO())
    assert read_members(path, {"plain"}, 10) == {"plain": b""}
    for name in ("symbolic", "hard"):
        with pytest.raises(DataError, match=f"holds no {name}"):
            read_members(path, {name}, 10_000)


def test_what_is_no_tarball_or_is_cut_off_is_one_line(tmp_path):
    (tmp_path / "text.tgz").write_text("no tarball")
    with pytest.raises(DataError, match=r"cannot read text\.tgz"):
        read_members(tmp_path / "text.tgz", {"a"}, 100)
    path = cached_tarball(tmp_path, "letter-box", MEMBERS).path_in(tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="fetch it again"):
        read_members(path, {"package/letter.txt"}, 100)
