"""A release by the command line: made, verified, told as a delta, and refused."""

import json

import pytest

from simulation.__main__ import run
from tests.models.release.made_up import files, write


@pytest.fixture
def keyring(tmp_path, capsys):
    assert run(["release", "keys", "--out", str(tmp_path / "keys"), "--json"]) == 0
    capsys.readouterr()
    return tmp_path / "keys"


def make(tmp_path, keyring, sequence, step, *more):
    content = write(tmp_path / f"content-{sequence}", files(step))
    words = ["release", "make", content, "--out", tmp_path / f"r{sequence}", "--sequence", sequence]
    words += ["--key", keyring / "private.pem", "--version", "2.1.0", "--json", *more]
    return run([str(word) for word in words])


def test_from_keys_to_a_delta(tmp_path, keyring, capsys):
    assert make(tmp_path, keyring, 7, 0.0) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["parent"] == "" and first["epsilon"] is None
    assert make(tmp_path, keyring, 8, 0.01, "--replaces", tmp_path / "r7", "--epsilon", "4") == 0
    second = json.loads(capsys.readouterr().out)
    assert len(second["parent"]) == 64 and second["epsilon"] == 4.0
    public = str(keyring / "public.pem")
    assert run(["release", "verify", str(tmp_path / "r8"), "-k", public]) == 0
    assert "sequence 8" in capsys.readouterr().out
    arguments = [
        str(tmp_path / "r7"),
        str(tmp_path / "r8"),
        "-o",
        str(tmp_path / "d"),
        "-k",
        public,
    ]
    assert run(["release", "delta", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["delta_bytes"] == (tmp_path / "d").stat().st_size < told["whole_bytes"]
    assert not list((tmp_path / "r8").rglob("*.pem"))


def test_what_is_refused_is_one_line(tmp_path, keyring, capsys):
    assert make(tmp_path, keyring, 7, 0.0) == 0
    assert make(tmp_path, keyring, 8, 0.01) == 0
    capsys.readouterr()
    public = str(keyring / "public.pem")
    backwards = [
        str(tmp_path / "r8"),
        str(tmp_path / "r7"),
        "-o",
        str(tmp_path / "d"),
        "-k",
        public,
    ]
    assert run(["release", "delta", *backwards]) == 2
    assert "give the older release first" in capsys.readouterr().err
    assert make(tmp_path, keyring, 6, 0.0, "--replaces", tmp_path / "r7") == 2
    assert "take 8 or more" in capsys.readouterr().err
    (tmp_path / "r8/files/package.json").write_text("{}")
    assert run(["release", "verify", str(tmp_path / "r8"), "-k", public]) == 2
    said = capsys.readouterr().err.strip()
    assert "fetch the release again" in said and len(said.splitlines()) == 1
