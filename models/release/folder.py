"""A release as a folder: made once, never changed, opened with a key.

release/
  manifest.json     what it holds (models.release.manifest)
  manifest.sig      64 bytes, Ed25519
  files/            an encoder bundle, or a device package, as they were
"""

import shutil
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.bundle import VOCABULARY
from models.errors import DataError
from models.release.manifest import (
    FILES,
    LARGEST_FILE_BYTES,
    MANIFEST,
    MANIFEST_LIMIT_BYTES,
    MOST_FILES,
    SIGNATURE,
    ReleaseFile,
    ReleaseManifest,
)
from models.release.signing import PRIVATE_MARK, SIGNATURE_BYTES, sign, verify


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose signature and files were checked.

    Attributes:
        folder: where it lies.
        manifest: what it says.
        signed: the manifest's bytes, as they were signed.
        signature: of them.
    """

    folder: Path
    manifest: ReleaseManifest
    signed: bytes
    signature: bytes

    @classmethod
    def open(cls, folder: Path, key: Ed25519PublicKey) -> "Release":
        """Open a release: signature, file set, every size, every hash.

        Raises:
            DataError: naming the first thing that is wrong.
        """
        signed, signature = _signed(folder)
        verify(signed, signature, key)
        manifest = ReleaseManifest.from_bytes(signed)
        release = cls(folder, manifest, signed, signature)
        found = set(_plain_files(folder / FILES))
        if found != set(manifest.files):
            missing = sorted(set(manifest.files) - found)[:5]
            unknown = sorted(found - set(manifest.files))[:5]
            raise DataError(
                f"{folder} is not the release of its manifest: missing {missing}, unknown "
                f"{unknown}; fetch it again"
            )
        for name in manifest.files:
            release.read(name)
        return release

    def read(self, name: str) -> bytes:
        """The content of a file, checked.

        Raises:
            DataError: if it is not what the manifest says.
        """
        path, expected = self.folder / FILES / name, self.manifest.files[name]
        if path.stat().st_size != expected.num_bytes:
            raise DataError(
                f"{path} has {path.stat().st_size:,} bytes, its manifest says "
                f"{expected.num_bytes:,}: fetch the release again"
            )
        content = path.read_bytes()
        expected.check(str(path), content)
        return content


def make_release(
    folder: Path, content: Path, manifest: ReleaseManifest, key: Ed25519PrivateKey
) -> Release:
    """Sign a folder of files as a release.

    Args:
        folder: where it goes; must not be there yet, for a release is never changed.
        content: an encoder bundle, or a device package.
        manifest: all but `files` and `vocabulary_sha256`, which are read off the content.
        key: that signs.

    Raises:
        DataError: if the folder is there, the content has no plain files, too large ones or a
            private key among them, or a field of the manifest is not what it may be.
    """
    if folder.exists():
        raise DataError(f"{folder} is there already, and a release is never changed: name another")
    names = _plain_files(content)
    contents = {name: (content / name).read_bytes() for name in names}
    for name, each in contents.items():
        if PRIVATE_MARK in each:
            raise DataError(
                f"{content / name} holds a private key: it must not leave with a release"
            )
    words = [ReleaseFile.of(each) for name, each in contents.items() if _is_vocabulary(name)]
    whole = replace(
        manifest,
        files={name: ReleaseFile.of(each) for name, each in contents.items()},
        vocabulary_sha256=words[0].sha256 if words else "",
    )
    signed = whole.to_bytes()
    write_release(folder, signed, sign(signed, key), contents)
    return Release.open(folder, key.public_key())


def write_release(
    folder: Path, signed: bytes, signature: bytes, contents: dict[str, bytes]
) -> None:
    """Write a release folder in one step: it is there whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        staging.chmod(0o755)  # mkdtemp gives 0700
        for name, content in contents.items():
            path = staging / FILES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (staging / MANIFEST).write_bytes(signed)
        (staging / SIGNATURE).write_bytes(signature)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_vocabulary(name: str) -> bool:
    return name.rpartition("/")[2] == VOCABULARY


def _signed(folder: Path) -> tuple[bytes, bytes]:
    """Manifest and signature, no larger than they may be."""
    found = []
    for name, limit in ((MANIFEST, MANIFEST_LIMIT_BYTES), (SIGNATURE, SIGNATURE_BYTES)):
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise DataError(f"{folder} is no release: there is no {name} in it")
        if path.stat().st_size > limit:
            raise DataError(f"{path} has more than {limit:,} bytes: fetch the release again")
        found.append(path.read_bytes())
    return found[0], found[1]


def _plain_files(folder: Path) -> list[str]:
    """Names of all files below a folder, "/" between folders.

    Raises:
        DataError: if there is none, or too many, or something that is no plain file.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    names = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a plain file: a release holds nothing else")
        if status.st_size > LARGEST_FILE_BYTES:
            raise DataError(f"{path} has more than {LARGEST_FILE_BYTES:,} bytes")
        names.append(path.relative_to(folder).as_posix())
        if len(names) > MOST_FILES:
            raise DataError(f"{folder} has more than {MOST_FILES} files: this is no release")
    if not names:
        raise DataError(f"{folder} holds no files: give an encoder bundle or a device package")
    return names
