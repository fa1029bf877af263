"""doctor: what is installed, which engines work, and what to do about what does not."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.table import Table

from models.errors import PocketfleetError
from simulation.commands import options
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.data.sources import DATA_SOURCES
from simulation.engines.flower import find_app_folder
from simulation.run_folder import versions

MIN_FREE_BYTES = 3_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        good: whether it is as it should be.
        found: what was found.
        cure: what to do, "" when nothing.
    """

    what: str
    good: bool
    found: str
    cure: str


def doctor(machine: options.Machine = False) -> None:
    """Check this machine: packages, engines, data, disk. Exit code 1 if the quickstart cannot run.

    Examples:

      pocketfleet doctor
    """
    voice = Voice(machine)
    findings = [check() for check in CHECKS]
    table = Table(title="pocketfleet doctor")
    for name in ("", "what", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]no[/]"
        table.add_row(mark, finding.what, finding.found, finding.cure)
    voice.show(table)
    found = {"versions": versions(), "findings": [asdict(finding) for finding in findings]}
    voice.result(found)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python 3.11 - 3.13", good, found, "" if good else "use Python 3.11 to 3.13")


def _packages() -> Finding:
    found = versions()
    missing = [name for name, version in found.items() if version == "not installed"]
    cure = "" if not missing else "pip install -e ."
    return Finding("packages", not missing, ", ".join(f"{k} {v}" for k, v in found.items()), cure)


def _inline_engine() -> Finding:
    return Finding("engine inline", True, f"{os.cpu_count()} cores, this process", "")


def _flower_engine() -> Finding:
    tools = {name: _beside_python(name) for name in ("flwr", "flower-superlink")}
    ray = importlib.util.find_spec("ray") is not None
    try:
        app = str(find_app_folder())
    except PocketfleetError as error:
        return Finding("engine flower", False, str(error), "run from a clone, or use inline")
    missing = [name for name, path in tools.items() if not path] + ([] if ray else ["ray"])
    if missing:
        cure = "pip install 'flwr[simulation]>=1.41,<1.43'"
        return Finding("engine flower", False, f"missing: {', '.join(missing)}", cure)
    return Finding("engine flower", True, f"flwr run on local Ray, app in {app}", "")


def _beside_python(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def _data() -> Finding:
    cache = cache_folder()
    missing = [source.name for source in DATA_SOURCES if not source.is_cached(cache)]
    if not missing:
        return Finding("data and teacher", True, f"all in {cache}", "")
    found = f"not yet fetched: {', '.join(missing)}"
    return Finding("data and teacher", True, found, "fetched on first use, or `data fetch`")


def _disk() -> Finding:
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    good = free >= MIN_FREE_BYTES
    cure = "" if good else f"free {(MIN_FREE_BYTES - free) / 1e9:.1f} GB, or set POCKETFLEET_CACHE"
    return Finding("disk", good, f"{free / 1e9:.1f} GB free at {existing}", cure)


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _packages,
    _inline_engine,
    _flower_engine,
    _data,
    _disk,
)
