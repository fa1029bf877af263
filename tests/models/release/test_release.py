"""A release is what its signed manifest says, or it is refused."""

import hashlib
import json
import shutil

import pytest

from models.errors import DataError
from models.release.folder import Release, make_release
from models.release.manifest import MANIFEST, SIGNATURE, ReleaseManifest
from models.release.signing import (
    make_keys,
    read_private_key,
    read_public_key,
    sign,
    verify,
)
from tests.models.release.made_up import (
    KEY,
    OTHER_KEY,
    about,
    contents_of,
    files,
    release,
    write,
)

PUBLIC = KEY.public_key()


def test_a_release_opens_as_it_was_made(tmp_path):
    made = release(tmp_path, 8)
    opened = Release.open(made.folder, PUBLIC)
    assert opened == made and contents_of(opened) == files()
    words = hashlib.sha256(files()["bundle/vocab.txt"]).hexdigest()
    assert opened.manifest.vocabulary_sha256 == words and opened.manifest.epsilon == 4.0
    assert ReleaseManifest.from_bytes(opened.signed).to_bytes() == opened.signed


def test_the_same_files_give_the_same_bytes(tmp_path):
    one, two = release(tmp_path / "one", 8), release(tmp_path / "two", 8)
    assert (one.signed, one.signature) == (two.signed, two.signature)


def flip(path, place=0):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: flip(f / "files/recommender.npz", 100), "does not have the SHA-256"),
        (lambda f: cut(f / "files/recommender.npz"), "bytes, its manifest says"),
        (lambda f: (f / "files/item_text.npy").unlink(), r"missing \['item_text.npy'\]"),
        (lambda f: (f / "files/more").write_bytes(b""), r"unknown \['more'\]"),
        (lambda f: flip(f / MANIFEST, 30), "not signed by the key"),
        (lambda f: cut(f / MANIFEST), "not signed by the key"),
        (lambda f: flip(f / SIGNATURE), "not signed by the key"),
        (lambda f: cut(f / SIGNATURE), "not signed by the key"),
        (lambda f: (f / SIGNATURE).write_bytes(b"x" * 65), "more than 64 bytes"),
        (lambda f: (f / SIGNATURE).unlink(), "there is no manifest.sig"),
        (lambda f: (f / MANIFEST).write_bytes(b" " * 70_000), "more than 65,536 bytes"),
        (lambda f: shutil.rmtree(f / "files"), "there is no folder"),
        (
            lambda f: (
                (f / "files/package.json").unlink(),
                (f / "files/package.json").symlink_to("/etc/hostname"),
            ),
            "not a plain file",
        ),
    ],
)
def test_a_release_that_was_tampered_with_is_refused(tmp_path, harm, message):
    folder = release(tmp_path, 8).folder
    harm(folder)
    with pytest.raises(DataError, match=message):
        Release.open(folder, PUBLIC)


def test_a_wrong_key_and_a_signature_for_something_else_are_refused(tmp_path):
    made = release(tmp_path, 8, key=OTHER_KEY)
    with pytest.raises(DataError, match="not signed by the key"):
        Release.open(made.folder, PUBLIC)
    with pytest.raises(DataError, match="not signed by the key"):
        verify(made.signed, KEY.sign(made.signed), PUBLIC)  # without the purpose
    verify(made.signed, sign(made.signed, KEY), PUBLIC)


def changed(**changes):
    tree = json.loads(about(8, files={}).__class__.to_bytes(_with_a_file()))
    return json.dumps(tree | changes).encode()


def _with_a_file() -> ReleaseManifest:
    return ReleaseManifest.from_bytes(
        json.dumps(
            {
                "format": "pocketfleet-release/1",
                "name": "x",
                "version": "1.0.0",
                "sequence": 1,
                "files": {"a": {"bytes": 1, "sha256": "0" * 64}},
                "min_app_version": "1.0.0",
                "min_memory_mb": 0,
                "vocabulary_sha256": "",
                "parent": "",
                "epsilon": None,
            }
        ).encode()
    )


ONE = {"bytes": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(files={"../evil": ONE}), "plain names and folders only"),
        (changed(files={"/etc/passwd": ONE}), "plain names and folders only"),
        (changed(files={"a\\b": ONE}), "plain names and folders only"),
        (changed(files={".hidden": ONE}), "plain names and folders only"),
        (changed(files={"a//b": ONE}), "plain names and folders only"),
        (changed(files={"A": ONE, "a": ONE}), "some disks take for one"),
        (changed(files={"a": ONE, "a/b": ONE}), "also a folder"),
        (changed(files={}), "names no files"),
        (changed(files={"a": {"bytes": 10**12, "sha256": "0" * 64}}), "a size of a"),
        (changed(files={"a": {"bytes": True, "sha256": "0" * 64}}), "a size of a"),
        (changed(sequence=0), "a whole number from 1 on"),
        (changed(sequence=1.5), "a whole number from 1 on"),
        (changed(min_app_version="two"), "write three numbers"),
        (changed(epsilon=-1), "has epsilon -1"),
        (changed(min_memory_mb=None), "has min_memory_mb None"),
        (changed(more=1), "exactly the keys"),
        (b'{"a": 1, "a": 2}', "is no JSON"),
        (b"[" * 50_000, "is no JSON"),
        (changed(epsilon=float("nan")), "has epsilon nan"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        ReleaseManifest.from_bytes(content)


def test_a_release_is_never_changed_and_never_holds_a_key(tmp_path):
    made = release(tmp_path, 8)
    with pytest.raises(DataError, match="a release is never changed"):
        make_release(made.folder, tmp_path / "content-8", about(9), KEY)
    make_keys(tmp_path / "content-8/key.pem", tmp_path / "public.pem")
    with pytest.raises(DataError, match="holds a private key"):
        make_release(tmp_path / "new", tmp_path / "content-8", about(9), KEY)
    assert not (tmp_path / "new").exists()


def test_keys_are_read_by_path_and_are_not_written_over(tmp_path):
    private, public = tmp_path / "keys/private.pem", tmp_path / "keys/public.pem"
    make_keys(private, public)
    assert private.stat().st_mode & 0o077 == 0
    signature = sign(b"manifest", read_private_key(private))
    verify(b"manifest", signature, read_public_key(public))
    with pytest.raises(DataError, match="a key is not written over"):
        make_keys(private, tmp_path / "another.pem")
    with pytest.raises(DataError, match="no public key in PEM"):
        read_public_key(private)
    with pytest.raises(DataError, match="no private key in PEM"):
        read_private_key(public)
    with pytest.raises(DataError, match="cannot read the key"):
        read_public_key(tmp_path / "none.pem")


def test_a_content_without_files_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        make_release(tmp_path / "r", tmp_path / "empty", about(1), KEY)
    with pytest.raises(DataError, match="there is no folder"):
        make_release(tmp_path / "r", tmp_path / "nowhere", about(1), KEY)
    assert write(tmp_path / "c", {"a": b""}).is_dir()
