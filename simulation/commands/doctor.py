"""doctor: what is installed, which engines work, and what to do about what does not."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import typer
from rich.table import Table

from models.errors import PocketfleetError
from simulation.commands import options
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.data.sources import DATA_SOURCES
from simulation.engines import flower, processes
from simulation.engines.processes import INSTALL, find_app_folder, find_tool
from simulation.run_folder import versions

MIN_FREE_BYTES = 3_000_000_000
PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "flwr", "ray")


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
    broken = {name: trouble for name in PACKAGES if (trouble := _import_trouble(name))}
    if not broken:
        found = ", ".join(f"{name} {version}" for name, version in versions().items())
        return Finding("packages", True, found, "")
    found = "; ".join(f"{name}: {trouble}" for name, trouble in broken.items())
    return Finding("packages", False, found, "pip install --force-reinstall -e .")


def _import_trouble(module: str) -> str:
    """Why a module cannot be imported, in one line; "" when it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken installation may raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def _inline_engine() -> Finding:
    # It uses what is private to Flower, so another version of Flower may break it.
    trouble = _import_trouble("simulation.engines.inline")
    if trouble:
        return Finding("engine inline", False, trouble, INSTALL)
    return Finding("engine inline", True, f"{os.cpu_count()} cores, this process", "")


def _flower_engine() -> Finding:
    # It changes what is private to Flower and to Ray.
    trouble = _import_trouble("ray") or _import_trouble("simulation.engines.ray_workers")
    if trouble:
        return Finding("engine flower", False, trouble, INSTALL)
    cluster = flower.cluster_address()
    where = f"the Ray cluster at {cluster}" if cluster else "local Ray"
    return _flower_runtime("engine flower", processes.SIMULATION_TOOLS, f"flwr run on {where}")


def _deployment_engine() -> Finding:
    trouble = _import_trouble("cryptography")
    if trouble:
        return Finding("engine deployment", False, trouble, INSTALL)
    tools = processes.DEPLOYMENT_TOOLS
    return _flower_runtime("engine deployment", tools, "a SuperLink and SuperNodes, TLS")


def _flower_runtime(what: str, tools: tuple[str, ...], found: str) -> Finding:
    """Whether Flower's commands are there, and the app that they run."""
    try:
        app = find_app_folder()
        for tool in tools:
            find_tool(tool)
    except PocketfleetError as error:
        return Finding(what, False, str(error), "do so, or use --engine inline")
    return Finding(what, True, f"{found}, app in {app}", "")


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
    _deployment_engine,
    _data,
    _disk,
)
