"""Made-up data in every form the loaders read. No row here comes from a real data set."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from simulation.data.interactions import NO_TIME, Columns, IntakeReport, Interactions
from simulation.data.splits import SplitSettings
from simulation.data.tarballs import PinnedTarball
from simulation.data.wheels import PinnedWheel

FILMS = [
    # id, raw title without year, year, genres
    ("11", "Quiet Harbour, The", "1991", "Crime Drama"),
    ("12", "Moon Garden", "1984", "Romance"),
    ("13", "Lantern, The (Lanterne, La)", "1988", "Drama War"),
    ("14", "Été perdu, L'", "1990", "Comedy"),
    ("15", "Paper Tigers IV (1996)", "V", "Animation Comedy"),
    ("16", "untitled", "untitled", "unknown"),
]
TEXTS = [
    "The Quiet Harbour (1991). Crime Drama",
    "Moon Garden (1984). Romance",
    "The Lantern (La Lanterne) (1988). Drama War",
    "L'Été perdu (1990). Comedy",
    "Paper Tigers IV (1996). Animation Comedy",
    "untitled",
]
RATINGS = [
    # user, item, value, time
    ("2", "11", "4", "900000300"),
    ("10", "12", "5", "900000100"),
    ("2", "12", "1", "900000200"),
    ("10", "13", "3", "900000100"),
    ("2", "14", "2", "900000400"),
    ("10", "16", "3", "900000900"),
    ("7", "15", "5", "900000500"),
]

LEAVE_LAST = SplitSettings(
    rule="leave-last-out",
    ties="last-row",
    fraction=0.1,
    target="test",
    cold_items=0,
    cold_users=0,
    cold_user_events=5,
)
"""The usual split, with nothing cold."""


def tiny_wheel(index: Path, package: str, members: dict[str, bytes]) -> PinnedWheel:
    """Write a wheel that pip can find in the folder `index`, and return how to pin it."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    index.mkdir(parents=True, exist_ok=True)
    path = index / f"{name}-1.0-py3-none-any.whl"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in files))
    content = path.read_bytes()
    return PinnedWheel(
        package=package,
        version="1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        max_bytes=len(content),
        what="made-up files",
        licence="none",
        citation="nobody",
        second_source="use your own files",
    )


def cached_wheel(cache: Path, package: str, members: dict[str, bytes]) -> PinnedWheel:
    """Put a tiny wheel straight into a cache, so that no download is needed."""
    wheel = tiny_wheel(cache / "index", package, members)
    target = wheel.path_in(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    (cache / "index" / f"{package.replace('-', '_')}-1.0-py3-none-any.whl").rename(target)
    return wheel


def tiny_tarball(folder: Path, package: str, members: dict[str, bytes]) -> PinnedTarball:
    """Write `<package>.tgz` into a folder, and return how to pin it; its URL leads nowhere yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    content = path.read_bytes()
    return PinnedTarball(
        package=package,
        version="1.0",
        url=f"http://127.0.0.1:9/{package}.tgz",
        sha256=hashlib.sha256(content).hexdigest(),
        max_bytes=len(content),
        what="made-up files",
        licence="none",
        citation="nobody",
        second_source="use your own files",
    )


def cached_tarball(cache: Path, package: str, members: dict[str, bytes]) -> PinnedTarball:
    """Put a tiny tarball straight into a cache, so that no download is needed."""
    tarball = tiny_tarball(cache / "index", package, members)
    target = tarball.path_in(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    (cache / "index" / f"{package}.tgz").rename(target)
    return tarball


def interactions(
    rows: list[tuple[str, str, int | None]], texts: list[str] | None = None
) -> Interactions:
    """Make a checked table of distinct events (user, item, time) on items "0", "1", ...

    All times None: a table without times. It is put together by hand, for `build_interactions`
    takes 40 ms, which is much in a property test; `test_checking` holds that both agree.
    """
    users = sorted({user for user, _, _ in rows})
    if texts is None:
        texts = [f"title {number}" for number in range(1 + max(int(item) for _, item, _ in rows))]
    has_time = any(time is not None for _, _, time in rows)
    table = sorted(
        (users.index(user), NO_TIME if time is None else time, row, int(item))
        for row, (user, item, time) in enumerate(rows)
    )
    user, time_s, row, item = (np.array(column) for column in zip(*table, strict=True))
    events = pd.DataFrame(
        {
            Columns.USER: user.astype(np.int32),
            Columns.ITEM: item.astype(np.int32),
            Columns.TIME_S: time_s.astype(np.int64),
            Columns.VALUE: np.ones(len(rows), np.float32),
            Columns.ROW: row.astype(np.int64),
            Columns.PRIVATE_TEXT: pd.Series([""] * len(rows), dtype="str"),
        }
    )
    ids = [str(number) for number in range(len(texts))]
    items = pd.DataFrame(
        {Columns.ITEM: ids, Columns.TITLE: texts, Columns.TEXT: texts}, dtype="str"
    )
    lonely = int((np.bincount(user) == 1).sum())
    return Interactions(
        name="made up",
        events=events,
        users=np.array(users, dtype=np.str_),
        items=items,
        has_time=has_time,
        intake=IntakeReport(
            rows_read=len(rows), items_read=len(texts), users_with_one_event=lonely
        ),
        licence="",
        citation="",
    )
