"""The folder of a run: what was asked, with which versions, and whether it ended.

    runs/quickstart/
      run.json      verb, command, seed, versions, git commit, status; written first and last
      settings.json the resolved settings, whole
      made-from.json hashes of data and bundle, until run.json has them
      bundle/       the encoder bundle           bundle-report.json  how it was made
      world/        the devices                  phones/           what they worked out themselves
      package/      what is installed on a phone
      arms/NAME/    jobs, cohort plan, history, final parameters of a federated arm
      deployment/   what machines of a deployment are given
      server-lists.npz  what the server teacher recommends to each user of a comparison
      rollout/      a run of its own: the package tried on a virtual fleet
      report/       index.html and report.json, rollout.html where there is one

`status` is "running" from the first moment and "complete" only at the end, so a run that broke is
never taken for a whole one.
"""

import contextlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import DataError, PocketfleetError
from models.files import write_json, write_text
from simulation.fingerprints import bundle_sha256

if TYPE_CHECKING:  # settings know every floor and load torch with it; `doctor` must do without
    from simulation.settings import Settings

PACKAGES = ("pocketfleet", "torch", "transformers", "flwr", "onnxruntime", "numpy")
MADE_FROM = ("data_sha256", "bundle_sha256")
Status = Literal["running", "complete", "failed", "interrupted"]


class RunRecord(BaseModel):
    """What `run.json` says.

    Attributes:
        verb: what was run.
        command: the command line that asked for it, "" when a program did.
        seed: the seed of the settings.
        status: how far it came.
        created: when it began, UTC.
        commit: of the source tree.
        versions: of Python and the packages that a result depends on.
        reason: why it did not end well, else "".
        data_sha256: of the interactions it was made from; "" if there are none, or not yet.
        bundle_sha256: of its encoder bundle; likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    verb: str
    command: str
    seed: int
    status: Status
    created: datetime
    commit: str
    versions: dict[str, str]
    reason: str
    data_sha256: str = ""
    bundle_sha256: str = ""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside a run.

    Attributes:
        path: the folder, absolute.
    """

    path: Path

    @property
    def world(self) -> Path:
        """The devices."""
        return self.path / "world"

    @property
    def phones(self) -> Path:
        """What the phones worked out by themselves."""
        return self.path / "phones"

    @property
    def bundle(self) -> Path:
        """The encoder bundle."""
        return self.path / "bundle"

    @property
    def compression(self) -> Path:
        """The compression report."""
        return self.path / "bundle-report.json"

    @property
    def package(self) -> Path:
        """The device package."""
        return self.path / "package"

    @property
    def report(self) -> Path:
        """Where the report is drawn."""
        return self.path / "report"

    @property
    def server_lists(self) -> Path:
        """What the server teacher recommends to each user of a comparison."""
        return self.path / "server-lists.npz"

    @property
    def rollout(self) -> Path:
        """A run folder in this one: its package, tried on a virtual fleet."""
        return self.path / "rollout"

    @property
    def deployment(self) -> Path:
        """What the machines of a deployment are given."""
        return self.path / "deployment"

    @property
    def made_from(self) -> Path:
        """Hashes of data and bundle as they become known; `run.json` has them at the end."""
        return self.path / "made-from.json"

    def note_made_from(self, **hashes: str) -> None:
        """Note `data_sha256` or `bundle_sha256`."""
        write_json(self.made_from, _noted(self) | hashes)

    def arm(self, name: str) -> Path:
        """Folder of a federated arm."""
        return self.path / "arms" / name

    def record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            DataError: if this is no run folder.
        """
        path = self.path / "run.json"
        try:
            return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise DataError(f"{self.path} is no run folder: {path} cannot be read") from error

    def settings(self) -> "Settings":
        """The resolved settings of the run.

        Raises:
            DataError: if they are missing or of another version.
        """
        from simulation.settings import Settings

        path = self.path / "settings.json"
        try:
            return Settings.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise DataError(f"cannot read the settings of the run, {path}: {error}") from error


@contextmanager
def running(path: Path, verb: str, settings: "Settings", command: str = "") -> Iterator[RunFolder]:
    """Open a run folder; what happens inside decides its status.

    Args:
        path: the folder; it may hold an earlier run, which is then run again in place.
        verb: what is run.
        settings: the resolved settings.
        command: the command line that asks for it, "" when a program does.

    Raises:
        DataError: if the folder holds files that are no run, or cannot be written.
    """
    folder = _claim(path)
    record = RunRecord(
        verb=verb,
        command=command,
        seed=settings.seed,
        status="running",
        created=datetime.now(UTC),
        commit=git_commit(),
        versions=versions(),
        reason="",
    )
    _write(folder, record)
    try:
        write_text(folder.path / "settings.json", settings.model_dump_json(indent=2) + "\n")
        _remove_report(folder)
        yield folder
    except KeyboardInterrupt as stop:
        _write_broken(folder, record, "interrupted", str(stop) or "Ctrl-C")
        raise
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _write_broken(folder, record, "failed", reason)
        raise
    _write(folder, record.model_copy(update={"status": "complete", **_fingerprints(folder)}))


def _fingerprints(folder: RunFolder) -> dict[str, str]:
    """Hashes of what the run was made from, as far as it has them."""
    found = _noted(folder)
    if folder.bundle.is_dir():
        with contextlib.suppress(PocketfleetError):  # larger than a phone's, of an elastic family
            found["bundle_sha256"] = bundle_sha256(folder.bundle)
    return found


def _noted(folder: RunFolder) -> dict[str, str]:
    """What was noted so far; nothing if the file is not there, or was written by somebody else."""
    try:
        content = json.loads(folder.made_from.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = content if isinstance(content, dict) else {}
    return {name: str(known[name]) for name in MADE_FROM if name in known}


def _claim(path: Path) -> RunFolder:
    """The run folder at a path: a new one, an empty one, or one with an earlier run."""
    folder = RunFolder(path.resolve())
    if folder.path.is_file():
        raise DataError(f"{path} is a file: name a folder with --out")
    strangers = folder.path.is_dir() and any(folder.path.iterdir())
    if strangers and not (folder.path / "run.json").is_file():
        raise DataError(f"{path} holds files that are no run: name another folder with --out")
    return folder


def _remove_report(folder: RunFolder) -> None:
    """Remove an earlier run's report: should this run break, nobody takes it for this one's."""
    try:
        shutil.rmtree(folder.report)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DataError(
            f"cannot remove the earlier report {folder.report}: {error.strerror}; "
            "remove it yourself, or name another folder with --out"
        ) from error


def _write_broken(folder: RunFolder, record: RunRecord, status: Status, reason: str) -> None:
    """Note how a run broke; when even that fails, what broke the run is the better thing to say."""
    told = {"status": status, "reason": reason, **_noted(folder)}
    with contextlib.suppress(DataError, OSError):
        _write(folder, record.model_copy(update=told))


def _write(folder: RunFolder, record: RunRecord) -> None:
    write_json(folder.path / "run.json", record.model_dump(mode="json"))


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str:
    """The commit of this checkout, "+" behind it when files differ; "unknown" outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
    except OSError:
        return "unknown"
    if not commit:
        return "unknown"
    return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
